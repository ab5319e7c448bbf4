"""Put back what the input says: the output, made smaller again, comes close to the input (Irani and Peleg 1991)."""

import numpy as np
from numpy.typing import NDArray

from srgan.image.alpha import local_range
from srgan.image.resize import bicubic
from srgan.upscale.engine import Nchw

Plane = NDArray[np.float32]
REACH = 5
"""LR pixels around a pixel that its result depends on: two for each resize, and one for the smoothing."""


def back_project(sr_signed: Nchw, lr_unit: Nchw, trust: float) -> None:
    """Add to `sr_signed` (1, C, 4h, 4w) how far, made smaller, it is from `lr_unit` (1, C, h, w).

    `trust`: 1 where the input's pixels are exact. Below 1, that share of the luma's difference, smoothed more where it is less:
    compression changes colours and fine detail most.
    """
    sr = np.clip(sr_signed[0], -1, 1, out=sr_signed[0])
    lr_signed = 2 * lr_unit[0] - 1
    if trust == 1:
        for plane, lr in zip(sr, lr_signed, strict=True):
            plane += _without_ringing(bicubic(lr - bicubic(plane, *lr.shape), *plane.shape), plane, lr)
        return
    luma, lr_luma = _luma(sr), _luma(lr_signed)
    difference = _smoothed(lr_luma - bicubic(luma, *lr_luma.shape), 1 - trust)
    sr += _without_ringing(bicubic(trust * difference, *luma.shape), luma, lr_luma)


def _smoothed(plane: Plane, share: float) -> Plane:
    """(h, w) with `share` of each neighbour, vertically and then horizontally."""
    for _ in range(2):
        padded = np.pad(plane, ((1, 1), (0, 0)), "edge")
        plane = (plane + share * (padded[:-2] + padded[2:] - 2 * plane)).T
    return plane


def _without_ringing(change: Plane, sr: Plane, lr: Plane) -> Plane:
    """The part of `change` that takes `sr` no further beyond the range of its 3 x 3 LR neighbours than it is."""
    low, high = local_range(lr, len(sr) // len(lr))
    for limit, towards in ((low, np.minimum), (high, np.maximum)):
        limit -= sr
        towards(limit, 0, out=limit)
    return np.clip(change, low, high, out=change)


def _luma(planes: Plane) -> Plane:
    """(3, h, w) or (1, h, w) -> (h, w); no matrix product, whose threads would go on spinning beside the engine's."""
    if len(planes) == 1:
        return np.asarray(planes[0])
    luma: Plane = 0.299 * planes[0] + 0.587 * planes[1] + 0.114 * planes[2]
    return luma
