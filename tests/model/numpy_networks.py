"""The discriminator and VGG19 once more, in NumPy alone: what the PyTorch ones must agree with.

The generator in NumPy is `srgan.export.parity.reference`.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def convolution(x: Array, kernel: Array, bias: Array | None = None, stride: int = 1) -> Array:
    """(C, H, W) correlated with (out, C, k, k), zeros beyond the border."""
    reach = kernel.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[-2:], axis=(1, 2))[:, ::stride, ::stride]
    result: Array = np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True)
    return result if bias is None else result + bias[:, None, None]


def normalised(x: Array, t: Mapping[str, Array], name: str) -> Array:
    mean, variance, gain, shift = (
        t[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gain + shift


def leaky(x: Array, slope: Array | float) -> Array:
    return np.where(x > 0, x, x * slope)


def shuffled(x: Array) -> Array:
    """Channel 4c + 2i + j of (4C, H, W) is the pixel (2y + i, 2x + j) of channel c (Shi et al. 2016)."""
    channels, height, width = x.shape[0] // 4, x.shape[1], x.shape[2]
    result = np.empty((channels, 2 * height, 2 * width))
    for i in range(2):
        for j in range(2):
            result[:, i::2, j::2] = x[2 * i + j :: 4]
    return result


def judged(signed: Array, t: Mapping[str, Array]) -> Array:
    """The discriminator in evaluation mode on one crop (3, H, W): its logit (1,)."""
    x = leaky(convolution(signed, t["convs.0.weight"], t["convs.0.bias"]), 0.2)
    for i, stride in enumerate((2, 1, 2, 1, 2, 1, 2)):
        at = 2 + 3 * i
        x = leaky(normalised(convolution(x, t[f"convs.{at}.weight"], stride=stride), t, f"convs.{at + 1}"), 0.2)
    hidden = leaky(t["dense.0.weight"] @ x.ravel() + t["dense.0.bias"], 0.2)
    logit: Array = t["dense.2.weight"] @ hidden + t["dense.2.bias"]
    return logit


def vgg_features(rgb_signed: Array, tensors: Mapping[str, NDArray[np.float32]], last: str) -> Array:
    """phi of layer `last` ("22"), Caffe's convention, on one picture (3, H, W) in [-1, 1]."""
    mean = np.array([103.939, 116.779, 123.68])[:, None, None]
    x = (rgb_signed[::-1] + 1) / 2 * 255 - mean
    for block, convolutions in enumerate((2, 2, 4, 4, 4), start=1):
        for conv in range(1, convolutions + 1):
            name = f"conv{block}_{conv}"
            x = np.maximum(convolution(x, tensors[f"{name}.weight"].astype(float), tensors[f"{name}.bias"]), 0)
            if last == f"{block}{conv}":
                return x
        height, width = x.shape[1] // 2, x.shape[2] // 2
        x = x[:, : 2 * height, : 2 * width].reshape(-1, height, 2, width, 2).max(axis=(2, 4))
    raise AssertionError(last)
