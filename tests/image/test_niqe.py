"""NIQE: the reference's answers, a plain implementation, flat areas, bad model files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter
from scipy.special import gamma

from srgan.errors import DataError
from srgan.image.files import read_array
from srgan.image.metrics import shave, y_from_image
from srgan.image.niqe import NiqeModel, niqe, read_niqe_model
from srgan.image.resize import bicubic

SYNTHETIC = NiqeModel(mean=np.linspace(0, 1, 36), covariance=np.eye(36) + 0.1)


@pytest.fixture
def model(data: Path) -> NiqeModel:
    return read_niqe_model(data / "niqe" / "niqe_pris_params.npz")


def texture(height: int = 200, width: int = 300) -> NDArray[np.float64]:
    noise = np.random.default_rng(0).normal(0, 200, (height, width))
    return (128 + gaussian_filter(noise, 1.5)).clip(0, 255)


def y_of(data: Path, number: int) -> NDArray[np.float64]:
    image = read_array(data / "Set14" / "image_SRF_4" / f"img_{number:03d}_SRF_4_HR.png")
    return np.asarray(shave(y_from_image(image)))


def test_zebra_as_the_reference(data: Path, model: NiqeModel) -> None:
    assert niqe(y_of(data, 14), model) == pytest.approx(3.2686, abs=5e-5)


def test_bicubic_is_worse(data: Path, model: NiqeModel) -> None:
    whole = y_of(data, 14)
    height, width = whole.shape
    small = bicubic(whole, height // 4, width // 4)
    assert niqe(bicubic(small, height, width), model) > niqe(whole, model) + 2


def plain_fit(values: NDArray[np.float64]) -> tuple[float, float, float]:
    shapes = np.arange(0.2, 10.0005, 0.001)
    table = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    left = math.sqrt((values[values < 0] ** 2).mean())
    right = math.sqrt((values[values > 0] ** 2).mean())
    g = left / right
    ratio = np.abs(values).mean() ** 2 / (values**2).mean() * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    shape = shapes[np.abs(table - ratio).argmin()]
    stretch = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * stretch, right * stretch


def plain_niqe(y: NDArray[np.float64], model: NiqeModel) -> float:
    """NIQE block by block, with scipy's two-dimensional filter and Gamma function."""
    line = np.exp(-((np.arange(7) - 3) ** 2) / (2 * (7 / 6) ** 2))
    window = np.outer(line, line) / line.sum() ** 2
    down, across = y.shape[0] // 96, y.shape[1] // 96
    full = np.rint(y[: down * 96, : across * 96])
    mirrored = np.pad(full, 8, mode="symmetric")
    half = bicubic(mirrored, mirrored.shape[0] // 2, mirrored.shape[1] // 2)[4:-4, 4:-4]
    rows = []
    for row in range(down):
        for column in range(across):
            features: list[float] = []
            for image, side in ((full, 96), (half, 48)):
                mean = convolve(image, window, mode="nearest")
                variance = convolve(image**2, window, mode="nearest") - mean**2
                block = ((image - mean) / (np.sqrt(np.abs(variance)) + 1))[
                    row * side : (row + 1) * side, column * side : (column + 1) * side
                ]
                shape, left, right = plain_fit(block)
                features += [shape, (left + right) / 2]
                for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    shape, left, right = plain_fit(block * np.roll(block, shift, axis=(0, 1)))
                    features += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
            rows.append(features)
    difference = np.mean(rows, axis=0) - model.mean
    return math.sqrt(difference @ np.linalg.inv((np.cov(rows, rowvar=False) + model.covariance) / 2) @ difference)


def test_plain_implementation() -> None:
    assert niqe(texture(), SYNTHETIC) == pytest.approx(plain_niqe(texture(), SYNTHETIC), rel=1e-6)


def test_whole_blocks_and_numbers() -> None:
    y = texture()
    assert niqe(y[:192, :288], SYNTHETIC) == niqe(y, SYNTHETIC) == niqe(np.rint(y), SYNTHETIC)


def test_flat_blocks() -> None:
    y = texture(192, 288)
    y[:96, :96] = 255
    assert math.isfinite(niqe(y, SYNTHETIC))


def test_rounding_noise() -> None:
    y = (texture(192, 288) / 2).round()
    y[20:60, 20:260] = 101
    y[120:170, 30:80] = 37
    assert niqe(y + 90, SYNTHETIC) == pytest.approx(niqe(y, SYNTHETIC), rel=1e-9)


def test_no_texture_no_score() -> None:
    assert math.isnan(niqe(np.full((192, 192), 80.0), SYNTHETIC))


def test_two_blocks_at_least() -> None:
    with pytest.raises(ValueError, match="two blocks"):
        niqe(texture(191, 191), SYNTHETIC)
    assert math.isfinite(niqe(texture(96, 192), SYNTHETIC))


def test_bad_model_file(tmp_path: Path) -> None:
    text, other, shapes, single = (tmp_path / name for name in ("a.npz", "b.npz", "c.npz", "d.npy"))
    text.write_text("not a model")
    np.savez(other, something=np.zeros(3))
    np.savez(shapes, mu_pris_param=np.zeros(12), cov_pris_param=np.eye(12))
    np.save(single, np.zeros(3))
    (tmp_path / "empty.npz").touch()
    for path in (text, other, shapes, single, tmp_path / "empty.npz", tmp_path / "missing.npz"):
        with pytest.raises(DataError, match=rf"{path.name}.*srgan data fetch niqe"):
            read_niqe_model(path)
