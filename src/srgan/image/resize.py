"""MATLAB's antialiased bicubic (imresize, a = -0.5), which made the LR images of the x4 test sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]

BLOCK = 1 << 18
"""Output values computed at once, so that their sums and one tap's products stay in a core's cache."""


def bicubic(image: Image, height: int, width: int) -> Image:
    """Resize to `height` x `width`, vertical pass first, edge pixels replicated.

    `image` is (H, W) or (H, W, C); the result has its type. uint8 and uint16 are rounded half up and clipped after
    each pass, floats are not rounded. It reproduces the LR files of Set5, Set14 and BSD100 exactly.
    """
    if image.ndim not in (2, 3) or 0 in image.shape or min(height, width) < 1:
        raise ValueError(f"cannot resize an array of shape {image.shape} to {height} x {width}")
    if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise TypeError(f"cannot resize {image.dtype}; use uint8, uint16, float32 or float64")
    columns = np.array(_resize_rows(image, height).swapaxes(0, 1), order="C")
    return np.array(_resize_rows(columns, width).swapaxes(0, 1), order="C")


def cropped(image: Image, factor: int = 4) -> Image:
    """The top left part of a (H, W[, C]) image whose height and width are multiples of `factor`; a view."""
    height, width = image.shape[:2]
    return image[: height - height % factor, : width - width % factor]


def downscaled(image: Image, factor: int = 4) -> Image:
    """The low-resolution image (H // factor, W // factor[, C]) of a high-resolution one."""
    whole = cropped(image, factor)
    return bicubic(whole, whole.shape[0] // factor, whole.shape[1] // factor)


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, zero from a distance of 2 on."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def contributions(inputs: int, outputs: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The inputs that each output sums, and their weights: two arrays (outputs, taps).

    The kernel is stretched by inputs / outputs if that is above 1 (antialiasing). A row of weights sums to 1.
    """
    stretch = max(inputs / outputs, 1.0)
    centre = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    first = np.floor(centre - 2 * stretch).astype(np.intp) + 1
    positions = first[:, None] + np.arange(int(np.ceil(4 * stretch)) + 1)
    weights = cubic((centre[:, None] - positions) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights.any(axis=0)
    return positions[:, used].clip(0, inputs - 1), weights[:, used]


def _resize_rows(image: Image, outputs: int) -> Image:
    """Resize along the first axis alone."""
    if outputs == image.shape[0]:
        return image
    sources, weights = contributions(image.shape[0], outputs)
    working = _working_type(image.dtype, weights)
    factors: Image = weights.astype(working).reshape(*weights.shape, *[1] * (image.ndim - 1))
    result = np.empty((outputs, *image.shape[1:]), image.dtype)
    step = max(BLOCK // result[0].size, 1)
    for block in (slice(start, start + step) for start in range(0, outputs, step)):
        total: Image = np.zeros(result[block].shape, working)
        for tap in range(sources.shape[1]):
            total += image[sources[block, tap]] * factors[block, tap]
        if image.dtype.kind == "u":
            total = np.floor(total + working(0.5)).clip(0, np.iinfo(image.dtype).max)
        result[block] = total
    return result


def _working_type(pixels: np.dtype[Any], weights: NDArray[np.float64]) -> type[np.float32] | type[np.float64]:
    """float32 where it is exact: for uint8, when weights are multiples of 1/4096, as at x4 and x1/4."""
    scaled = weights * 4096
    exact = pixels == np.uint8 and bool((scaled == np.rint(scaled)).all())
    return np.float32 if exact or pixels == np.float32 else np.float64
