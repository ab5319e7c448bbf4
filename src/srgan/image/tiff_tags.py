"""What libvips leaves out of TIFF files: EXIF and IPTC as tags, thumbnails among pages, several pages out. TIFF 6.0."""

import contextlib
import io
import itertools
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4} | dict.fromkeys(
    (16, 17, 18), 8
)
"""Bytes of one value of each type. TIFF 6.0, page 15; BigTIFF."""
_SWAPPED = _SIZES | {5: 4, 10: 4}
"""Bytes that swap together: a rational is two numbers."""
_DESCRIPTIVE = (
    *(0x010D, 0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x011D, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C),
    *(0x4746, 0x4749, 0x8298, *range(0x9C9B, 0x9CA0)),
)
"""DocumentName, ImageDescription, Make, Model, resolution (x, y), PageName, its unit, Software, DateTime, Artist,
HostComputer; Windows' rating, Copyright, Windows' title, comment, author, keywords, subject."""
_SHAPE = b'{"shape": ['
"""What tifffile writes in place of a description: the size in pixels."""
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_EXIF, _GPS = 0x8769, 0x8825
_WIDTH, _HEIGHT = 0x100, 0x101
_SUBFILE = 0x00FE
_PLACES = (0x0111, 0x0144)
"""Offsets of strips and of tiles."""
BITS, COMPRESSION, PHOTOMETRIC, PLANAR, TILE_WIDTH, EXTRA_SAMPLES = 0x0102, 0x0103, 0x0106, 0x011C, 0x0142, 0x0152
RESOLUTION_UNIT, IPTC = 0x0128, 0x83BB
IMAGES_OF_MPO = 0xB002
ON_A_MAP = {0x830E, 0x8482, 0x85D8}
"""ModelPixelScale, ModelTiepoint, ModelTransformation. OGC GeoTIFF 1.1."""
_DROPPED = (0xA002, 0xA003, 0xA005)
"""PixelXDimension and PixelYDimension, which change; the interoperability directory."""
_LAYOUTS = {
    b"II*\0": ("<H", "<HHI4s", "<I", 4),
    b"MM\0*": (">H", ">HHI4s", ">I", 4),
    b"II+\0": ("<Q", "<HHQ8s", "<Q", 8),
    b"MM\0+": (">Q", ">HHQ8s", ">Q", 8),
}
"""First bytes -> formats of a directory's count, its entries and its links; the place of the first link. TIFF and BigTIFF."""
_MAX_ENTRIES, _MAX_BYTES, _MAX_PAGES, _MAX_SIZE = 4096, 1 << 26, 10_000, (1 << 32) - (1 << 24)

Entry = tuple[int, int, int, bytes]
"""Tag, type, count, value in little-endian order."""
Layout = tuple[str, str, str, int]
Directories = tuple[list[Entry], dict[int, list[Entry]]]
"""The entries of a main directory, and those of its EXIF and GPS directories."""


def exif_in_tiff(file: BinaryIO, page: int = 0) -> bytes | None:
    """The EXIF block, little-endian, of a page's descriptive tags; None where there are none."""
    directories = _descriptive(file, page)
    return b"II*\0\x08\0\0\0" + _pack(8, *directories) if directories else None


def page_tags(file: BinaryIO, page: int = 0) -> dict[int, bytes]:
    """Tag -> value in little-endian order, of a page's directory; empty where that is damaged."""
    with contextlib.suppress(struct.error, KeyError, ValueError, OSError):
        return {tag: value for tag, _, _, value in reversed(_main_directory(file, page)[0])}
    return {}


def full_pages(file: BinaryIO) -> dict[int, int]:
    """Number -> pixels of the pages that are not marked as a reduced copy or a mask (NewSubfileType)."""
    number, row, _, _ = _LAYOUTS[_read_exactly(file, 0, 4)]
    pages: dict[int, int] = {}
    with contextlib.suppress(struct.error, ValueError, OSError):
        for page, (_, offset) in enumerate(_chain(file)):
            if not offset or page == _MAX_PAGES:
                break
            (count,) = struct.unpack(number, _read_exactly(file, offset, struct.calcsize(number)))
            values = {
                tag: struct.unpack(row[0] + ("H" if kind == 3 else "I"), value[: 2 if kind == 3 else 4])[0]
                for tag, kind, _, value in struct.iter_unpack(
                    row, file.read(min(count, _MAX_ENTRIES) * struct.calcsize(row))
                )
                if tag in (_SUBFILE, _WIDTH, _HEIGHT)
            }
            if not values.get(_SUBFILE, 0) & 5:
                pages[page] = values.get(_WIDTH, 0) * values.get(_HEIGHT, 0)
    return pages


def _chain(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Of each directory: where it is linked (the header's field, then the end of another) and where it is; at last 0.

    Raises ValueError, KeyError or struct.error where there is none.
    """
    number, row, link, place = _LAYOUTS[_read_exactly(stream, 0, 4)]
    seen = {0}
    while True:
        (offset,) = struct.unpack(link, _read_exactly(stream, place, struct.calcsize(link)))
        offset = 0 if offset in seen else offset
        seen.add(offset)
        yield place, offset
        if not offset:
            return
        (count,) = struct.unpack(number, _read_exactly(stream, offset, struct.calcsize(number)))
        if count > _MAX_ENTRIES:
            raise ValueError
        place = offset + struct.calcsize(number) + count * struct.calcsize(row)


def set_tags(file: BinaryIO, exif: bytes | None, iptc: bytes | None, *, density: bool) -> None:
    """Append a directory to a classic TIFF that libvips wrote: its own tags, without `density` none of that, EXIF's, IPTC."""
    added, inner = (_descriptive(io.BytesIO(exif)) if exif else None) or ([], {})
    if iptc:
        added = [*added, (IPTC, 7, len(iptc), iptc)]
    if density and not added and not inner:
        return
    own, _ = _main_directory(file)
    dropped = {entry[0] for entry in added} | (set() if density else set(_RESOLUTION))
    _append_directory(file, 4, [entry for entry in own if entry[0] not in dropped] + added, inner)


def append_page(path: Path, page: Path) -> None:
    """Append the one page of a TIFF that libvips wrote to another. Raises ValueError where both exceed 4 GB."""
    if path.stat().st_size + page.stat().st_size > _MAX_SIZE:
        raise ValueError("several pages of more than 4 GB do not fit into a TIFF")
    with path.open("rb+") as file, page.open("rb") as other:
        own, inner = _main_directory(other)
        *_, (link, _) = _chain(file)
        start = _even_end(file)
        other.seek(0)
        shutil.copyfileobj(other, file, 1 << 20)
        _append_directory(file, link, [_moved(entry, start) for entry in own], inner)


def _moved(entry: Entry, start: int) -> Entry:
    """The entry of a file that was copied to `start`: places of pixels move, all else is kept as values."""
    tag, kind, count, value = entry
    if tag not in _PLACES:
        return entry
    letter = {3: "H", 4: "I"}[kind]
    places = struct.iter_unpack("<" + letter, value)
    return tag, 4, count, b"".join(struct.pack("<I", place + start) for (place,) in places)


def _append_directory(file: BinaryIO, link: int, entries: list[Entry], inner: dict[int, list[Entry]]) -> None:
    offset = _even_end(file)
    file.write(_pack(offset, entries, inner))
    file.seek(link)
    file.write(struct.pack("<I", offset))


def _even_end(file: BinaryIO) -> int:
    """The end of the file, made even, where a directory may start."""
    end = file.seek(0, io.SEEK_END)
    file.write(b"\0" * (end % 2))
    return end + end % 2


def _main_directory(stream: BinaryIO, page: int = 0) -> Directories:
    """The directory of a page. Raises ValueError, KeyError or struct.error when there is none."""
    layout = _LAYOUTS[_read_exactly(stream, 0, 4)]
    _, offset = next(itertools.islice(_chain(stream), page, None), (0, 0))
    main, inner = _read_entries(stream, layout, offset), {}
    for tag, kind, count, value in main:
        if tag in (_EXIF, _GPS) and kind in (4, 13, 16, 18) and count == 1:
            entries = _read_entries(stream, layout, int.from_bytes(value, "little"))
            inner[tag] = [entry for entry in entries if entry[0] not in _DROPPED]
    return [entry for entry in main if entry[0] not in (_EXIF, _GPS)], inner


def _descriptive(stream: BinaryIO, page: int = 0) -> Directories | None:
    """The tags that describe a page's content; None where there are none or the stream is damaged."""
    try:
        main, inner = _main_directory(stream, page)
    except (struct.error, KeyError, ValueError, OSError):
        return None
    kept = list({e[0]: e for e in reversed(main) if e[0] in _DESCRIPTIVE and not e[3].startswith(_SHAPE)}.values())
    if not inner and all(entry[0] in _RESOLUTION for entry in kept):
        return None
    return kept, inner


def _read_entries(stream: BinaryIO, layout: Layout, offset: int) -> list[Entry]:
    """One directory's entries. Raises ValueError, KeyError or struct.error when it is none."""
    number, row, link, _ = layout
    (rows,) = struct.unpack(number, _read_exactly(stream, offset, struct.calcsize(number)))
    if rows > _MAX_ENTRIES:
        raise ValueError
    entries = []
    table = _read_exactly(stream, offset + struct.calcsize(number), rows * struct.calcsize(row))
    for tag, kind, count, inline in struct.iter_unpack(row, table):
        length = _SIZES[kind] * count
        if length > _MAX_BYTES:
            raise ValueError
        value = inline[:length]
        if length > len(inline):
            value = _read_exactly(stream, struct.unpack(link, inline)[0], length)
        if link.startswith(">") and tag != IPTC:
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
