"""From whatever colour a picture file holds to grey or sRGB-like colour in 8 or 16 bits, and upright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.image.decode import ImageBytes, field, shown

_GREY = ("b-w", "grey16")
_COLOUR = ("srgb", "rgb16", "rgb")


def to_grey_or_rgb(image: Any, source: Path | ImageBytes) -> Any:
    """A lazy image of 1 (grey), 2 (grey, alpha), 3 or 4 bands, uchar or ushort, as the file's own depth is.

    CMYK goes through its embedded profile (a built-in one where it has none) to sRGB and carries an sRGB
    profile then; CIE Lab becomes 16-bit sRGB. Numbers that are not 8 or 16 bit unsigned are refused.
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
            f"{shown(source)} holds {image.bands} {image.interpretation} channels of type {image.format}; "
            "srgan takes grey, RGB and CMYK with 8 or 16 bits. Convert it first."
        )
    return image


def to_srgb(image: Any) -> Any:
    """Colour through its embedded profile, or libvips' own CMYK one, to sRGB of the same depth."""
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
    return converted.bandjoin(image.extract_band(bands))  # libvips would scale a 16-bit alpha by 257


def orientation_of(image: Any) -> int:
    """EXIF's orientation, 1 to 8; 1 where the file says nothing sensible."""
    value = field(image, "orientation")
    return value if value in range(1, 9) else 1


def stored_region(
    orientation: int, stored: tuple[int, int], top: int, left: int, height: int, width: int
) -> tuple[int, int, int, int]:
    """Where a rectangle of the upright picture lies in the picture as stored: (top, left, height, width).

    `stored` is (height, width) of the stored picture.
    """
    if orientation >= 5:
        top, left, height, width = left, top, width, height
    if orientation in (3, 4, 6, 7):
        top = stored[0] - top - height
    if orientation in (2, 3, 7, 8):
        left = stored[1] - left - width
    return top, left, height, width


def apply_orientation(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """A stored array (H, W, ...) turned and mirrored as EXIF's orientation asks. EXIF 2.32, section 4.6.4."""
    if orientation in (3, 4, 6, 7):
        array = array[::-1]
    if orientation in (2, 3, 7, 8):
        array = array[:, ::-1]
    return array.swapaxes(0, 1) if orientation >= 5 else array


def uint8_from_uint16(array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint8 as it is; uint16 divided by 257 and rounded."""
    if array.dtype == np.uint8:
        return array
    table = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
    return np.take(table, array)


def eight_bit_image(image: Any) -> Any:
    """`uint8_from_uint16` for a lazy ushort image."""
    table = uint8_from_uint16(np.arange(65536, dtype=np.uint16))
    return image.maplut(pyvips.Image.new_from_array(table[None]))
