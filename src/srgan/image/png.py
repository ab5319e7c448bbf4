"""The chunks of a PNG file: text, density, frames, and the EXIF and XMP behind its pixels. PNG 3rd edition."""

import contextlib
import struct
import zlib
from collections.abc import Iterator, Set
from typing import BinaryIO

from srgan.errors import ImageError
from srgan.image.source import Source, name_of, open_bytes

_MAX_UNPACKED = 1 << 26
"""Bytes that all compressed text of a PNG may unpack to: libvips holds it all."""
_XMP = b"XML:com.adobe.xmp\0"
_NOT_TEXT = (_XMP, b"Raw profile type icc", b"Raw profile type icm")
"""Keywords of XMP, and of ImageMagick's copies of a profile, which has another place."""


def png_chunks(file: BinaryIO, *, to_the_end: bool = False, most: int = 1000) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the body and its length of a PNG's chunks before its pixels; or of all but pixels, at most `most`."""
    offset, count = 8, 0
    for _ in range(1_000_000):
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8 or count == most or (head[4:] == b"IDAT" and not to_the_end):
            return
        length = int.from_bytes(head[:4], "big")
        if head[4:] not in (b"IDAT", b"fdAT"):
            count += 1
            yield head[4:], offset + 8, length
        if head[4:] == b"IEND":
            return
        offset += 12 + length


def png_chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG. PNG 3rd edition, 5.3."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def check_text(source: Source) -> None:
    """Raise ImageError for a PNG whose compressed text unpacks to more than `_MAX_UNPACKED`."""
    left = _MAX_UNPACKED
    with open_bytes(source) as file:
        for kind, offset, length in png_chunks(file, to_the_end=True, most=1_000_000):
            if kind not in (b"zTXt", b"iTXt"):
                continue
            file.seek(offset)
            text = file.read(length).partition(b"\0")[2]
            if kind == b"iTXt":
                text = text[2:].split(b"\0", 2)[-1] if text.startswith(b"\1") else b""
            with contextlib.suppress(zlib.error):
                left -= len(zlib.decompressobj().decompress(text[1 if kind == b"zTXt" else 0 :], left + 1))
            if left < 0:
                raise ImageError(f"{name_of(source)} has text that unpacks to more than {_MAX_UNPACKED >> 20} MB.")


def unread_metadata(source: Source, held: Set[str]) -> dict[str, bytes]:
    """EXIF and XMP that libvips does not read, behind the pixels, by its names; without those in `held`."""
    unread = dict[str, bytes]()
    with open_bytes(source) as file:
        for kind, offset, length in png_chunks(file, to_the_end=True):
            if kind not in (b"eXIf", b"iTXt") or length >= 1 << 24:
                continue
            file.seek(offset)
            body = file.read(length)
            if kind == b"eXIf":
                unread["exif-data"] = b"Exif\0\0" + body
            elif body.startswith(_XMP + b"\0"):  # not compressed; then two names that end with 0
                unread["xmp-data"] = body[20:].split(b"\0", 2)[-1]
    return {name: block for name, block in unread.items() if block and name not in held}


def png_text(file: BinaryIO, most: int) -> bytes | None:
    """The text chunks whose checksum is right, without `_NOT_TEXT`; no more of them after `most` bytes."""
    text = b""
    for name, offset, length in png_chunks(file, to_the_end=True):
        if name in (b"tEXt", b"zTXt", b"iTXt") and len(text) <= most:
            file.seek(offset - 8)
            chunk = file.read(min(length, most) + 12)
            checksum = struct.pack(">I", zlib.crc32(chunk[4:-4]))
            if not chunk[8:].startswith(_NOT_TEXT) and chunk[-4:] == checksum:
                text += chunk
    return text or None


def png_density(file: BinaryIO) -> int | None:
    """The place of a PNG's density, where it names a unit. PNG 3rd edition, 11.3.4.3."""
    for name, offset, length in png_chunks(file):
        if name == b"pHYs" and length == 9:
            file.seek(offset + 8)
            return offset if file.read(1) == b"\1" else None
    return None


def has_frames(file: BinaryIO) -> bool:
    """Whether a PNG shows other frames than its image. PNG 3rd edition, 11.3.6."""
    chunks = {name: offset for name, offset, _ in png_chunks(file)}
    if b"acTL" not in chunks:
        return False
    file.seek(chunks[b"acTL"])
    return int.from_bytes(file.read(4), "big") > 1 or b"fcTL" not in chunks
