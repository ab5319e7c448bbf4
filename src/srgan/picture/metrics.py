"""Scores of a super-resolved picture against the true one: pure, float64, one number per picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float64]

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""SSIM's constants, K1 = 0.01 and K2 = 0.03 at peak 255."""


def shave(picture: NDArray[Any], pixels: int = 4) -> NDArray[Any]:
    """The picture (H, W[, C]) without `pixels` at each side; a view."""
    height, width = picture.shape[:2]
    return picture[pixels : height - pixels, pixels : width - pixels]


def psnr(sr: NDArray[Any], hr: NDArray[Any], peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB of two arrays of one shape; infinite where they are equal."""
    _check(sr, hr, smallest=1)
    error = np.mean((sr.astype(np.float64) - hr) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim_wang(sr_y: NDArray[Any], hr_y: NDArray[Any]) -> float:
    """SSIM of two Y (H, W) in 0..255 (Wang et al. 2004): 11x11 Gaussian, sigma 1.5, whole windows only."""
    _check(sr_y, hr_y, smallest=11)
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel /= kernel.sum()
    means = (filtered(moment, kernel, kernel) for moment in _moments(sr_y, hr_y))
    return float(_similarity(*means).mean())


def ssim_daala(sr_y: NDArray[Any], hr_y: NDArray[Any]) -> float:
    """SSIM of two Y (H, W) in 0..255 as the SRGAN paper measured it: Xiph daala's `dump_ssim`.

    The window grows with the picture (sigma = 1.5 at 256 rows) and its weights are multiples of 1/256; at the
    border it is cut, re-weighted by the mass left inside, and counts by that mass.
    """
    _check(sr_y, hr_y, smallest=1)
    height, width = sr_y.shape
    sigma = height * 1.5 / 256
    rows, columns = daala_kernel(sigma, height), daala_kernel(sigma, width)

    around = (rows.size // 2,) * 2, (columns.size // 2,) * 2
    mass = filtered(np.pad(np.ones((height, 1)), (around[0], (0, 0))), rows, np.ones(1)) * filtered(
        np.pad(np.ones((1, width)), ((0, 0), around[1])), np.ones(1), columns
    )
    means = (filtered(np.pad(moment, around), rows, columns) / mass for moment in _moments(sr_y, hr_y))
    similarity = _similarity(*means)
    return float((similarity * mass).sum() / mass.sum())


def daala_kernel(sigma: float, limit: int) -> Map:
    """Daala's window along one axis: integers that sum to 256, reaching less than `limit` to either side.

    It ends where the Gaussian falls under half a unit; the centre takes what rounding leaves over.
    """
    first_lost = math.sqrt(math.pi / 2) * sigma / 256
    reach = math.floor(sigma * math.sqrt(-2 * math.log(first_lost))) if first_lost < 1 else 0
    offsets = np.arange(1, min(reach, limit - 1) + 1)
    side = np.floor(256 / (math.sqrt(2 * math.pi) * sigma) * np.exp(-0.5 * (offsets / sigma) ** 2) + 0.5)
    return np.concatenate([side[::-1], [256 - 2 * side.sum()], side])


def filtered(picture: Map, rows: Map, columns: Map) -> Map:
    """Weighted sums (H - r + 1, W - c + 1) of (H, W) under a separable window of r rows and c columns."""
    height, width = picture.shape[0] - rows.size + 1, picture.shape[1] - columns.size + 1
    down = np.zeros((height, picture.shape[1]))
    for offset, weight in enumerate(rows):
        down += weight * picture[offset : offset + height]
    across = np.zeros((height, width))
    for offset, weight in enumerate(columns):
        across += weight * down[:, offset : offset + width]
    return across


def _moments(a: NDArray[Any], b: NDArray[Any]) -> tuple[Map, Map, Map, Map]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a, b, a * a + b * b, a * b


def _similarity(mean_a: Map, mean_b: Map, mean_squares: Map, mean_product: Map) -> Map:
    """SSIM of each window, from its means of a, b, a^2 + b^2 and ab."""
    product, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    luminance = (2 * product + C1) / (squares + C1)
    return np.asarray(luminance * (2 * (mean_product - product) + C2) / (mean_squares - squares + C2))


def _check(a: NDArray[Any], b: NDArray[Any], smallest: int) -> None:
    if a.shape != b.shape or min(a.shape[:2]) < smallest:
        wanted = f"equal shapes of at least {smallest} x {smallest}"
        raise ValueError(f"cannot compare {a.shape} with {b.shape}; wanted {wanted}")
