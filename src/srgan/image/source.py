"""An image file before it is decoded: its bytes, its name, its format by the first bytes, the parts that it is made of."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from srgan.errors import ImageError
from srgan.fs import printable

SUFFIXES = tuple(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .tif .tiff .avif .avifs .gif .heic .heif .hif .bmp .dib .ico .icns .tga .jp2 "
    ".j2k .j2c .jpf .jpx .ppm .pgm .pbm .pnm .pcx .qoi .sgi .dds .psd".split()
)
"""Suffixes of the files that are read."""

_FIRST_BYTES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "GIF": (b"GIF87a", b"GIF89a"),
    "JPEG2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "BMP": (b"BM",),
    "ICO": (b"\0\0\1\0",),
    "ICNS": (b"icns",),
    "PPM": tuple(f"P{kind}{space}".encode() for kind in "123456fF" for space in " \t\r\n#"),
    "QOI": (b"qoif",),
    "SGI": (b"\x01\xda",),
    "DDS": (b"DDS ",),
    "PSD": (b"8BPS",),
    "PCX": (b"\n\0\1", b"\n\2\1", b"\n\3\1", b"\n\5\1"),
}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
_TGA = re.compile(
    rb".(?:\0[\x02\x03\n\x0b]\0{5}|\x01[\x01\t].{5}).{4}(?!\0\0)..(?!\0\0)..[\x08\x0f\x10\x18\x20][\0-\x3f]", re.DOTALL
)
"""A TGA's header, which has no first bytes of its own: kinds of colours, a size that is not 0, bits per pixel."""
_PREFIX = re.compile(r"^((system )?\w+: )+")
_NOISE = re.compile(r"unable to |bad seek|\([\d., ]+\)$|source input")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What an image file may cost."""

    pixels: int = 268_435_456
    """Height times width, checked from the header before a pixel is decoded; 2**28 is 0.8 GB as 8-bit RGB."""
    seconds: float = 300.0
    """For decoding; libvips stops at its next row of blocks after that (Pillow and pi-heif do not)."""
    name: str = "Limits.pixels"
    """What messages call the limit of pixels."""

    def check(self, source: Source, height: int, width: int) -> None:
        """Raise ImageError for more pixels than `pixels`."""
        if height * width > self.pixels:
            raise ImageError(
                f"{name_of(source)} is {width}x{height}, {height * width:,} pixels; "
                f"the limit is {self.pixels:,} ({self.name})."
            )


DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageBytes:
    """The bytes of an image file, in memory."""

    data: bytes
    name: str
    """What messages call it."""


Source = Path | ImageBytes


def name_of(source: Source) -> str:
    """The path or name as one printable line, for messages."""
    return printable(source.name if isinstance(source, ImageBytes) else source)


def open_bytes(source: Source) -> BinaryIO:
    """The file or the bytes, opened for reading."""
    return io.BytesIO(source.data) if isinstance(source, ImageBytes) else source.open("rb")


def reason(error: Exception) -> str:
    """The message of libvips, Pillow or the system, as half a sentence without a dot."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [_PREFIX.sub("", line.strip()) for line in str(error).splitlines()]
    useful = [line for line in lines if line and not _NOISE.match(line)]
    return printable(useful[-1] if useful else "it ends too early or its header is wrong").rstrip(".")[:200]


def format_of(source: Source) -> str:
    """The format by the file's first bytes: PNG, JPEG, WebP, TIFF, AVIF, GIF, HEIC, BMP ...; TGA by its name or its header.

    Raises ImageError for a file that is missing, empty or of another format.
    """
    try:
        if isinstance(source, Path) and not source.is_file():
            what = "is a folder" if source.is_dir() else "is no file" if source.exists() else "does not exist"
            raise ImageError(f"{name_of(source)} {what}; an image was expected.")
        with open_bytes(source) as file:
            head = file.read(512)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name_of(source)} cannot be read: {reason(error)}.") from None
    if not head:
        raise ImageError(f"{name_of(source)} is empty (0 bytes).")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4], "big"), 512), 4))}
        if brands & _AVIF_BRANDS or brands & _HEIF_BRANDS:
            return "AVIF" if brands & _AVIF_BRANDS else "HEIC"
    for kind, starts in _FIRST_BYTES.items():
        if head.startswith(starts):
            return kind
    if name_of(source).lower().endswith(".tga") or _TGA.match(head):
        return "TGA"
    raise ImageError(
        f"{name_of(source)} is no image in a format that srgan reads, whatever its name says "
        "(PNG, JPEG, WebP, TIFF, AVIF, GIF, HEIC, BMP, JPEG 2000 and a few others)."
    )


def jpeg_segments(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Marker, offset of the body and the body of each of a JPEG's segments, up to its first scan (0xDA).

    ITU-T T.81, B.1.1.
    """
    offset = 2
    while True:
        file.seek(offset)
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # fill bytes
            head += file.read(1 << 16)
            offset += len(head) - len(head.lstrip(b"\xff")) - 1
            continue
        length = int.from_bytes(head[2:], "big")
        body = file.read(max(length - 2, 0))
        if length < 2 or len(body) < length - 2:
            return
        yield head[1], offset + 4, body
        if head[1] == 0xDA:
            return
        offset += 2 + length


def gif_colours_end(head: bytes) -> int:
    """Where a GIF's global colour table ends. GIF89a, section 18."""
    return 13 + (3 << (head[10] & 7) + 1 if len(head) > 10 and head[10] & 0x80 else 0)


def gif_blocks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """First byte of each of a GIF's blocks behind the global colours, the place of its second one and its end.

    The last is the end mark, or what stands in its place (nothing where the file is cut). GIF89a, sections 15 and 23.
    """
    file.seek(0)
    kind, end = b"\x21", gif_colours_end(file.read(13))
    while kind in (b"\x21", b"\x2c"):
        file.seek(end)
        kind, start = file.read(1), end + 1
        if kind == b"\x21":
            file.seek(1, 1)
        elif kind == b"\x2c":
            flags = file.read(9)[8:] or b"\0"
            file.seek((3 << (flags[0] & 7) + 1 if flags[0] & 0x80 else 0) + 1, 1)
        while kind in (b"\x21", b"\x2c") and (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], 1)
        end = file.tell()
        yield kind, start, end


def webp_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the body and its length of a WebP's chunks; a frame's parts follow its ANMF."""
    file.seek(0)
    head = file.read(12)
    offset = 12 if head[:4] == b"RIFF" and head[8:] == b"WEBP" else -1
    for _ in range(1_000_000 if offset > 0 else 0):
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], offset + 8, length
        offset += 24 if head[:4] == b"ANMF" else 8 + (length + 1) // 2 * 2


def boxes(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int, int]]:
    """Type, start and end of the body of each box of an ISO base media file or a JP2. ISO/IEC 14496-12, 4.2."""
    for _ in range(1000):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        head = 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
        end = start + length if length else len(data)
        if len(kind) < 4 or end < start + head:
            return
        yield kind, start + head, min(end, len(data))
        start = end


def colour_boxes(data: bytes) -> Iterator[bytes]:
    """The bodies of the `colr` boxes of an AVIF's, a HEIC's or a JP2's items, the first item's first."""
    inside = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0}
    waiting = list(boxes(data))
    while waiting:
        kind, start, end = waiting.pop(0)
        if kind == b"colr":
            yield data[start:end]
        elif kind in inside:
            waiting += list(boxes(data[:end], start + inside[kind]))
