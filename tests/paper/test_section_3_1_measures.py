"""Section 3.1: x4, scored on the y-channel with 4 pixels removed from each border; tables 1 and 2."""

import numpy as np
import pytest

from srgan.evaluate.table import PAPER
from srgan.image.metrics import score
from srgan.model.config import GeneratorConfig


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    hr = rng.integers(40, 200, (40, 48, 3), dtype=np.uint8)
    return (hr + rng.integers(0, 9, hr.shape)).astype(np.uint8), hr


def test_four_times_is_sixteen_times_the_pixels():
    assert GeneratorConfig().scale == 4


def test_a_strip_of_exactly_four_pixels_does_not_count(pair):
    sr, hr = pair
    framed = np.zeros_like(sr)
    framed[4:-4, 4:-4] = sr[4:-4, 4:-4]
    assert score(framed, hr) == score(sr, hr)
    framed[4, 20] = 0
    assert score(framed, hr).psnr_y < score(sr, hr).psnr_y


def test_only_the_y_channel_counts(pair):
    """A red that is 2 too high and a green 1 too low leave Y almost alone (65.481 * 2 against 128.553)."""
    _, hr = pair
    tinted = hr + np.array([2, -1, 0])
    found = score(tinted.astype(np.uint8), hr)
    assert found.psnr_y > 75
    assert found.psnr_rgb < 47


def test_tables_1_and_2():
    """(PSNR, SSIM) of SRResNet and SRGAN-VGG54 on Set5, Set14, BSD100, typed from the paper a second time."""
    table = {
        name: [tuple(PAPER[name][method].values()) for method in ("srresnet", "srgan", "bicubic", "nearest")]
        for name in PAPER
    }
    assert table == {
        "Set5": [(32.05, 0.9019), (29.40, 0.8472), (28.43, 0.8211), (26.26, 0.7552)],
        "Set14": [(28.49, 0.8184), (26.02, 0.7397), (25.99, 0.7486), (24.64, 0.7100)],
        "BSD100": [(27.58, 0.7620), (25.16, 0.6688), (25.94, 0.6935), (25.02, 0.6606)],
    }
    assert PAPER["Set14"]["srgan_mse"] == {"psnr_y": 26.92, "ssim_daala": 0.7611}
    assert PAPER["Set14"]["srgan_vgg22"] == {"psnr_y": 26.44, "ssim_daala": 0.7518}
