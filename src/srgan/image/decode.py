"""Open an image file with the one libvips loader that its first bytes ask for; its colour as 8 or 16 bits, upright."""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.fs import printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".avif", ".gif")
"""Suffixes of the files that are read: PNG, JPEG, WebP, TIFF, AVIF, GIF."""

_LOADERS = {
    "PNG": "pngload",
    "JPEG": "jpegload",
    "WebP": "webpload",
    "TIFF": "tiffload",
    "AVIF": "heifload",
    "GIF": "gifload",
}
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"miaf")
_GREY = ("b-w", "grey16")
_COLOUR = ("srgb", "rgb16", "rgb")
_PREFIX = re.compile(r"^(\w+: )+")
_NOISE = re.compile(r"unable to |bad seek|\([\d.]+\)$|source input")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What an image file may cost."""

    pixels: int = 268_435_456
    """Height times width, checked from the header before a pixel is decoded; 2**28 is 0.8 GB as 8-bit RGB."""
    seconds: float = 300.0
    """For decoding; the decoder stops at its next row of blocks after that."""
    name: str = "Limits.pixels"
    """What messages call the limit of pixels."""


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


def vips_reason(error: Exception) -> str:
    """The message of libvips or of the system, as half a sentence without a dot."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [_PREFIX.sub("", line.strip()) for line in str(error).splitlines()]
    useful = [line for line in lines if line and not _NOISE.match(line)]
    return printable(useful[-1] if useful else "it ends too early or its header is wrong").rstrip(".")[:200]


def decode_error(source: Source, error: Exception, limits: Limits) -> ImageError:
    """The error for pixels that cannot be decoded: too slow, or damaged."""
    if "killed" in str(error):
        return ImageError(f"{name_of(source)} takes longer than {limits.seconds:g} s to decode (Limits.seconds).")
    return ImageError(f"{name_of(source)} is damaged: {vips_reason(error)}.")


def format_of(source: Source) -> str:
    """The format by the file's first bytes: PNG, JPEG, WebP, TIFF, AVIF or GIF.

    Raises ImageError for a file that is missing, empty or of another format.
    """
    try:
        if isinstance(source, Path) and not source.is_file():
            what = "is a folder" if source.is_dir() else "is no file" if source.exists() else "does not exist"
            raise ImageError(f"{name_of(source)} {what}; an image was expected.")
        with open_bytes(source) as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        raise ImageError(f"{name_of(source)} cannot be read: {vips_reason(error)}.") from None
    if not head:
        raise ImageError(f"{name_of(source)} is empty (0 bytes).")
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return "AVIF"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    raise ImageError(
        f"{name_of(source)} is not a {', '.join(list(_LOADERS)[:-1])} or GIF image, whatever its name says; "
        "convert it to PNG first."
    )


@functools.cache
def set_up_libvips() -> None:
    """Once per process: no operation cache (memory stays flat in a loop), no unfuzzed loaders.

    libvips' warnings go to the logger "pyvips", and to stderr only where a handler is attached to it.
    """
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)


def field(image: Any, name: str) -> Any:
    """A metadata field of a libvips image; None where it is missing or empty."""
    try:
        return image.get(name) if image.get_typeof(name) else None
    except RuntimeError:  # pyvips raises it for an empty block
        return None


def open_image(source: Source, limits: Limits) -> Any:
    """The file as a lazy libvips image of one page, decoded from top to bottom on demand.

    Raises ImageError for a damaged file, more pixels than `limits` and several pages or frames.
    """
    set_up_libvips()
    kind = format_of(source)
    try:
        image = _load(source, kind)
    except pyvips.Error as error:
        raise ImageError(f"{name_of(source)} is a damaged or unusual {kind}: {vips_reason(error)}.") from None
    if image.width * image.height > limits.pixels:
        raise ImageError(
            f"{name_of(source)} is {image.width}x{image.height}, {image.width * image.height:,} pixels; "
            f"the limit is {limits.pixels:,} ({limits.name})."
        )
    pages = field(image, "n-pages") or 1
    if pages > 1 or _is_animated(source, kind):
        many = pages if pages > 1 else "several"
        raise ImageError(f"{name_of(source)} has {many} pages or frames; srgan takes one. Split it first.")
    return image


def _load(source: Source, kind: str) -> Any:
    """The lazy image of a file of a known format; reads its header only. Raises pyvips.Error."""
    options = {"access": "sequential", "fail_on": "error"}
    if isinstance(source, ImageBytes):
        return getattr(pyvips.Image, f"{_LOADERS[kind]}_buffer")(source.data, **options)
    return getattr(pyvips.Image, _LOADERS[kind])(os.fsencode(source), **options)  # names need not be UTF-8


def _is_animated(source: Source, kind: str) -> bool:
    """Whether the file is a sequence of which libvips would decode the first frame."""
    with open_bytes(source) as file:
        if kind == "AVIF":
            return file.read(12)[8:] in (b"avis", b"msf1")
        return kind == "PNG" and any(name == b"acTL" for name, _, _ in png_chunks(file))


def png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the body and its length of each of a PNG's chunks before its pixels, 1,000 at most."""
    offset = 8
    for _ in range(1000):
        file.seek(offset)
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return
        length = int.from_bytes(head[:4], "big")
        yield head[4:], offset + 8, length
        offset += 12 + length


def with_timeout(image: Any, seconds: float) -> Any:
    """The same lazy image; its evaluation fails once `seconds` have passed since this call."""
    deadline = time.monotonic() + seconds
    watched = image.copy()
    watched.set_progress(True)
    watched.signal_connect(
        "eval", lambda evaluated, _: evaluated.set_kill(True) if time.monotonic() > deadline else None
    )
    return watched


def to_grey_or_rgb(image: Any, source: Source) -> Any:
    """A lazy image of 1 (grey), 2 (grey, alpha), 3 or 4 bands, uchar or ushort, at the file's own depth.

    CMYK goes through its embedded profile (else a built-in one) to sRGB, with an sRGB profile; CIE Lab becomes
    16-bit sRGB. Raises ImageError for values that are not 8 or 16 bits unsigned.
    """
    bands = image.bands - (1 if image.hasalpha() else 0)
    if image.interpretation == "cmyk" and bands == 4 and image.format in ("uchar", "ushort"):
        return to_srgb(image)
    if image.interpretation in ("lab", "labs") and bands == 3:
        image = image.colourspace("rgb16")
        if field(image, "icc-profile-data") is not None:
            image = image.copy()
            image.remove("icc-profile-data")
    known = (image.interpretation in _GREY and bands == 1) or (image.interpretation in _COLOUR and bands == 3)
    if not known or image.format not in ("uchar", "ushort"):
        raise ImageError(
            f"{name_of(source)} holds {image.bands} {image.interpretation} channels of type {image.format}; "
            "srgan takes grey, RGB and CMYK with 8 or 16 bits. Convert it first."
        )
    return image


def to_srgb(image: Any) -> Any:
    """Colour through its embedded profile (else libvips' own of CMYK) to sRGB of the same depth."""
    bands = image.bands - (1 if image.hasalpha() else 0)
    converted = image.extract_band(0, n=bands).icc_transform(
        "srgb",
        embedded=True,
        input_profile="cmyk",
        intent="relative",
        depth=16 if image.format == "ushort" else 8,
    )
    if bands == image.bands:
        return converted
    return converted.bandjoin(image.extract_band(bands))  # icc_transform would scale a 16-bit alpha by 257


def orientation_of(image: Any) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none or a wrong one."""
    value = field(image, "orientation")
    return value if value in range(1, 9) else 1


def stored_region(
    orientation: int, stored: tuple[int, int], top: int, left: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """The place (top, left, height, width) in the stored image of a rectangle of the upright one.

    `stored` is the stored image's (height, width).
    """
    if orientation >= 5:
        top, left, height, width = left, top, width, height
    if orientation in (3, 4, 6, 7):
        top = stored[0] - top - height
    if orientation in (2, 3, 7, 8):
        left = stored[1] - left - width
    return top, left, height, width


def apply_orientation(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A stored array (H, W, ...) turned and mirrored by EXIF's orientation. EXIF 2.32, section 4.6.4."""
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if orientation >= 5 else array


def uint8_from_uint16(array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint16 divided by 257 and rounded; uint8 unchanged."""
    if array.dtype == np.uint8:
        return array
    table = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
    return np.take(table, array)
