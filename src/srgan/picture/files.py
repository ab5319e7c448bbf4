"""Read and write one picture: 8 or 16 bit, grey or colour, with alpha, orientation, ICC profile and EXIF."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import PictureError
from srgan.picture.opening import SUFFIXES, Limits, opened, reason, shown

__all__ = ["SUFFIXES", "Limits", "Picture", "read", "read_array", "read_rgb8", "size", "write", "write_array"]

StrPath = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture, upright: its EXIF orientation has been applied to the pixels and reset."""

    pixels: NDArray[Any]
    """(H, W) grey or (H, W, 3) colour, uint8 or uint16."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the pixels' type, 0 = transparent; not premultiplied."""
    icc: bytes | None = None
    """The embedded colour profile."""
    exif: bytes | None = None
    xmp: bytes | None = None


def read(path: StrPath, *, limits: Limits = Limits()) -> Picture:
    """The picture in a file, at the file's own depth; PictureError for whatever is wrong with it."""
    source = Path(path)
    image = opened(source, limits)
    try:
        if image.interpretation == "cmyk":
            image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
        if image.format not in ("uchar", "ushort") or image.bands > 4:
            raise PictureError(
                f"{shown(source)} holds {image.bands} channels of {image.format} numbers; "
                "srgan reads 8 and 16 bit grey and colour. Convert it first."
            )
        alpha = image.hasalpha()
        array = np.asarray(image.autorot().numpy())
    except pyvips.Error as error:
        raise PictureError(f"{shown(source)} is damaged: {reason(error)}.") from None
    array = array[..., None] if array.ndim == 2 else array
    colour = array[..., :-1] if alpha else array
    return Picture(
        pixels=np.ascontiguousarray(colour[..., 0] if colour.shape[2] == 1 else colour),
        alpha=np.ascontiguousarray(array[..., -1]) if alpha else None,
        icc=image.get("icc-profile-data") if image.get_typeof("icc-profile-data") else None,
        exif=image.get("exif-data") if image.get_typeof("exif-data") else None,
        xmp=image.get("xmp-data") if image.get_typeof("xmp-data") else None,
    )


def size(path: StrPath, *, limits: Limits = Limits()) -> tuple[int, int]:
    """(height, width) of the upright picture, from the file's header."""
    image = opened(Path(path), limits)
    turned = image.get_typeof("orientation") and image.get("orientation") in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def eight_bit(array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 as it is; uint16 divided by 257 and rounded."""
    if array.dtype == np.uint8:
        return array
    return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)


def read_array(path: StrPath, *, limits: Limits = Limits()) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) colour in 8 bits, alpha left out; for data and evaluation."""
    return eight_bit(read(path, limits=limits).pixels)


def read_rgb8(path: StrPath, *, limits: Limits = Limits()) -> NDArray[np.uint8]:
    """(H, W, 3) in 8 bits, grey repeated, alpha left out."""
    array = read_array(path, limits=limits)
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def write(
    path: StrPath,
    picture: Picture,
    *,
    quality: int | None = None,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """The picture as a file, in the format that the name's ending says; a half-written file is never seen."""
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES or target.suffix.lower() == ".gif":
        raise PictureError(f"{shown(target)}: the ending must be .png, .jpg, .webp, .tif or .avif.")
    pixels = picture.pixels[..., None] if picture.pixels.ndim == 2 else picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[..., None]], axis=2)
    deep = pixels.dtype == np.uint16
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    grey = pixels.shape[2] < 3
    interpretation = ("grey16" if deep else "b-w") if grey else ("rgb16" if deep else "srgb")
    image = image.copy(interpretation=interpretation)
    if picture.icc is not None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", picture.icc)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    options: dict[str, Any] = {} if quality is None or target.suffix.lower() == ".png" else {"Q": quality}
    try:
        image.write_to_file(str(temporary), **options)
        temporary.replace(target)
    except (pyvips.Error, OSError) as error:
        raise PictureError(f"{shown(target)} cannot be written: {reason(error)}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def write_array(path: StrPath, array: NDArray[Any], *, quality: int | None = None) -> None:
    """A bare array (H, W) or (H, W, 3), uint8 or uint16, as a file."""
    write(path, Picture(pixels=array), quality=quality)
