"""Puts an EXIF block into a finished file byte for byte, where libvips would write it anew through libexif.

libvips is given `PLACEHOLDER`, so that the block stands where it belongs; here the true one takes its place.
"""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from srgan.errors import ImageError
from srgan.image.tiff_exif import add_exif_to_tiff

PLACEHOLDER = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
"""A block that says nothing but "upright"."""

JPEG_LIMIT = 65_527
"""Bytes of EXIF that one APP1 segment holds, after its length and "Exif"."""


def embed_exif(path: Path, form: str, exif: bytes) -> None:
    """Replace the placeholder's block in the file at `path` by `exif` (a TIFF stream: II... or MM...)."""
    if form in ("AVIF", "TIFF"):
        (_point_avif_at if form == "AVIF" else add_exif_to_tiff)(path, exif)
        return
    rewrite = {"JPEG": _jpeg, "PNG": _png, "WebP": _webp}[form]
    second = path.with_suffix(".exif.part")
    try:
        with path.open("rb") as source, second.open("xb") as sink:
            rewrite(source, sink, exif)
        second.replace(path)
    finally:
        second.unlink(missing_ok=True)


def _jpeg(source: BinaryIO, sink: BinaryIO, exif: bytes) -> None:
    sink.write(source.read(2))
    while (marker := source.read(2)) != b"\xff\xda":
        (length,) = struct.unpack(">H", source.read(2))
        body = source.read(length - 2)
        if marker == b"\xff\xe1" and body.startswith(b"Exif\0\0"):
            body = b"Exif\0\0" + exif
        sink.write(marker + struct.pack(">H", len(body) + 2) + body)
    sink.write(marker)
    shutil.copyfileobj(source, sink, 1 << 20)


def _png(source: BinaryIO, sink: BinaryIO, exif: bytes) -> None:
    sink.write(source.read(8))
    while True:
        head = source.read(8)
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            source.seek(length + 4, os.SEEK_CUR)
            sink.write(struct.pack(">I", len(exif)) + kind + exif + struct.pack(">I", zlib.crc32(kind + exif)))
        elif kind == b"IDAT":
            sink.write(head)
            shutil.copyfileobj(source, sink, 1 << 20)
            return
        else:
            sink.write(head + source.read(length + 4))


def _webp(source: BinaryIO, sink: BinaryIO, exif: bytes) -> None:
    sink.write(source.read(12))
    while head := source.read(8):
        kind, length = struct.unpack("<4sI", head)
        body = source.read(length + length % 2)
        if kind == b"EXIF":
            length, body = len(exif), exif + b"\0" * (len(exif) % 2)
        sink.write(struct.pack("<4sI", kind, length) + body)
    size = sink.tell() - 8
    sink.seek(4)
    sink.write(struct.pack("<I", size))


def _point_avif_at(path: Path, exif: bytes) -> None:
    """Append the block in a box of its own and let the Exif item's location say so. ISO 14496-12, 8.11.3."""
    payload = struct.pack(">I", 0) + exif
    with path.open("rb+") as file:
        meta_at, meta = _box(file.read(1 << 20), b"meta", 0)
        item = _exif_item(meta)
        place, base = _location(meta, item)
        end = file.seek(0, os.SEEK_END)
        file.write(struct.pack(">I4s", len(payload) + 8, b"mdat") + payload)
        file.seek(meta_at + place)
        file.write(struct.pack(">II", end + 8 - base, len(payload)))


def _box(data: bytes, kind: bytes, start: int) -> tuple[int, bytes]:
    """Where the first box of a kind has its body, and the body."""
    place = start
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if name == kind:
            return place + 8, data[place + 8 : place + length]
        if length < 8:
            break
        place += length
    raise ImageError(f"libheif wrote an AVIF without the box {kind.decode()} that its EXIF needs.")


def _exif_item(meta: bytes) -> int:
    """The ID of the item of type Exif, from iinf's entries of version 2."""
    _, items = _box(meta, b"iinf", 4)
    place = 6 if items[0] == 0 else 8
    while place < len(items):
        length, _ = struct.unpack_from(">I4s", items, place)
        item, _, kind = struct.unpack_from(">HH4s", items, place + 12)
        if kind == b"Exif":
            return int(item)
        place += length
    raise ImageError("libheif wrote an AVIF without an item for its EXIF.")


def _location(meta: bytes, wanted: int) -> tuple[int, int]:
    """Where in meta's body the wanted item's offset and length stand, and what is added to the offset."""
    at, table = _box(meta, b"iloc", 4)
    version, sizes, bases, count = struct.unpack_from(">B3xBBH", table, 0)
    known = version in (0, 1) and sizes == 0x44 and bases in (0x00, 0x40)
    place = 8
    for _ in range(count if known else 0):
        (item,) = struct.unpack_from(">H", table, place)
        place += 6 if version else 4
        base = 0
        if bases:
            (base,) = struct.unpack_from(">I", table, place)
            place += 4
        (extents,) = struct.unpack_from(">H", table, place)
        if item == wanted and extents == 1:
            return at + place + 2, base
        place += 2 + 8 * extents
    raise ImageError("libheif wrote an AVIF whose table of items is not one that EXIF can be put into.")
