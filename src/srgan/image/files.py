"""Read and write one picture: 8 or 16 bit, grey or colour, with alpha, orientation, ICC profile and EXIF."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.image.colour import apply_orientation, orientation_of, to_grey_or_rgb, uint8_from_uint16
from srgan.image.decode import (
    DEFAULT_LIMITS,
    SUFFIXES,
    ImageBytes,
    Limits,
    decode_error,
    field,
    open_image,
    with_timeout,
)
from srgan.image.encode import OUTPUT_SUFFIXES, check_target, depth_warning, save
from srgan.image.metadata import Metadata, metadata_of, provenance_in

__all__ = [
    "OUTPUT_SUFFIXES",
    "SUFFIXES",
    "Image",
    "ImageBytes",
    "Limits",
    "Metadata",
    "check_target",
    "depth_warning",
    "encode_image",
    "find_images",
    "read_array",
    "read_image",
    "read_provenance",
    "read_rgb8",
    "size",
    "uint8_from_uint16",
    "write_array",
    "write_image",
]

log = logging.getLogger("srgan")

StrPath = str | os.PathLike[str]


def _source(path: StrPath | ImageBytes) -> Path | ImageBytes:
    return path if isinstance(path, ImageBytes) else Path(path)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """A decoded picture, upright: its EXIF orientation has been applied to the pixels and reset."""

    pixels: NDArray[Any]
    """(H, W) grey or (H, W, 3) colour, uint8 or uint16."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the pixels' type, 0 = transparent; not premultiplied."""
    metadata: Metadata = Metadata()  # noqa: RUF009  (frozen)

    @property
    def icc(self) -> bytes | None:
        """The embedded colour profile."""
        return self.metadata.icc

    @property
    def exif(self) -> bytes | None:
        """The EXIF block, from its byte order (II or MM) on."""
        return self.metadata.exif


def read_image(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> Image:
    """The picture in a file, at the file's own depth; ImageError for whatever is wrong with it."""
    source = _source(path)
    header = open_image(source, limits)
    image = to_grey_or_rgb(header, source)
    try:
        data = with_timeout(image, limits.seconds).write_to_memory()
    except pyvips.Error as error:
        raise decode_error(source, error, limits) from None
    dtype = np.uint8 if image.format == "uchar" else np.uint16
    stored = np.frombuffer(data, dtype).reshape(image.height, image.width, image.bands)
    array = apply_orientation(stored, orientation_of(header))
    bands = image.bands - image.bands % 2 if image.bands < 3 else 3
    return Image(
        pixels=np.ascontiguousarray(array[..., :3] if bands == 3 else array[..., 0]),
        alpha=np.ascontiguousarray(array[..., -1]) if image.bands in (2, 4) else None,
        metadata=metadata_of(image, source),
    )


def size(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """(height, width) of the upright picture, from the file's header."""
    image = open_image(_source(path), limits)
    return (image.width, image.height) if orientation_of(image) >= 5 else (image.height, image.width)


def read_array(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) colour in 8 bits, alpha left out; for data and evaluation."""
    return uint8_from_uint16(read_image(path, limits=limits).pixels)


def read_rgb8(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """(H, W, 3) in 8 bits, grey repeated, alpha left out."""
    array = read_array(path, limits=limits)
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def read_provenance(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, str] | None:
    """What srgan wrote into a picture about its making, or None."""
    return provenance_in(field(open_image(_source(path), limits), "xmp-data"))


def write_image(
    path: StrPath,
    picture: Image,
    *,
    quality: int | None = None,
    lossless: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """The picture as a file in the format that the name's ending says; a half-written one is never seen.

    `quality` (1 to 100) is for JPEG (95, 4:4:4), WebP (95) and AVIF (90); `lossless` for the latter two.
    16 bits are rounded to what the format keeps: see `depth_warning`. An existing file is replaced.
    """
    pixels = picture.pixels[..., None] if picture.pixels.ndim == 2 else picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    assert pixels.dtype in (np.uint8, np.uint16) and 1 <= pixels.shape[2] <= 4
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    save(
        image,
        Path(path),
        metadata=picture.metadata,
        provenance=provenance,
        quality=quality,
        lossless=lossless,
    )


def encode_image(
    picture: Image,
    suffix: str,
    *,
    quality: int | None = None,
    lossless: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> bytes:
    """The very bytes that `write_image` puts into a file with that ending (`suffix`: ".png", ...)."""
    raw = picture.pixels.nbytes + (0 if picture.alpha is None else picture.alpha.nbytes)
    with tempfile.TemporaryDirectory(prefix="srgan-", dir=_in_memory(2 * raw)) as folder:
        path = Path(folder) / f"picture{suffix}"
        write_image(path, picture, quality=quality, lossless=lossless, provenance=provenance)
        return path.read_bytes()


def _in_memory(wanted: int) -> str | None:
    """A folder that lies in memory, with room, so that the picture touches no disk; None where there is none."""
    with contextlib.suppress(OSError):
        if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > wanted:
            return "/dev/shm"
    return None


def write_array(path: StrPath, array: NDArray[Any], *, quality: int | None = None) -> None:
    """A bare array (H, W) or (H, W, 3), uint8 or uint16, as a file."""
    write_image(path, Image(pixels=array), quality=quality)


def find_images(folder: Path, *, recursive: bool = True, exclude: Path | None = None) -> list[Path]:
    """Every image file below a folder, by suffix, sorted by path.

    Links are followed, each folder once. Hidden files and folders, `__MACOSX` and the folder `exclude` are left out.
    A link to nothing is in the list: its reader names it. A subfolder that cannot be opened is logged as a warning.
    """
    images, seen = [], {os.path.realpath(exclude)} if exclude else set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_warn_unreadable):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        images += [Path(here, n) for n in names if n[0] != "." and Path(n).suffix.lower() in SUFFIXES]
        folders[:] = sorted(f for f in folders if recursive and not f.startswith((".", "__MACOSX")))
    return sorted(images, key=lambda path: path.relative_to(folder).as_posix())


def _warn_unreadable(error: OSError) -> None:
    log.warning("%s cannot be opened (%s); its images are left out.", ascii(error.filename)[1:-1], error.strerror)
