"""Fill colours under transparent pixels from their neighbours, so that no halo appears; the range of alpha near a pixel."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

AlphaMode = Literal["bleed", "separate"]
"""bleed: colour under transparent pixels is filled from neighbours. separate: colour and alpha are left as they are."""
_RADII = (1, 4, 16, 64)
REACH = _RADII[-1]
"""How far, in pixels, colour spreads; farther than the 40 that the generator sees."""


def bleed_colour(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Pixels (H, W) or (H, W, C) whose colour under alpha 0 is the mean of visible colours near by.

    A fully transparent pixel takes the alpha-weighted mean of the smallest square (3, 9, 33, 129 pixels) around it
    that holds a visible pixel, in integers, rounded; farther away it keeps its own colour. All other pixels stay as
    they are. A region cut out with a margin of `REACH` therefore gives the same bytes as the whole.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    colour = pixels if pixels.ndim == 3 else pixels[..., None]
    result = colour.copy()
    weight = alpha.astype(np.int64)
    for radius in _RADII:
        # Pixels that this square fills.
        total = box_sums(weight, radius)
        filled = hidden & (total > 0)
        divisor = total[filled]
        for c in range(colour.shape[2]):
            weighted = box_sums(weight * colour[..., c], radius)[filled]
            result[..., c][filled] = ((weighted + divisor // 2) // divisor).astype(pixels.dtype)
        # The rest waits for a larger square.
        hidden = hidden & ~filled
        if not hidden.any():
            break
    return result.reshape(pixels.shape)


def box_sums(values: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Sums over squares of side 2 * radius + 1, cut at the border."""
    for axis in (0, 1):
        length = values.shape[axis]
        running = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis)
        places = np.arange(length)
        upper = running.take(np.minimum(places + radius + 1, length), axis)
        values = upper - running.take(np.maximum(places - radius, 0), axis)
    return values


def local_range(alpha: NDArray[Any], factor: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Smallest and largest of each pixel's 3 x 3 neighbours, (h, w) -> two arrays (factor*h, factor*w)."""
    padded = np.pad(alpha, 1, mode="edge")
    shifted = [padded[i : i + alpha.shape[0], j : j + alpha.shape[1]] for i in range(3) for j in range(3)]
    low, high = (
        extreme.reduce(shifted).repeat(factor, axis=0).repeat(factor, axis=1) for extreme in (np.minimum, np.maximum)
    )
    return low, high
