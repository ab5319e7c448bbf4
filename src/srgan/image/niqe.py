"""NIQE: how natural an image looks, without a reference; lower is better (Mittal et al. 2013)."""

from __future__ import annotations

import functools
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.image.resize import bicubic

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
        raise DataError(f"{path} is not NIQE's model ({error}); get it by: srgan data fetch niqe") from error
    if mean.shape != (36,) or covariance.shape != (36, 36):
        shapes = f"arrays {mean.shape} and {covariance.shape}"
        raise DataError(f"{path} holds {shapes}, NIQE's model is (36,) and (36, 36); srgan data fetch niqe")
    return NiqeModel(mean=mean.astype(np.float64), covariance=covariance.astype(np.float64))


def niqe(y: NDArray[Any], model: NiqeModel) -> float:
    """NIQE of Y (H, W) in 0..255, rounded to integers here, over its whole 96x96 blocks (two at the least).

    A block without texture has no spread to measure; as in the reference, it counts in the mean alone.
    """
    down, across = y.shape[0] // BLOCK, y.shape[1] // BLOCK
    if down * across < 2:
        raise ValueError(f"NIQE needs two blocks of {BLOCK} x {BLOCK}, the image is {y.shape}")
    full = np.rint(y[: down * BLOCK, : across * BLOCK].astype(np.float64))
    half = _half(full)
    with np.errstate(invalid="ignore", divide="ignore"):
        features = np.hstack([_features(_blocks(_normalised(scale), down, across)) for scale in (full, half)])
    textured = features[~np.isnan(features).any(axis=1)]
    if len(textured) < 2:
        return math.nan
    difference = model.mean - np.nanmean(features, axis=0)
    spread = np.linalg.pinv((model.covariance + np.cov(textured, rowvar=False)) / 2)
    return float(np.sqrt(difference @ spread @ difference))


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
