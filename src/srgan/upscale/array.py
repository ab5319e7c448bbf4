"""Pictures in memory as a source of regions and a place for results."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.image.alpha import bleed_colour
from srgan.upscale.job import Put

Pixels = NDArray[Any]


class ArraySource:
    """A picture in memory; its colour is spread under its transparency."""

    def __init__(self, pixels: Pixels, alpha: Pixels | None = None) -> None:
        self.height, self.width = int(pixels.shape[0]), int(pixels.shape[1])
        self.has_alpha = alpha is not None
        self._pixels = pixels if alpha is None else _bled(pixels, alpha)
        self._alpha = alpha

    def region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w) or (h, w, 3), a view."""
        return self._pixels[top : top + height, left : left + width]

    def alpha_region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w), a view."""
        if self._alpha is None:
            raise AssertionError("this picture has no alpha")
        return self._alpha[top : top + height, left : left + width]


def array_put(pixels: Pixels, alpha: Pixels | None = None) -> Put:
    """Puts results into arrays (H, W[, 3]) and (H, W)."""

    def put(top: int, left: int, part: Pixels, part_alpha: Pixels | None = None) -> None:
        place = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        pixels[place] = part
        if alpha is not None:
            alpha[place] = part_alpha

    return put


def _bled(pixels: Pixels, alpha: Pixels) -> Pixels:
    """`bleed_colour`, which computes in integers, for floats in 0..1 too."""
    if pixels.dtype != np.float32:
        return bleed_colour(pixels, alpha)
    whole = bleed_colour(np.rint(pixels * 65535).astype(np.uint16), np.ceil(alpha * 65535).astype(np.uint16))
    shown = (alpha > 0) if pixels.ndim == 2 else (alpha > 0)[..., None]
    return np.where(shown, pixels, whole.astype(np.float32) / np.float32(65535))
