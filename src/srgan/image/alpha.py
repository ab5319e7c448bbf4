"""Colour spread under transparency, so that what nobody sees makes no halo round what they see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_RADII = (1, 4, 16, 64)
REACH = _RADII[-1]
"""How far, in pixels, colour spreads; beyond the 40 that the generator sees."""


def bleed_colour(pixels: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Pixels (H, W) or (H, W, C) whose colour under alpha 0 is the mean of visible colours near by.

    A fully transparent pixel takes the alpha-weighted mean of the smallest square (3, 9, 33, 129 pixels)
    round it that holds anything visible, in integers, rounded; farther off it keeps its own colour. All
    other pixels stay as they are. So a region cut out with a margin of `REACH` gives the whole's bytes.
    """
    hidden = alpha == 0
    if not hidden.any() or hidden.all():
        return pixels
    colour = pixels if pixels.ndim == 3 else pixels[..., None]
    result = colour.copy()
    weight = alpha.astype(np.int64)
    channels = range(colour.shape[2])
    for radius in _RADII:
        total = _boxed(weight, radius)
        now = hidden & (total > 0)
        for c in channels:
            result[..., c][now] = (
                (_boxed(weight * colour[..., c], radius)[now] + total[now] // 2) // total[now]
            ).astype(pixels.dtype)
        hidden = hidden & ~now
        if not hidden.any():
            break
    return result.reshape(pixels.shape)


def _boxed(values: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Sums over squares of side 2 * radius + 1, cut at the border."""
    for axis in (0, 1):
        length = values.shape[axis]
        running = np.concatenate([np.zeros_like(values.take([0], axis)), values.cumsum(axis)], axis)
        places = np.arange(length)
        upper = running.take(np.minimum(places + radius + 1, length), axis)
        values = upper - running.take(np.maximum(places - radius, 0), axis)
    return values
