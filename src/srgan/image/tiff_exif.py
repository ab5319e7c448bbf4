"""EXIF in and out of TIFF files, where it is tags of the file, not a block: libvips leaves it out."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of one value of each type. TIFF 6.0, page 15."""
_ITEMS = _SIZES | {5: 4, 10: 4}
"""Bytes that swap together: a rational is two numbers."""
_DESCRIBING = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298)
"""ImageDescription, Make, Model, resolution (x, y, unit), Software, DateTime, Artist, Copyright."""
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_EXIF, _GPS, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_MOST_ENTRIES, _MOST_BYTES = 4096, 1 << 26

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value in little-endian order."""


def exif_in_tiff(file: BinaryIO) -> bytes | None:
    """The EXIF block, little-endian, that a classic TIFF's tags amount to; None where they say nothing."""
    return _repacked(file)


def add_exif_to_tiff(path: Path, exif: bytes) -> None:
    """Give the TIFF that libvips wrote a new directory, at its end, with the block's tags besides its own.

    BigTIFF, for more than 4 GB, is left as it is.
    """
    said = _repacked(io.BytesIO(exif))
    with path.open("rb+") as file:
        if said is None or file.read(4) != b"II*\0":
            return
        block = io.BytesIO(said)
        extra, inner = _directories(block, "<", 8)
        own, _ = _directories(file, "<", struct.unpack("<I", _exactly(file, 4, 4))[0])
        described = {entry[0] for entry in extra}
        end = file.seek(0, io.SEEK_END)
        at = end + end % 2
        file.seek(at)
        file.write(_packed(at, [entry for entry in own if entry[0] not in described] + extra, inner))
        file.seek(4)
        file.write(struct.pack("<I", at))


def _repacked(stream: BinaryIO) -> bytes | None:
    try:
        head = _exactly(stream, 0, 8)
        order = {b"II*\0": "<", b"MM\0*": ">"}[head[:4]]
        main, inner = _directories(stream, order, struct.unpack(f"{order}4xI", head)[0])
    except (struct.error, KeyError, ValueError, OSError):
        return None
    kept = list({entry[0]: entry for entry in reversed(main) if entry[0] in _DESCRIBING}.values())
    if not inner and all(entry[0] in _RESOLUTION for entry in kept):
        return None
    return b"II*\0\x08\0\0\0" + _packed(8, kept, inner)


def _directories(stream: BinaryIO, order: str, at: int) -> tuple[list[Entry], dict[int, list[Entry]]]:
    """The entries of the directory at an offset, and those of its EXIF and GPS directories."""
    main = _entries(stream, order, at)
    inner = {}
    for tag, kind, count, value in main:
        if tag in (_EXIF, _GPS) and kind in (4, 13) and count == 1:
            found = _entries(stream, order, struct.unpack("<I", value)[0])
            inner[tag] = [entry for entry in found if entry[0] != _INTEROPERABILITY]
    return [entry for entry in main if entry[0] not in (_EXIF, _GPS)], inner


def _entries(stream: BinaryIO, order: str, at: int) -> list[Entry]:
    """One directory's entries; ValueError, KeyError or struct.error when it is not one."""
    (number,) = struct.unpack(f"{order}H", _exactly(stream, at, 2))
    if number > _MOST_ENTRIES:
        raise ValueError
    table = _exactly(stream, at + 2, 12 * number)
    entries = []
    for tag, kind, count, inline in struct.iter_unpack(f"{order}HHI4s", table):
        length = _SIZES[kind] * count
        if length > _MOST_BYTES:
            raise ValueError
        value = inline[:length]
        if length > 4:
            value = _exactly(stream, struct.unpack(f"{order}I", inline)[0], length)
        if order == ">":
            width = _ITEMS[kind]
            value = b"".join(value[i : i + width][::-1] for i in range(0, length, width))
        entries.append((tag, kind, count, value))
    return entries


def _exactly(stream: BinaryIO, at: int, count: int) -> bytes:
    stream.seek(at)
    data = stream.read(count)
    if len(data) != count:
        raise ValueError
    return data


def _packed(at: int, entries: list[Entry], inner: dict[int, list[Entry]]) -> bytes:
    """A directory for offset `at`, followed by its long values and by its inner directories."""
    pointers = [(tag, 4, 1, b"\0\0\0\0") for tag in inner]
    table = sorted(entries + pointers)
    place = at + 2 + 12 * len(table) + 4
    rows, tail = b"", b""
    for tag, kind, count, value in table:
        if tag in inner:
            value = struct.pack("<I", place + len(tail))
            tail += _packed(place + len(tail), inner[tag], {})
        elif len(value) > 4:
            value, long = struct.pack("<I", place + len(tail)), value
            tail += long + b"\0" * (len(long) % 2)
        rows += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return struct.pack("<H", len(table)) + rows + b"\0\0\0\0" + tail
