"""Opens a picture file with the one libvips loader that its first bytes ask for, within limits."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

import pyvips

from srgan.errors import PictureError

FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
    "GIF": (".gif",),
}
"""The formats that are read, and the endings that their files go by."""

SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

_LOADERS = {
    "PNG": "pngload",
    "JPEG": "jpegload",
    "WebP": "webpload",
    "TIFF": "tiffload",
    "AVIF": "heifload",
    "GIF": "gifload",
}
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"miaf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What a picture file may ask of this machine; checked from its header, before a pixel is decoded."""

    pixels: int = 300_000_000
    """Height times width; 300 million is 0.9 GB as 8-bit colour."""


def shown(path: str | os.PathLike[str]) -> str:
    """A path as one harmless line of text: control and other unprintable characters escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))


def format_of(path: Path) -> str:
    """The format that a file's first bytes say; PictureError when it is missing, empty or none of ours."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise PictureError(f"{shown(path)} cannot be read: {error.strerror}.") from None
    if not head:
        raise PictureError(f"{shown(path)} is empty (0 bytes).")
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
    raise PictureError(
        f"{shown(path)} is not a picture that srgan reads ({', '.join(FORMATS)}), whatever its name says."
    )


@functools.cache
def set_up_libvips() -> None:
    """Once per process: no operation cache (looped use stays flat in memory), no unfuzzed loaders."""
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)


def opened(path: Path, limits: Limits) -> Any:
    """The file as a lazy, top-to-bottom libvips image with one page and within `limits`, undecoded."""
    set_up_libvips()
    loader = _LOADERS[format_of(path)]
    try:
        image = getattr(pyvips.Image, loader)(str(path), access="sequential", fail_on="error")
    except pyvips.Error as error:
        raise PictureError(f"{shown(path)} is damaged or not supported: {reason(error)}.") from None
    if image.width * image.height > limits.pixels:
        raise PictureError(
            f"{shown(path)} has {image.width} x {image.height} pixels; "
            f"the limit is {limits.pixels:,} (Limits.pixels)."
        )
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise PictureError(
            f"{shown(path)} has {pages} pages or frames; srgan takes pictures with one. Split it first."
        )
    return image


def reason(error: Exception) -> str:
    """The last line of what libvips said, without its trailing dot."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[-1] if lines else "no reason given").rstrip(".")
