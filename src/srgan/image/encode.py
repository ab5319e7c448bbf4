"""A libvips image becomes a file: format by ending, bounded memory where the format allows, atomic."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from srgan.errors import ImageError
from srgan.image.colour import eight_bit_image, to_srgb
from srgan.image.decode import field, set_up_libvips, shown, vips_reason
from srgan.image.embedding import JPEG_LIMIT, PLACEHOLDER, embed_exif
from srgan.image.metadata import Metadata, with_provenance

_XMP_LIMIT = 63_000
"""Bytes of XMP in a JPEG's one segment (65,502), less room for provenance."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Format:
    name: str
    saver: str
    deep: int = 16
    """Bits that it keeps of 16."""
    alpha: bool = True
    grey: bool = True
    side: int = 2**31 - 1
    """Longest side."""
    pixels: int = 2**62
    """Where its encoder, which holds the whole picture, would need more than about 1.2 GB."""
    quality: int | None = None


_PNG = _Format(name="PNG", saver="pngsave")
_JPEG = _Format(name="JPEG", saver="jpegsave", deep=8, alpha=False, side=65_500, quality=95)
_WEBP = _Format(name="WebP", saver="webpsave", deep=8, grey=False, side=16_383, pixels=100_000_000, quality=95)
_TIFF = _Format(name="TIFF", saver="tiffsave")
_AVIF = _Format(name="AVIF", saver="heifsave", deep=12, grey=False, side=16_384, pixels=50_000_000, quality=90)
_BY_ENDING = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": _WEBP,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": _AVIF,
}

OUTPUT_SUFFIXES = tuple(_BY_ENDING)
"""The endings of the files that can be written."""


def _format(target: Path) -> _Format:
    try:
        return _BY_ENDING[target.suffix.lower()]
    except KeyError:
        raise ImageError(
            f"{shown(target)} cannot be written: the ending must be one of {', '.join(OUTPUT_SUFFIXES)}."
        ) from None


def check_target(path: str | os.PathLike[str], *, height: int, width: int, alpha: bool) -> None:
    """ImageError, before any work is done, when the file's format cannot hold such a picture."""
    target = Path(path)
    form = _format(target)
    if alpha and not form.alpha:
        raise ImageError(
            f"{shown(target)}: the picture has transparency, which {form.name} has not. Write PNG, WebP, TIFF or AVIF."
        )
    if max(height, width) > form.side or height * width > form.pixels:
        most = f"a side of {form.side}" if max(height, width) > form.side else f"{form.pixels:,} pixels here"
        raise ImageError(
            f"{shown(target)}: {width}x{height} is more than {form.name} takes ({most}). Write PNG or TIFF."
        )
    if not target.parent.is_dir():
        raise ImageError(f"{shown(target)} cannot be written: there is no folder {shown(target.parent)}.")


def _check_room(target: Path, metadata: Metadata) -> None:
    """ImageError when the file's format has no room for a block of that size."""
    if _format(target) is not _JPEG:
        return
    for name, block, most in (("EXIF", metadata.exif, JPEG_LIMIT), ("XMP", metadata.xmp, _XMP_LIMIT)):
        if block is not None and len(block) > most:
            raise ImageError(
                f"{shown(target)}: the picture's {name} has {len(block):,} bytes, a JPEG takes {most:,}. "
                "Write PNG, WebP, TIFF or AVIF."
            )


def not_written(target: Path, error: Exception) -> ImageError:
    """The error for a file that the system or libvips would not write."""
    return ImageError(f"{shown(target)} cannot be written: {vips_reason(error)}.")


def depth_warning(path: str | os.PathLike[str], dtype: Any) -> str | None:
    """A sentence for the user where the file's format keeps fewer bits than an array of `dtype` has."""
    form = _format(Path(path))
    if np.dtype(dtype) == np.uint16 and form.deep < 16:
        return f"{form.name} keeps {form.deep} of 16 bits: the values are rounded. PNG and TIFF keep all."
    return None


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A new empty file beside `target` that becomes it, flushed to disk, if the block ends well.

    Else it is removed. A target that is a symbolic link is replaced, not followed.
    """
    temporary = target.with_name(f".srgan-{secrets.token_hex(6)}.part")
    try:
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        except (OSError, ValueError) as error:
            raise not_written(target, error) from None
        _flush_folder(target.parent)
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can; the rename has happened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save(
    image: Any,
    target: Path,
    *,
    metadata: Metadata,
    provenance: Mapping[str, str] | None,
    quality: int | None,
    lossless: bool,
) -> None:
    """Encode a lazy image of 1 to 4 bands, uchar or ushort, and put it at `target` in one step.

    The same image, metadata, provenance and options give the same bytes.
    """
    set_up_libvips()
    form = _format(target)
    check_target(target, height=image.height, width=image.width, alpha=image.bands in (2, 4))
    _check_room(target, metadata)
    options = _options(form, image, quality, lossless, target)
    try:
        image = _fitted(_dressed(image, metadata, provenance), form)
        with replacing(target) as temporary:
            density_in_exif = form.name == "JPEG" and metadata.density is not None  # libvips has no other way
            keep = 2 | 4 | 8 | (1 if metadata.exif or density_in_exif else 0)  # XMP, IPTC, ICC, EXIF
            getattr(image, form.saver)(str(temporary), keep=keep, **options)
            if metadata.exif:
                embed_exif(temporary, form.name, metadata.exif)
    except pyvips.Error as error:
        raise not_written(target, error) from None


def check_writable(target: Path, bands: int, dtype: Any, **how: Any) -> None:
    """ImageError now for what would stop `save`, with the same arguments, after hours of work: metadata, options."""
    image = pyvips.Image.black(8, 8, bands=bands).cast("uchar" if np.dtype(dtype) == np.uint8 else "ushort")
    with tempfile.TemporaryDirectory(prefix="srgan-") as folder:
        path = Path(folder) / f"picture{target.suffix}"
        try:
            save(image, path, **how)
        except ImageError as error:
            raise ImageError(str(error).replace(shown(path), shown(target))) from None


def _options(form: _Format, image: Any, quality: int | None, lossless: bool, target: Path) -> dict[str, Any]:
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"{shown(target)}: quality is {quality}; it goes from 1 to 100.")
    deep = image.format == "ushort"
    chosen = {} if form.quality is None else {"Q": form.quality if quality is None else quality}
    match form.name:
        case "PNG":
            return {"compression": 6, "filter": "up"}
        case "JPEG":
            return chosen | {"subsample_mode": "off" if chosen["Q"] >= 90 else "auto"}
        case "WebP":
            return {"lossless": True, "exact": True} if lossless else chosen | {"smart_subsample": True}
        case "TIFF":
            big = image.height * image.width * image.bands * (2 if deep else 1) > 4_000_000_000
            return {"compression": "deflate", "predictor": "horizontal", "bigtiff": big}
        case _:
            mode = {"lossless": True} if lossless else chosen | {"subsample_mode": "off"}
            return mode | {"compression": "av1", "bitdepth": 12 if deep else 8, "effort": 2}


def _dressed(image: Any, metadata: Metadata, provenance: Mapping[str, str] | None) -> Any:
    """The image with its interpretation and metadata."""
    name = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}[image.format][image.bands >= 3]
    density = metadata.density or (1.0, 1.0)
    image = image.copy(interpretation=name, xres=density[0], yres=density[1])
    xmp = metadata.xmp if provenance is None else with_provenance(metadata.xmp, provenance)
    exif = PLACEHOLDER if metadata.exif else None
    blobs = {"icc-profile-data": metadata.icc, "xmp-data": xmp, "iptc-data": metadata.iptc, "exif-data": exif}
    for name, blob in blobs.items():
        if blob:  # libvips ends the process over an empty one
            image.set_type(pyvips.GValue.blob_type, name, blob)
    return image


def _fitted(image: Any, form: _Format) -> Any:
    """The image in the depth and the channels that the format has; a grey profile goes with grey alone."""
    icc = field(image, "icc-profile-data")
    if image.bands < 3 and not form.grey and icc is not None and icc[16:20] == b"GRAY":
        image = to_srgb(image)
    if image.format == "ushort" and form.deep == 8:
        image = eight_bit_image(image).copy(interpretation="b-w" if image.bands < 3 else "srgb")
    return image
