"""Put back what the input says: the output, made smaller again, comes close to the input (Irani and Peleg 1991)."""

import numpy as np

from srgan.image.resize import bicubic
from srgan.upscale.engine import Nchw

REACH = 5
"""LR pixels around a pixel that its result depends on: two for each resize, and one for the smoothing."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def back_project(sr_signed: Nchw, lr_unit: Nchw, trust: float) -> None:
    """Add to `sr_signed` (1, C, 4h, 4w) how far, made smaller, it is from `lr_unit` (1, C, h, w).

    `trust`: 1 where the input's pixels are exact. Below 1, that share of the luma's difference, and the less the smoother:
    compression changes colours and fine detail most.
    """
    sr = np.clip(sr_signed[0], -1, 1, out=sr_signed[0])
    lr_signed = 2 * lr_unit[0] - 1
    if trust == 1:
        for plane, lr in zip(sr, lr_signed, strict=True):
            plane += bicubic(lr - bicubic(plane, *lr.shape), *plane.shape)
        return
    weights = _LUMA if len(sr) == 3 else np.ones(1, np.float32)
    luma, lr_luma = np.tensordot(weights, sr, 1), np.tensordot(weights, lr_signed, 1)
    difference = lr_luma - bicubic(luma, *lr_luma.shape)
    for axis in (0, 1):
        padded = np.pad(difference, [(int(axis == at), int(axis == at)) for at in (0, 1)], "edge").swapaxes(0, axis)
        neighbours = (padded[:-2] + padded[2:]).swapaxes(0, axis)
        difference += np.float32(1 - trust) * (neighbours - 2 * difference)
    sr += bicubic(np.float32(trust) * difference, *luma.shape)
