"""The eight symmetries of the square: of EXIF's orientations, of training crops, of the self-ensemble.

A symmetry is a number: 1 = mirrored left-right, + 2 = upside down, + 4 = then transposed.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OF_ORIENTATION = {1: 0, 2: 1, 3: 3, 4: 2, 5: 4, 6: 6, 7: 7, 8: 5}
"""EXIF's orientation -> the symmetry that makes the stored image upright. EXIF 2.32, section 4.6.4."""
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7)
"""Symmetry -> the one that undoes it."""


def apply_symmetry(array: NDArray[Any], symmetry: int, axis: int = 0) -> NDArray[Any]:
    """The array after a symmetry of its axes `axis` (rows) and `axis + 1` (columns); a view."""
    if symmetry & 1:
        array = np.flip(array, axis + 1)
    if symmetry & 2:
        array = np.flip(array, axis)
    return array.swapaxes(axis, axis + 1) if symmetry & 4 else array


def symmetric_box(box: tuple[int, int, int, int], size: tuple[int, int], symmetry: int) -> tuple[int, int, int, int]:
    """Where a rectangle (top, left, height, width) of an image of `size` (height, width) comes to lie."""
    top, left, height, width = box
    if symmetry & 1:
        left = size[1] - left - width
    if symmetry & 2:
        top = size[0] - top - height
    return (left, top, width, height) if symmetry & 4 else (top, left, height, width)
