"""What each of the field's habits does to the bicubic row of Set14: the table of docs/evaluation.md."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan.data import folders
from srgan.image.files import read_array
from srgan.image.metrics import bicubic_x4, psnr, shave, ssim_daala, ssim_wang, y_from_image, y_from_rgb

Array = NDArray[Any]


@pytest.fixture(scope="module")
def set14(data: Path) -> list[tuple[Array, Array]]:
    """(lr, hr) of each picture."""
    pairs = folders.test_pairs(data, "Set14")
    return [(read_array(pair.lr), read_array(pair.hr)) for pair in pairs if pair.lr]


def colour(picture: Array) -> Array:
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def y_rounded(picture: Array) -> Array:
    return np.rint(y_from_image(picture))


def y_of_grey_as_colour(picture: Array) -> Array:
    return y_from_rgb(colour(picture))


def y_full_range(picture: Array) -> Array:
    return np.asarray(colour(picture) @ np.array([0.299, 0.587, 0.114]))


def by_pillow(hr: Array) -> Array:
    small = Image.fromarray(hr).resize((hr.shape[1] // 4, hr.shape[0] // 4), Image.Resampling.BICUBIC)
    return np.asarray(small)


def without_antialiasing(hr: Array) -> Array:
    """Four taps (a = -0.75, OpenCV's kernel) in the middle of each 4 x 4 block; the rest is ignored."""
    values = hr.astype(np.float64)
    for _ in range(2):
        taps = [values[i::4] for i in range(4)]
        values = ((19 * (taps[1] + taps[2]) - 3 * (taps[0] + taps[3])) / 32).swapaxes(0, 1)
    return np.floor(values + 0.5).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("of", "pixels", "decibels"),
    [
        (y_from_image, 4, 25.9970),
        (y_rounded, 4, 25.9933),
        (y_of_grey_as_colour, 4, 26.0914),
        (y_full_range, 4, 24.7695),
        (colour, 4, 24.4645),
        (y_from_image, 0, 25.7746),
    ],
)
def test_which_channel_and_border(set14, of, pixels, decibels):
    scores = [psnr(shave(of(bicubic_x4(lr)), pixels), shave(of(hr), pixels)) for lr, hr in set14]
    assert np.mean(scores) == pytest.approx(decibels, abs=5e-5)


@pytest.mark.parametrize(("down", "decibels"), [(by_pillow, 25.9990), (without_antialiasing, 25.0523)])
def test_which_low_resolution_picture(set14, down, decibels):
    scores = [psnr(*(shave(y_from_image(x)) for x in (bicubic_x4(down(hr)), hr))) for _, hr in set14]
    assert np.mean(scores) == pytest.approx(decibels, abs=5e-5)


def test_which_mean_and_which_ssim(set14):
    pairs = [(shave(y_from_image(bicubic_x4(lr))), shave(y_from_image(hr))) for lr, hr in set14]
    pooled = np.concatenate([((sr - hr) ** 2).ravel() for sr, hr in pairs]).mean()
    assert 10 * np.log10(255**2 / pooled) == pytest.approx(24.8603, abs=5e-5)
    assert np.mean([ssim_wang(*pair) for pair in pairs]) == pytest.approx(0.7029, abs=5e-5)
    assert np.mean([ssim_daala(*pair) for pair in pairs]) == pytest.approx(0.7486, abs=5e-5)
