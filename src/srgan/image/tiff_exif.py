"""EXIF in and out of TIFF files: there it is tags of the file, not a block, and libvips leaves it out. TIFF 6.0."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes of one value of each type. TIFF 6.0, page 15."""
_SWAPPED = _SIZES | {5: 4, 10: 4}
"""Bytes that swap together: a rational is two numbers."""
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298)
"""ImageDescription, Make, Model, resolution (x, y, unit), Software, DateTime, Artist, Copyright."""
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_EXIF, _GPS = 0x8769, 0x8825
_DROPPED = (0xA002, 0xA003, 0xA005)
"""PixelXDimension and PixelYDimension, which change; the interoperability directory."""
_MAX_ENTRIES, _MAX_BYTES = 4096, 1 << 26

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value in little-endian order."""
Directories = tuple[list[Entry], dict[int, list[Entry]]]
"""The entries of a main directory, and those of its EXIF and GPS directories."""


def exif_in_tiff(file: BinaryIO) -> bytes | None:
    """The EXIF block, little-endian, of a classic TIFF's descriptive tags; None where there are none."""
    directories = _descriptive(file)
    return b"II*\0\x08\0\0\0" + _pack(8, *directories) if directories else None


def add_exif_to_tiff(path: Path, exif: bytes) -> None:
    """Append a directory to the TIFF that libvips wrote: its own tags and the block's.

    A BigTIFF, which libvips writes above 4 GB, is left as it is.
    """
    added = _descriptive(io.BytesIO(exif))
    with path.open("rb+") as file:
        if added is None or file.read(4) != b"II*\0":
            return
        own, _ = _read_directories(file, "<", struct.unpack("<I", _read_exactly(file, 4, 4))[0])
        tags = {entry[0] for entry in added[0]}
        end = file.seek(0, io.SEEK_END)
        offset = end + end % 2
        file.seek(offset)
        file.write(_pack(offset, [entry for entry in own if entry[0] not in tags] + added[0], added[1]))
        file.seek(4)
        file.write(struct.pack("<I", offset))


def _descriptive(stream: BinaryIO) -> Directories | None:
    """The tags that describe the image's content; None where there are none or the stream is damaged."""
    try:
        head = _read_exactly(stream, 0, 8)
        order = {b"II*\0": "<", b"MM\0*": ">"}[head[:4]]
        main, inner = _read_directories(stream, order, struct.unpack(f"{order}4xI", head)[0])
    except (struct.error, KeyError, ValueError, OSError):
        return None
    kept = list({entry[0]: entry for entry in reversed(main) if entry[0] in _DESCRIPTIVE}.values())
    if not inner and all(entry[0] in _RESOLUTION for entry in kept):
        return None
    return kept, inner


def _read_directories(stream: BinaryIO, order: str, offset: int) -> Directories:
    main = _read_entries(stream, order, offset)
    inner = {}
    for tag, kind, count, value in main:
        if tag in (_EXIF, _GPS) and kind in (4, 13) and count == 1:
            entries = _read_entries(stream, order, struct.unpack("<I", value)[0])
            inner[tag] = [entry for entry in entries if entry[0] not in _DROPPED]
    return [entry for entry in main if entry[0] not in (_EXIF, _GPS)], inner


def _read_entries(stream: BinaryIO, order: str, offset: int) -> list[Entry]:
    """One directory's entries. Raises ValueError, KeyError or struct.error when it is none."""
    (number,) = struct.unpack(f"{order}H", _read_exactly(stream, offset, 2))
    if number > _MAX_ENTRIES:
        raise ValueError
    entries = []
    for tag, kind, count, inline in struct.iter_unpack(f"{order}HHI4s", _read_exactly(stream, offset + 2, 12 * number)):
        length = _SIZES[kind] * count
        if length > _MAX_BYTES:
            raise ValueError
        value = inline[:length]
        if length > 4:
            value = _read_exactly(stream, struct.unpack(f"{order}I", inline)[0], length)
        if order == ">":
            width = _SWAPPED[kind]
            value = b"".join(value[i : i + width][::-1] for i in range(0, length, width))
        entries.append((tag, kind, count, value))
    return entries


def _read_exactly(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    data = stream.read(count)
    if len(data) != count:
        raise ValueError
    return data


def _pack(offset: int, entries: list[Entry], inner: dict[int, list[Entry]]) -> bytes:
    """A directory for `offset`, followed by its long values and its inner directories."""
    table = sorted(entries + [(tag, 4, 1, b"\0\0\0\0") for tag in inner])
    end = offset + 2 + 12 * len(table) + 4
    rows, tail = b"", b""
    for tag, kind, count, value in table:
        if tag in inner:
            value = struct.pack("<I", end + len(tail))
            tail += _pack(end + len(tail), inner[tag], {})
        elif len(value) > 4:
            value, long = struct.pack("<I", end + len(tail)), value
            tail += long + b"\0" * (len(long) % 2)
        rows += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    return struct.pack("<H", len(table)) + rows + b"\0\0\0\0" + tail
