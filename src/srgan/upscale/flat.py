"""Flat colours and greys come out as they are: there the image itself replaces what the network makes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.upscale.engine import Nchw
from srgan.upscale.tile_plan import Box, whole

Pixels = NDArray[Any]
Weight = NDArray[np.float32]

LEVELS = 255
"""Two neighbours are of one colour if no channel differs by more than one of so many levels."""
BLOCK = 64
"""LR pixels of a side that are blended at once, so that they stay in a core's cache."""
_WINDOW = 5
"""LR pixels of a side: of the neighbourhood that is flat or grey, of the zone beside it that is left alone, and of the blend."""


@dataclass(frozen=True, kw_only=True)
class FlatMap:
    """How much of each LR pixel the network decides: weights (h, w) from 0, the network alone, to 1; None is 0 everywhere.

    A weight depends on the pixels up to 6 away.
    """

    flat: Weight | None
    """Of the enlarged image itself."""
    grey: Weight | None
    """Of the mean of the three channels."""


def is_grey(pixels: Pixels) -> bool:
    """Whether R = G = B in all of (h, w, 3)."""
    return bool(_equal_channels(pixels).all())


def flat_map(pixels: Pixels) -> FlatMap:
    """The weights of an image (h, w) or (h, w, 3) of any depth."""
    tolerance = (1 if pixels.dtype == np.float32 else np.iinfo(pixels.dtype).max) / LEVELS
    spread = _over_windows(np.maximum, pixels) - _over_windows(np.minimum, pixels)
    flat = np.logical_and.reduce(np.atleast_3d(spread <= tolerance), axis=2)
    grey = None if pixels.ndim == 2 else _faded(_equal_channels(pixels))
    return FlatMap(flat=_faded(flat), grey=grey)


def blend(sr_signed: Nchw, lr_unit: Nchw, weights: FlatMap, box: Box) -> None:
    """Put flat colours and greys into `sr_signed` (1, C, s*h, s*w), the network's result for `box`.

    `lr_unit` (1, C, H, W) and the weights are of the region that `box` lies in.
    """
    scale = sr_signed.shape[2] // box.height
    region = whole(*lr_unit.shape[2:])
    for top in range(box.top, box.bottom, BLOCK):
        for left in range(box.left, box.right, BLOCK):
            block = Box(top, left, min(BLOCK, box.bottom - top), min(BLOCK, box.right - left))
            near = block.padded(1, region)
            inner = block.relative_to(near).scaled(scale).slices()
            sr = sr_signed[0][:, *block.relative_to(box).scaled(scale).slices()]
            lr_signed = 2 * lr_unit[0][:, *near.slices()] - 1
            if weights.grey is not None and (weight := weights.grey[near.slices()]).any():
                share, mean = _enlarged(weight, scale)[inner], np.add.reduce(sr) / len(sr)
                sr *= 1 - share
                sr += mean * share
            if weights.flat is not None and (weight := weights.flat[near.slices()]).any():
                if weight.all() and (lr_signed == lr_signed[:, :1, :1]).all() and weight.min() == 1:
                    sr[:] = lr_signed[:, :1, :1]
                    continue
                sr *= 1 - _enlarged(weight, scale)[inner]
                sr += _enlarged(lr_signed * weight, scale)[:, *inner]


def _enlarged(planes: Pixels, scale: int) -> Pixels:
    """(..., h, w) -> (..., scale * h, scale * w), bilinear; equal neighbours stay exactly as they are."""
    for axis in (-2, -1):
        size = planes.shape[axis]
        places = np.arange(size)
        before, after = (
            planes.take(np.maximum(places - 1, 0), axis),
            planes.take(np.minimum(places + 1, size - 1), axis),
        )
        shares = [(2 * phase + 1) / (2 * scale) - 0.5 for phase in range(scale)]
        parts = [planes + np.float32(abs(s)) * ((before if s < 0 else after) - planes) for s in shares]
        shape = list(planes.shape)
        shape[axis] *= scale
        planes = np.stack(parts, axis=planes.ndim if axis == -1 else -2).reshape(shape)
    return planes


def _faded(mask: NDArray[np.bool_]) -> Weight | None:
    """1 inside `mask`, 0 outside and at its rim, a ramp between; None where it is 0 everywhere."""
    inside = _over_windows(np.logical_and, mask)
    if not inside.any():
        return None
    if inside.all():
        return np.ones(mask.shape, np.float32)
    return np.divide(_over_windows(np.add, inside.astype(np.uint8)), _WINDOW**2, dtype=np.float32)


def _over_windows(combine: Callable[..., Any], values: Pixels) -> Pixels:
    """`combine` of all values in the window around each pixel (h, w, ...); the outermost pixels are repeated beyond the edge."""
    for axis in (0, 1):
        size, radius = values.shape[axis], _WINDOW // 2
        padded = values.take(np.clip(np.arange(-radius, size + radius), 0, size - 1), axis)
        result = values
        for shift in range(_WINDOW):
            if shift != radius:
                part = padded[shift : shift + size] if axis == 0 else padded[:, shift : shift + size]
                result = combine(result, part)
        values = result
    return values


def _equal_channels(pixels: Pixels) -> NDArray[np.bool_]:
    equal: NDArray[np.bool_] = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 1] == pixels[..., 2])
    return equal
