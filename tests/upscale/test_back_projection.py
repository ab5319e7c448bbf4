from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan import Upscaler
from srgan.image.alpha import local_range
from srgan.image.resize import bicubic
from srgan.image.source import ImageBytes
from srgan.upscale.back_projection import REACH, back_project
from srgan.upscale.tiled import ArrayRegions, write_to_array
from tests.support import decoded, encoded, photo


def images(seed: int, channels: int = 3, side: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """sr_signed (1, C, 4h, 4w), not clamped, and an lr_unit that it does not belong to."""
    rng = np.random.default_rng(seed)
    sr = rng.normal(0, 0.5, (1, channels, 4 * side, 4 * side)).astype(np.float32)
    return sr, rng.random((1, channels, side, side), np.float32)


def difference(sr_signed: np.ndarray, lr_unit: np.ndarray) -> np.ndarray:
    """What the output lacks, made smaller, (C, h, w)."""
    reduced = [bicubic(plane, *lr_unit.shape[2:]) for plane in sr_signed[0].clip(-1, 1)]
    return 2 * lr_unit[0] - 1 - np.stack(reduced)


def luma(planes: np.ndarray) -> np.ndarray:
    return np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), planes, 1)


@given(seed=st.integers(0, 99), channels=st.sampled_from([1, 3]))
def test_output_made_smaller_comes_closer_to_an_exact_input(seed, channels):
    sr, lr = images(seed, channels)
    before = np.square(difference(sr, lr)).mean()
    back_project(sr, lr, 1.0)
    assert np.square(difference(sr, lr)).mean() < 0.3 * before


@pytest.mark.parametrize("trust", [0.8, 1.0])
def test_output_that_says_what_the_input_says_stays(trust):
    sr = images(0)[0].clip(-1, 1)
    lr = np.stack([bicubic(plane, 24, 24) for plane in sr[0]])[None] / 2 + 0.5
    expected = sr.copy()
    back_project(sr, lr, trust)
    assert np.allclose(sr, expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_input_decides_smooth_luma_alone(channels):
    sr, lr = images(1, channels)
    before = sr.clip(-1, 1)
    missing = difference(sr, lr)
    back_project(sr, lr, 0.8)
    change = sr - before
    assert np.allclose(change, change[:, :1], atol=1e-6), "colours stay"
    missing = luma(missing) if channels == 3 else missing[0]
    smooth = np.pad(missing, 1, "edge")
    smooth = 0.6 * smooth[1:-1] + 0.2 * (smooth[:-2] + smooth[2:])
    smooth = 0.6 * smooth[:, 1:-1] + 0.2 * (smooth[:, :-2] + smooth[:, 2:])
    expected = bicubic((0.8 * smooth).astype(np.float32), 96, 96)
    low, high = local_range(luma(2 * lr[0] - 1) if channels == 3 else 2 * lr[0, 0] - 1, 4)
    sr_luma = luma(before[0]) if channels == 3 else before[0, 0]
    expected = expected.clip(np.minimum(low - sr_luma, 0), np.maximum(high - sr_luma, 0))
    assert np.allclose(change[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("trust", [0.8, 1.0])
def test_drawn_edge_does_not_ring(trust):
    lr = np.full((1, 3, 24, 24), 0.75, np.float32)
    lr[:, :, 8:16, 8:16] = 0.25
    sr = 2 * lr.repeat(4, axis=2).repeat(4, axis=3) - 1
    back_project(sr, lr, trust)
    assert np.abs(sr).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("trust", [0.8, 1.0])
def test_a_part_with_its_surroundings_gives_the_same_bits(trust):
    sr, lr = images(2)
    part = sr[:, :, 4 * 4 : 4 * 20, 4 * 3 : 4 * 19].copy()
    back_project(sr, lr, trust)
    back_project(part, lr[:, :, 4:20, 3:19], trust)
    inner = slice(4 * REACH, -4 * REACH)
    assert np.array_equal(part[:, :, inner, inner], sr[:, :, 4 * 4 : 4 * 20, 4 * 3 : 4 * 19][:, :, inner, inner])


@pytest.mark.parametrize(("file", "least"), [(photo(48, 64), 0.3), (encoded(photo(48, 64), quality=80), 0.1)])
def test_the_default_is_closer_to_the_input_than_its_networks(file, least):
    upscaler = Upscaler(texture=0.0)
    pixels = decoded(file) if isinstance(file, ImageBytes) else file
    strength = upscaler.strength(ArrayRegions(pixels), file if isinstance(file, ImageBytes) else None)
    errors = []
    for trust in (0.0, strength.trust):
        sr = np.empty((192, 256, 3), np.uint8)
        upscaler.upscale_into(ArrayRegions(pixels), write_to_array(sr), strength=replace(strength, trust=trust))
        errors.append(np.square(luma((bicubic(sr.astype(np.float32), 48, 64) - pixels).transpose(2, 0, 1))).mean())
    assert errors[1] < (1 - least) * errors[0]
