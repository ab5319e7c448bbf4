"""Scores: control rows of the paper, known answers, symmetries, scikit-image, another daala, misuse."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.ndimage import convolve, correlate1d, gaussian_filter
from scipy.special import gamma
from skimage.metrics import structural_similarity

from srgan.errors import DataError
from srgan.image.files import read_array
from srgan.image.metrics import (
    NiqeModel,
    daala_kernel,
    niqe,
    psnr,
    read_niqe_model,
    shave,
    ssim_daala,
    ssim_wang,
    y_from_image,
    y_from_rgb,
)
from srgan.image.resize import bicubic

CONTROL = json.loads(Path(__file__).with_name("control.json").read_text())["sets"]
METRICS = (psnr, ssim_wang, ssim_daala)

ROWS = [
    pytest.param(name, method, marks=pytest.mark.slow if (name, method) == ("BSD100", "nearest") else ())
    for name in CONTROL
    for method in CONTROL[name]
]

pairs = st.tuples(st.integers(11, 30), st.integers(11, 30)).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape))
)


def upscaled(lr: NDArray[np.uint8], method: str) -> NDArray[np.uint8]:
    return bicubic(lr, lr.shape[0] * 4, lr.shape[1] * 4) if method == "bicubic" else lr.repeat(4, 0).repeat(4, 1)


@pytest.mark.parametrize(("name", "method"), ROWS)
def test_control_rows(data, name, method):
    scores = {}
    for image in CONTROL[name][method]["pictures"]:
        stem = data / name / "image_SRF_4" / f"{image}_SRF_4_"
        hr, lr = read_array(f"{stem}HR.png"), read_array(f"{stem}LR.png")
        sr_y, hr_y = (shave(y_from_image(x)) for x in (upscaled(lr, method), hr))
        scores[image] = [metric(sr_y, hr_y) for metric in METRICS]
    for image, wanted in CONTROL[name][method]["pictures"].items():
        np.testing.assert_array_less(np.abs(np.subtract(scores[image], wanted)), [5e-4, 1e-4, 1e-4], image)
    mean = np.mean(list(scores.values()), axis=0)
    np.testing.assert_array_less(np.abs(mean - CONTROL[name][method]["mean"]), [5e-4, 1e-4, 1e-4])


@given(pairs)
def test_symmetry_and_bounds(pair):
    a, b = pair
    for metric in METRICS:
        assert metric(a, b) == pytest.approx(metric(b, a), rel=1e-12)
    assert ssim_wang(a, b) <= 1 + 1e-12 and ssim_daala(a, b) <= 1 + 1e-12


@given(pairs)
def test_equal_images(pair):
    a, _ = pair
    assert psnr(a, a) == math.inf
    assert ssim_wang(a, a) == pytest.approx(1, abs=1e-12)
    assert ssim_daala(a, a) == pytest.approx(1, abs=1e-12)


@given(st.integers(0, 100), st.integers(1, 100))
def test_psnr_of_a_constant_error(level, error):
    a = np.full((5, 7), level, np.uint8)
    b = np.full((5, 7), level + error, np.uint8)
    assert psnr(a, b) == pytest.approx(20 * math.log10(255 / error))
    assert psnr(a / 255, b / 255, peak=1.0) == pytest.approx(20 * math.log10(255 / error))


def test_ssim_of_flat_images():
    a, b = np.full((20, 20), 100.0), np.full((20, 20), 120.0)
    wanted = (2 * 100 * 120 + 6.5025) / (100**2 + 120**2 + 6.5025)
    assert ssim_wang(a, b) == pytest.approx(wanted)
    assert ssim_daala(a, b) == pytest.approx(wanted)


@settings(max_examples=30)
@given(pairs)
def test_wang_against_scikit_image(pair):
    a, b = (x.astype(np.float64) for x in pair)
    other = structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    assert ssim_wang(a, b) == pytest.approx(other, abs=1e-10)


def daala_by_scipy(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Daala's SSIM with another filter and unnormalised windows, as the C program has it."""
    sigma = a.shape[0] * 1.5 / 256

    def sums(x: NDArray[Any]) -> NDArray[Any]:
        for axis in (0, 1):
            x = correlate1d(x, daala_kernel(sigma, a.shape[axis]), axis=axis, mode="constant")
        return x

    w, x, y, xx, yy, xy = (sums(m) for m in (np.ones_like(a), a, b, a * a, b * b, a * b))
    c1, c2 = 6.5025 * w * w, 58.5225 * w * w
    upper = (2 * x * y + c1) * (2 * (w * xy - x * y) + c2)
    lower = (x * x + y * y + c1) * (w * (xx + yy) - x * x - y * y + c2)
    return float((w * upper / lower).sum() / w.sum())


@pytest.mark.parametrize("shape", [(40, 60), (256, 30), (340, 12), (3, 9), (1, 1), (700, 8)])
def test_daala_against_another_implementation(shape):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, shape).astype(np.float64)
    b = (a + rng.normal(0, 30, shape)).clip(0, 255)
    assert ssim_daala(a, b) == pytest.approx(daala_by_scipy(a, b), abs=1e-9)


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_daala_windows(height, limit):
    kernel = daala_kernel(height * 1.5 / 256, limit)
    assert kernel.sum() == 256
    assert kernel.size % 2 == 1 and kernel.size // 2 < limit
    assert np.array_equal(kernel, kernel[::-1]) and (kernel >= 0).all()


def test_daala_window_by_hand():
    # 256 / (sqrt(2 pi) 1.5) = 68.085; exp(-k^2 / 4.5) = .8007 .4111 .1353 .0286 .0039; reach floor(4.74) = 4
    assert daala_kernel(1.5, 256).tolist() == [2, 9, 28, 55, 68, 55, 28, 9, 2]


def test_misuse():
    a = np.zeros((12, 12))
    with pytest.raises(ValueError, match=r"\(12, 12\) with \(12, 13\)"):
        psnr(a, np.zeros((12, 13)))
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim_wang(a[:10], a[:10])


@pytest.mark.parametrize(
    ("rgb", "y"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((1, 0, 0), 16 + 65.481 / 255),
    ],
)
def test_y_of_known_colours(rgb, y):
    result = y_from_rgb(np.full((2, 3, 3), rgb, np.uint8))
    assert result.shape == (2, 3) and result.dtype == np.float64
    np.testing.assert_allclose(result, y, rtol=0, atol=1e-12)


def test_y_of_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(y_from_image(grey), grey.astype(np.float64))
    scaled = y_from_image(np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_allclose(scaled, 16 + grey * (219 / 255))


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


def test_zebra_as_the_reference(data, model):
    assert niqe(y_of(data, 14), model) == pytest.approx(3.2686, abs=5e-5)


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


def test_plain_implementation():
    assert niqe(texture(), SYNTHETIC) == pytest.approx(plain_niqe(texture(), SYNTHETIC), rel=1e-6)


def test_whole_blocks_and_numbers():
    y = texture()
    assert niqe(y[:192, :288], SYNTHETIC) == niqe(y, SYNTHETIC) == niqe(np.rint(y), SYNTHETIC)


def test_flat_blocks():
    y = texture(192, 288)
    y[:96, :96] = 255
    assert math.isfinite(niqe(y, SYNTHETIC))


def test_rounding_noise():
    y = (texture(192, 288) / 2).round()
    y[20:60, 20:260] = 101
    y[120:170, 30:80] = 37
    assert niqe(y + 90, SYNTHETIC) == pytest.approx(niqe(y, SYNTHETIC), rel=1e-9)


def test_without_texture_or_two_blocks_no_score():
    assert niqe(np.full((192, 192), 80.0), SYNTHETIC) is None
    assert niqe(texture(191, 191), SYNTHETIC) is None
    assert niqe(texture(96, 192), SYNTHETIC) is not None


def test_bad_model_file(tmp_path):
    text, other, shapes, single = (tmp_path / name for name in ("a.npz", "b.npz", "c.npz", "d.npy"))
    text.write_text("not a model")
    np.savez(other, something=np.zeros(3))
    np.savez(shapes, mu_pris_param=np.zeros(12), cov_pris_param=np.eye(12))
    np.save(single, np.zeros(3))
    (tmp_path / "empty.npz").touch()
    for path in (text, other, shapes, single, tmp_path / "empty.npz", tmp_path / "missing.npz"):
        with pytest.raises(DataError, match=rf"{path.name}.*srgan data fetch niqe"):
            read_niqe_model(path)
