"""Opens a picture file with the one libvips loader that its first bytes ask for, within limits."""

from __future__ import annotations

import dataclasses
import functools
import io
import logging
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO

import pyvips

from srgan.errors import ImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".avif", ".gif")
"""The endings of the files that are read: PNG, JPEG, WebP, TIFF, AVIF, GIF."""

_LOADERS = {
    "PNG": "pngload",
    "JPEG": "jpegload",
    "WebP": "webpload",
    "TIFF": "tiffload",
    "AVIF": "heifload",
    "GIF": "gifload",
}
_PREFIX = re.compile(r"^(\w+: )+")
_NOISE = re.compile(r"unable to |bad seek|\([\d.]+\)$|source input")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"miaf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a picture file may ask of this machine."""

    pixels: int = 268_435_456
    """Height times width, checked from the header before a pixel is decoded; 2**28 is 0.8 GB as 8-bit RGB."""
    seconds: float = 300.0
    """For decoding; the decoder is stopped at its next row of blocks after that."""


DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageBytes:
    """A picture file's bytes that are in memory already."""

    data: bytes
    name: str
    """What messages call it."""


def shown(source: str | os.PathLike[str] | ImageBytes) -> str:
    """A path, name or text as one harmless line: control and other unprintable characters escaped."""
    text = source.name if isinstance(source, ImageBytes) else os.fspath(source)
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def open_bytes(source: Path | ImageBytes) -> BinaryIO:
    """The file or the bytes, opened for reading."""
    return io.BytesIO(source.data) if isinstance(source, ImageBytes) else source.open("rb")


def vips_reason(error: Exception) -> str:
    """What libvips or the system said, as half a sentence without a dot."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [_PREFIX.sub("", line.strip()) for line in str(error).splitlines()]
    telling = [line for line in lines if line and not _NOISE.match(line)]
    return shown(telling[-1] if telling else "it ends too early or its header is wrong").rstrip(".")[:200]


def decode_error(source: Path | ImageBytes, error: Exception, limits: Limits) -> ImageError:
    """The error for pixels that cannot be had: the time is up, or the file is damaged."""
    if "killed" in str(error):
        return ImageError(f"{shown(source)} takes longer than {limits.seconds:g} s to decode (Limits.seconds).")
    return ImageError(f"{shown(source)} is damaged: {vips_reason(error)}.")


def format_of(source: Path | ImageBytes) -> str:
    """The format that a file's first bytes say; ImageError when it is missing, empty or none of ours."""
    try:
        if isinstance(source, Path) and not source.is_file():
            what = "is a folder" if source.is_dir() else "is no file" if source.exists() else "does not exist"
            raise ImageError(f"{shown(source)} {what}; a picture was expected.")
        with open_bytes(source) as file:
            head = file.read(16)
    except (OSError, ValueError) as error:
        raise ImageError(f"{shown(source)} cannot be read: {vips_reason(error)}.") from None
    if not head:
        raise ImageError(f"{shown(source)} is empty (0 bytes).")
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
        f"{shown(source)} is not a {', '.join(list(_LOADERS)[:-1])} or GIF picture, whatever its name says; "
        "convert it to PNG first."
    )


def _animated(source: Path | ImageBytes, kind: str) -> bool:
    """Whether the file is a sequence that libvips would take for its first picture."""
    with open_bytes(source) as file:
        head = file.read(12)
        if kind == "AVIF":
            return head[8:] in (b"avis", b"msf1")
        file.seek(8)
        for _ in range(1000 if kind == "PNG" else 0):
            chunk = file.read(8)
            if chunk[4:] == b"acTL":
                return True
            if len(chunk) < 8 or chunk[4:] == b"IDAT":
                break
            file.seek(int.from_bytes(chunk[:4], "big") + 4, io.SEEK_CUR)
    return False


@functools.cache
def set_up_libvips() -> None:
    """Once per process: no operation cache (looped use stays flat in memory), no unfuzzed loaders.

    What libvips warns of goes to Python's logger "pyvips", and to stderr only for those who set one up.
    """
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)


def field(image: Any, name: str) -> Any:
    """A metadata field of a libvips image, or None where it is missing or empty."""
    try:
        return image.get(name) if image.get_typeof(name) else None
    except RuntimeError:  # pyvips of an empty block
        return None


def open_image(source: Path | ImageBytes, limits: Limits) -> Any:
    """The file as a libvips image that decodes from top to bottom when asked, one page, within `limits`."""
    set_up_libvips()
    kind = format_of(source)
    how = {"access": "sequential", "fail_on": "error"}
    try:
        if isinstance(source, ImageBytes):
            image = getattr(pyvips.Image, f"{_LOADERS[kind]}_buffer")(source.data, **how)
        else:
            image = getattr(pyvips.Image, _LOADERS[kind])(str(source), **how)
    except pyvips.Error as error:
        raise ImageError(f"{shown(source)} is a damaged or unusual {kind}: {vips_reason(error)}.") from None
    if image.width * image.height > limits.pixels:
        raise ImageError(
            f"{shown(source)} is {image.width}x{image.height}, {image.width * image.height:,} pixels; "
            f"the limit is {limits.pixels:,} (Limits.pixels)."
        )
    pages = field(image, "n-pages") or 1
    if pages > 1 or _animated(source, kind):
        many = pages if pages > 1 else "several"
        raise ImageError(f"{shown(source)} has {many} pages or frames; srgan takes one. Split it first.")
    return image


def with_timeout(image: Any, seconds: float) -> Any:
    """The same image, whose evaluation fails once `seconds` have passed since this call."""
    deadline = time.monotonic() + seconds
    watched = image.copy()
    watched.set_progress(True)
    watched.signal_connect(
        "eval", lambda evaluated, _: evaluated.set_kill(True) if time.monotonic() > deadline else None
    )
    return watched
