"""EXIF blocks as cameras write them: edited in place, and put into a file that libvips wrote."""

import contextlib
import mmap
import struct
from collections.abc import Iterator
from typing import BinaryIO

_ROOM = b"room for EXIF "
_PADDING = 0xEA1C
"""EXIF's padding tag."""


def edited_exif(
    exif: bytes, *, scale: int = 1, size: tuple[int, int] | None = None, turned: bool = False
) -> bytes | None:
    """The EXIF block with orientation 1 and without its thumbnail; None where its directory cannot be read.

    Of an image that became `scale` times larger: with `size` (height, width), and sizes in pixels grown. `turned`: its
    decoder may have turned it, so that places in it do not hold.
    """
    block = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        entries = list(_exif_entries(block, order, start))
        # The next directory is the thumbnail's.
        _wipe_thumbnail(block, order, start, start + 2 + 12 * len(entries))
        inner = [_number(block, order, entry) for entry in entries if entry[1] == 0x8769]
        entries += list(_exif_entries(block, order, inner[0])) if inner else []
        for at, tag, kind, count in entries:
            letter, place = {3: "H", 4: "I", 5: "I"}.get(kind, ""), at + 8
            if tag == 0x0112 and (kind, count) == (3, 1):
                turned |= _number(block, order, (at, tag, kind, count)) in range(2, 9)
                struct.pack_into(f"{order}H", block, place, 1)
            elif tag in (0x0100, 0x0101, 0xA002, 0xA003) and size and kind in (3, 4):  # width, height
                struct.pack_into(f"{order}HII", block, at + 2, 4, 1, size[1 - tag % 2])
            elif tag in (0x9214, 0xA214) and turned:  # SubjectArea and SubjectLocation, of the stored image
                struct.pack_into(f"{order}H", block, at, _PADDING)
            elif tag in (0x9214, 0xA214, 0xA20E, 0xA20F) and letter and scale > 1:  # or pixels per unit of the sensor
                width = struct.calcsize(letter)
                if count * width * (2 if kind == 5 else 1) > 4:
                    (place,) = struct.unpack_from(f"{order}I", block, place)
                for number in range(min(count, 4)):
                    here = place + number * width * (2 if kind == 5 else 1)
                    (value,) = struct.unpack_from(order + letter, block, here)
                    struct.pack_into(order + letter, block, here, min(value * scale, (1 << 8 * width) - 1))
    except struct.error:
        return None
    return bytes(block)


def _wipe_thumbnail(block: bytearray, order: str, main_start: int, link: int) -> None:
    """Unlink the directory whose place is at `link`, the end of the main one; overwrite it and its pixels with zeros."""
    (start,) = struct.unpack_from(f"{order}I", block, link)
    struct.pack_into(f"{order}I", block, link, 0)
    if start < 8 or main_start <= start <= link:  # none, or the main one
        return
    with contextlib.suppress(struct.error):
        entries = list(_exif_entries(block, order, start))
        # Of several strips a directory holds the places of lists.
        values = {entry[1]: _number(block, order, entry) for entry in entries if entry[3] == 1}
        for place, length in ((values.get(0x0201), values.get(0x0202)), (values.get(0x0111), values.get(0x0117))):
            if place and length and place < len(block):
                end = min(place + length, len(block))
                block[place:end] = bytes(end - place)
        block[start : start + 6 + 12 * len(entries)] = bytes(len(block[start : start + 6 + 12 * len(entries)]))


def _exif_entries(block: bytearray, order: str, start: int) -> Iterator[tuple[int, int, int, int]]:
    """Offset, tag, type and count of each entry of a directory. Raises struct.error where it is cut."""
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        yield at, *struct.unpack_from(f"{order}HHI", block, at)


def _number(block: bytearray, order: str, entry: tuple[int, int, int, int]) -> int:
    at, _, kind, _ = entry
    return int(struct.unpack_from(order + ("H" if kind == 3 else "I"), block, at + 8)[0])


def stand_in(exif: bytes) -> bytes:
    """An EXIF block with nothing but a description of the length of `exif`."""
    text = _ROOM * (len(exif) // len(_ROOM) + 1)
    return struct.pack("<4sIHHHIII", b"II*\0", 8, 1, 0x010E, 2, len(text), 26, 0) + text


def put_exif(file: BinaryIO, exif: bytes) -> None:
    """Write `exif` in place of its stand-in, and zeros in the rest of its room."""
    file.flush()
    with mmap.mmap(file.fileno(), 0) as data:
        text = data.find(_ROOM * (len(exif) // len(_ROOM) + 1))
        start, end = data.rfind(b"II*\0", 0, max(text, 0)), text + len(exif)
        assert 0 <= start < text, "the stand-in has been written"
        data[start:end] = exif.ljust(end - start, b"\0")
