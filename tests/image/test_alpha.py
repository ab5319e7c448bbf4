"""bleed_colour fills hidden colours from visible neighbours, and only those."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.image.alpha import REACH, bleed_colour
from srgan.image.resize import bicubic


def test_nothing_hidden_or_all():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    for value in (0, 1, 255):
        assert bleed_colour(pixels, np.full((9, 9), value, np.uint8)) is pixels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_weighted_mean_of_neighbours(dtype):
    pixels = np.zeros((3, 3), dtype)
    alpha = np.zeros((3, 3), dtype)
    pixels[0, 0], alpha[0, 0] = 200, 200
    pixels[2, 2], alpha[2, 2] = 100, 100
    assert bleed_colour(pixels, alpha)[1, 1] == round((200 * 200 + 100 * 100) / 300)
    assert bleed_colour(pixels, alpha)[0, 0] == 200 and bleed_colour(pixels, alpha)[2, 2] == 100


def test_visible_and_far_pixels_stay():
    pixels = np.full((200, 200, 3), 9, np.uint8)
    alpha = np.zeros((200, 200), np.uint8)
    pixels[0, 0], alpha[0, 0] = (250, 1, 30), 128
    result = bleed_colour(pixels, alpha)
    reached = np.zeros((200, 200), bool)
    reached[: REACH + 1, : REACH + 1] = True
    assert (result[reached] == (250, 1, 30)).all() and (result[~reached] == 9).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(0, 119), st.integers(0, 149), st.integers(1, 40), st.integers(1, 40))
def test_region_with_margin_equals_whole(seed, top, left, h, w):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 65536, (120, 150, 3), dtype=np.uint16)
    alpha = random.integers(0, 65536, (120, 150), dtype=np.uint16) * (random.random((120, 150)) < 0.002)
    alpha = alpha.astype(np.uint16)
    bottom, right = min(top + h, 120), min(left + w, 150)
    y, x = max(0, top - REACH), max(0, left - REACH)
    part = bleed_colour(pixels[y : bottom + REACH, x : right + REACH], alpha[y : bottom + REACH, x : right + REACH])
    cut = part[top - y : bottom - y, left - x : right - x]
    np.testing.assert_array_equal(cut, bleed_colour(pixels, alpha)[top:bottom, left:right])


def halo(pixels: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any]) -> float:
    """The greatest error of what is seen over white after enlarging, for a red disc on nothing."""
    size = (4 * alpha.shape[0], 4 * alpha.shape[1])
    large = bicubic(pixels, *size).astype(float)
    cover = bicubic(alpha, *size).astype(float)[..., None] / 255
    seen = large * cover + 255 * (1 - cover)
    wanted = np.array([230, 20, 20]) * cover + 255 * (1 - cover)
    return float(np.abs(seen - wanted).max())


@pytest.mark.parametrize("edge", [0.5, 4.0])
def test_no_halo_around_a_disc(edge):
    y, x = np.mgrid[0:40, 0:40]
    cover = np.clip((12 - np.hypot(y - 20, x - 20)) / edge, 0, 1)
    alpha = np.round(255 * cover).astype(np.uint8)
    pixels = np.where((alpha > 0)[..., None], np.array([230, 20, 20]), 0).astype(np.uint8)  # black where hidden
    assert halo(bleed_colour(pixels, alpha), alpha) < 3
    assert edge > 1 or halo(pixels, alpha) > 30  # what an upscaler without bleeding shows
