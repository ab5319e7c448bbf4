"""Pixels to what a generator takes, and what it gives to pixels: depth, grey, the range of alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import ImageError

Pixels = NDArray[Any]
Planes = NDArray[np.float32]
_PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is not (H, W) or (H, W, 3|4) of uint8, uint16, or float32 in 0..1."""
    if pixels.dtype not in _PEAKS:
        raise ImageError(f"a picture's values are uint8, uint16 or float32 in 0..1, got {pixels.dtype}.")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise ImageError(f"a picture's shape is (H, W), (H, W, 3) or (H, W, 4), got {pixels.shape}.")
    if pixels.dtype == np.float32:
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= 1.0):
            raise ImageError(f"a float32 picture's values are in 0..1, got {low:g} to {high:g}.")


def planes_from_pixels(pixels: Pixels) -> Planes:
    """(h, w) or (h, w, 3) of any depth -> lr_unit (1, 3, h, w); grey is repeated."""
    unit = np.multiply(pixels, np.float32(1.0 / _PEAKS[pixels.dtype]), dtype=np.float32)
    if unit.ndim == 2:
        return np.broadcast_to(unit, (1, 3, *unit.shape))
    return np.ascontiguousarray(unit.transpose(2, 0, 1))[None]


def unit_from_signed(sr_signed: Planes, *, grey: bool) -> Planes:
    """(1, 3, h, w) in about -1..1 -> (h, w, 3) in 0..1, clamped; grey: (h, w), the mean of the three."""
    unit = sr_signed[0].mean(axis=0, dtype=np.float32) if grey else sr_signed[0].transpose(1, 2, 0)
    unit = unit * np.float32(0.5)
    unit += np.float32(0.5)
    clamped: Planes = np.clip(unit, 0.0, 1.0, out=unit)
    return clamped


def pixels_from_unit(unit: Planes, depth: np.dtype[Any]) -> Pixels:
    """0..1 -> uint8 or uint16 rounded half up, or float32 as it is."""
    if depth == np.float32:
        return np.ascontiguousarray(unit)
    scaled = unit * np.float32(_PEAKS[depth])
    scaled += np.float32(0.5)
    return np.ascontiguousarray(scaled.astype(depth))
