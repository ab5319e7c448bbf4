"""Scores of an SR image: PSNR and SSIM against the HR image, NIQE without one; pure functions in float64."""

from __future__ import annotations

import functools
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.fs import first_line
from srgan.image.resize import bicubic

Image = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""SSIM's constants, K1 = 0.01 and K2 = 0.03 at peak 255."""
SCALE = 4
SHAVED = 4
SMALLEST = 11 + 2 * SHAVED
"""The least height and width in which an SSIM window fits."""
SMALLEST_HR = -(-SMALLEST // SCALE) * SCALE
"""The least height and width of an HR, which is cropped to multiples of 4."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one image, or the means of several."""

    psnr_y: float
    """dB on Y; infinite for an equal image."""
    psnr_rgb: float
    """dB over the three channels together."""
    ssim_wang: float
    ssim_daala: float
    niqe: float | None
    """None without NIQE's model, or for an image under two blocks of 96 x 96 or without texture."""


def score(sr: Image, hr: Image, *, niqe_model: NiqeModel | None = None) -> Scores:
    """The scores of an SR image against the HR image of the same height and width (protocol, 2).

    Where one is grey and the other RGB, `sr` is converted: to the rounded mean of its channels, or to its grey
    three times.
    """
    sr = _match_channels(hr, sr)
    sr, hr = shave(sr, SHAVED), shave(hr, SHAVED)
    sr_y, hr_y = y_from_image(sr), y_from_image(hr)
    return Scores(
        psnr_y=psnr(sr_y, hr_y),
        psnr_rgb=psnr(sr, hr),
        ssim_wang=ssim_wang(sr_y, hr_y),
        ssim_daala=ssim_daala(sr_y, hr_y),
        niqe=None if niqe_model is None else niqe(sr_y, niqe_model),
    )


def mean_scores(scores: Iterable[Scores]) -> Scores:
    """The mean of each score over images; NIQE's is None where an image has none."""
    rows = list(scores)
    if not rows:
        raise ValueError("no images were scored, so there is no mean")
    niqes = [row.niqe for row in rows if row.niqe is not None]
    return Scores(
        psnr_y=float(np.mean([row.psnr_y for row in rows])),
        psnr_rgb=float(np.mean([row.psnr_rgb for row in rows])),
        ssim_wang=float(np.mean([row.ssim_wang for row in rows])),
        ssim_daala=float(np.mean([row.ssim_daala for row in rows])),
        niqe=float(np.mean(niqes)) if len(niqes) == len(rows) else None,
    )


def bicubic_x4(lr: Image) -> Image:
    """The bicubic row of the tables: MATLAB's bicubic at x4."""
    return bicubic(lr, lr.shape[0] * SCALE, lr.shape[1] * SCALE)


def y_from_rgb(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Luma Y (H, W) in 16..235, not rounded, of RGB (H, W, 3) in 0..255: ITU-R BT.601, studio range."""
    red, green, blue = (rgb[..., channel].astype(np.float64) for channel in range(3))
    return np.asarray(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255)


def y_from_image(image: NDArray[Any]) -> NDArray[np.float64]:
    """Y (H, W) of an image in 0..255: of (H, W, 3) its luma; a grey (H, W) is its own Y, unscaled."""
    return image.astype(np.float64) if image.ndim == 2 else y_from_rgb(image)


def shave(image: NDArray[Any], pixels: int = SHAVED) -> NDArray[Any]:
    """The image (H, W[, C]) without `pixels` at each side; a view."""
    height, width = image.shape[:2]
    return image[pixels : height - pixels, pixels : width - pixels]


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

    The window grows with the image (sigma = 1.5 at 256 rows) and its weights are multiples of 1/256; at the
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
        expected = f"equal shapes of at least {smallest} x {smallest}"
        raise ValueError(f"cannot compare {a.shape} with {b.shape}; expected {expected}")


def _match_channels(hr: Image, sr: Image) -> Image:
    if sr.ndim == hr.ndim:
        return sr
    if hr.ndim == 2:
        return np.asarray(np.floor(sr.mean(axis=2) + 0.5), np.uint8)
    return np.repeat(sr[..., None], 3, axis=2)


Map = NDArray[np.float64]

BLOCK = 96
"""Side of the blocks whose statistics are compared, in pixels of the full-size image."""

NEIGHBOURS = (0, 1), (1, 0), (1, 1), (1, -1)
"""Offsets of the neighbours whose products count: horizontal, vertical and both diagonals."""


@dataclass(frozen=True, kw_only=True)
class NiqeModel:
    """The statistics of natural images: mean (36,) and covariance (36, 36) of a block's features."""

    mean: Map
    covariance: Map


def filtered(image: Map, rows: Map, columns: Map) -> Map:
    """Weighted sums (H - r + 1, W - c + 1) of (H, W) under a separable window of r rows and c columns."""
    height, width = image.shape[0] - rows.size + 1, image.shape[1] - columns.size + 1
    down = np.zeros((height, image.shape[1]))
    for offset, weight in enumerate(rows):
        down += weight * image[offset : offset + height]
    across = np.zeros((height, width))
    for offset, weight in enumerate(columns):
        across += weight * down[:, offset : offset + width]
    return across


def read_niqe_model(path: Path) -> NiqeModel:
    """The pristine model from an .npz file with `mu_pris_param` and `cov_pris_param`."""
    try:
        with np.load(path) as file:
            mean, covariance = file["mu_pris_param"].reshape(-1), file["cov_pris_param"]
    except (OSError, EOFError, TypeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{path} is not NIQE's model ({first_line(error)}); get it by: srgan data fetch niqe"
        ) from error
    if mean.shape != (36,) or covariance.shape != (36, 36):
        shapes = f"arrays {mean.shape} and {covariance.shape}"
        raise DataError(f"{path} holds {shapes}, NIQE's model is (36,) and (36, 36); srgan data fetch niqe")
    return NiqeModel(mean=mean.astype(np.float64), covariance=covariance.astype(np.float64))


def niqe(y: NDArray[Any], model: NiqeModel) -> float | None:
    """NIQE of Y (H, W) in 0..255, rounded to integers here, over its whole 96x96 blocks; None for fewer than two, or without texture.

    A block without texture has no spread to measure; as in the reference, it counts in the mean alone.
    """
    down, across = y.shape[0] // BLOCK, y.shape[1] // BLOCK
    if down * across < 2:
        return None
    full = np.rint(y[: down * BLOCK, : across * BLOCK].astype(np.float64))
    half = _half(full)
    with np.errstate(invalid="ignore", divide="ignore"):
        features = np.hstack([_features(_blocks(_normalised(scale), down, across)) for scale in (full, half)])
    textured = features[~np.isnan(features).any(axis=1)]
    if len(textured) < 2:
        return None
    difference = model.mean - np.nanmean(features, axis=0)
    spread = np.linalg.pinv((model.covariance + np.cov(textured, rowvar=False)) / 2)
    value = float(np.sqrt(difference @ spread @ difference))
    return None if math.isnan(value) else value


def _normalised(image: Map) -> Map:
    """Each pixel's distance from its surroundings' mean, in their deviations plus one (Equation 1)."""
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
    kernel /= kernel.sum()
    mean, mean_square = (filtered(np.pad(x, 3, mode="edge"), kernel, kernel) for x in (image, image**2))
    # A flat area must give zeros, which no side of a fit counts, and not the sign of rounding noise.
    return np.asarray((image - mean).round(9) / (np.sqrt(np.abs(mean_square - mean**2)) + 1))


def _half(image: Map) -> Map:
    """The image at half its size, by the bicubic but with the border mirrored, as in the reference."""
    height, width = image.shape
    around = bicubic(np.pad(image, 4, mode="symmetric"), height // 2 + 4, width // 2 + 4)
    return around[2:-2, 2:-2]


def _blocks(image: Map, down: int, across: int) -> Map:
    """(H, W) cut into (down * across, H / down, W / across)."""
    height, width = image.shape[0] // down, image.shape[1] // across
    return image.reshape(down, height, across, width).swapaxes(1, 2).reshape(-1, height, width)


def _features(blocks: Map) -> Map:
    """18 numbers of each block (N, H, W): the fit of its values, then of their products with neighbours."""
    shape, left, right, _ = _fit(blocks)
    columns = [shape, (left + right) / 2]
    for shift in NEIGHBOURS:
        shape, left, right, mean = _fit(blocks * np.roll(blocks, shift, axis=(1, 2)))
        columns += [shape, mean, left, right]
    return np.stack(columns, axis=1)


def _fit(blocks: Map) -> tuple[Map, Map, Map, Map]:
    """Asymmetric generalised Gaussians fitted to blocks (N, H, W): shape, left and right scale, mean.

    By moments of the block's values, after Lasmar et al. 2009: the shape is looked up in a table of ratios.
    """
    values = blocks.reshape(len(blocks), -1)
    squares = values**2
    left, right = (np.sqrt((squares * side).sum(axis=1) / side.sum(axis=1)) for side in (values < 0, values > 0))
    ratio = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
    skew = left / right
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes, ratios, gammas = _table()
    nearest = np.searchsorted((ratios[1:] + ratios[:-1]) / 2, np.nan_to_num(ratio, nan=0.0))
    one, two, three = gammas[:, nearest]
    left, right = left * np.sqrt(one / three), right * np.sqrt(one / three)
    return shapes[nearest], left, right, (right - left) * two / one


@functools.cache
def _table() -> tuple[Map, Map, Map]:
    """Shapes a from 0.2 to 10, their ratios G(2/a)^2 / (G(1/a) G(3/a)), and G(1/a), G(2/a), G(3/a)."""
    shapes = np.linspace(0.2, 10, 9801, dtype=np.float64)
    gammas: Map = np.array([[math.gamma(times / shape) for shape in shapes] for times in (1, 2, 3)])
    return shapes, gammas[1] ** 2 / (gammas[0] * gammas[2]), gammas
