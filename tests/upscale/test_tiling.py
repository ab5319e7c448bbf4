"""Tiled equals whole, because a tile sees what the network sees: no less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.image.tiles import Grid, whole
from srgan.model.config import GeneratorConfig, ReceptiveField, receptive_field
from srgan.model.weights import Weights, random
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tiling import ensemble_pieces, pieces


@pytest.fixture(scope="module")
def engine(small: Weights) -> OpenVinoEngine:
    return OpenVinoEngine(small)


@pytest.mark.parametrize("blocks", [1, 16])
def test_one_pixel_reaches_as_far_as_the_layers_say(blocks: int) -> None:
    """Perturbing a pixel changes the output up to `reach` pixels away, and nothing beyond."""
    config = GeneratorConfig(blocks=blocks, width=4)
    engine, seen = OpenVinoEngine(random(config)), receptive_field(config)
    assert seen.total == {1: 10, 16: 40}[blocks]
    side = 2 * seen.total + 5
    middle = side // 2
    lr_unit = np.full((1, 3, side, side), 0.5, np.float32)
    changed = lr_unit.copy()
    changed[:, :, middle, middle] += 100  # far beyond a picture's range, so that faint paths show
    different = (engine.run(lr_unit) != engine.run(changed)).any(axis=(0, 1))
    rows = np.flatnonzero(different.any(axis=1)) // 4
    columns = np.flatnonzero(different.any(axis=0)) // 4
    for found in (rows, columns):
        assert found.min() >= middle - seen.total
        assert found.max() <= middle + seen.total
        assert found.min() <= middle - seen.total + 1 and found.max() >= middle + seen.total - 1  # it is not loose


@settings(max_examples=12)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(100, 900),
    st.booleans(),
)
def test_tiled_is_whole(
    engine: OpenVinoEngine, height: int, width: int, rows: int, columns: int, tail_pixels: int, ensemble: bool
) -> None:
    lr_unit = np.random.default_rng(height * width).random((1, 3, height, width), np.float32)
    bounds, halo = whole(height, width), receptive_field(engine.config)
    run = ensemble_pieces if ensemble else pieces
    ((_, expected),) = run(engine, lr_unit, bounds, halo, bounds.pixels)
    found = np.full_like(expected, np.nan)
    for core in Grid(min(rows, height), min(columns, width)).tiles(bounds):
        window = core.padded(halo.total, bounds)
        y, x = window.slices()
        for part, sr in run(engine, lr_unit[:, :, y, x], core.relative_to(window), halo, tail_pixels):
            y2, x2 = part.absolute_in(window).scaled(4).slices()
            found[:, :, y2, x2] = sr
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_a_halo_one_pixel_short_shows(engine: OpenVinoEngine) -> None:
    """The test above can fail: with less halo the seam is there."""
    lr_unit = np.random.default_rng(0).random((1, 3, 40, 40), np.float32)
    bounds, true = whole(40, 40), receptive_field(engine.config)
    short = ReceptiveField(total=true.total - 1, body=true.body - 1, tail=true.tail)
    expected = engine.run(lr_unit)
    core = next(Grid(1, 2).tiles(bounds))
    window = core.padded(short.total, bounds)
    y, x = window.slices()
    ((part, sr),) = pieces(engine, lr_unit[:, :, y, x], core.relative_to(window), short, bounds.pixels)
    y, x = part.scaled(4).slices()
    assert np.abs(sr - expected[:, :, y, x]).max() > 1e-4


def test_the_ensemble_is_the_mean_over_flips_and_rotations(engine: OpenVinoEngine) -> None:
    lr_unit = np.random.default_rng(1).random((1, 3, 12, 19), np.float32)
    expected = np.zeros((1, 3, 48, 76), np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(lr_unit[..., ::-1] if mirrored else lr_unit, turns, (2, 3))
            back = np.rot90(engine.run(np.ascontiguousarray(turned)), -turns, (2, 3))
            expected += (back[..., ::-1] if mirrored else back) / 8
    ((_, found),) = ensemble_pieces(engine, lr_unit, whole(12, 19), receptive_field(engine.config), 10_000)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_margin_comes_with_each_part(engine: OpenVinoEngine) -> None:
    lr_unit = np.random.default_rng(1).random((1, 3, 30, 30), np.float32)
    expected, bounds = engine.run(lr_unit), whole(30, 30)
    for part, sr in pieces(engine, lr_unit, bounds, receptive_field(engine.config), 200, margin=2):
        y, x = part.padded(2, bounds).scaled(4).slices()
        np.testing.assert_allclose(sr, expected[:, :, y, x], rtol=0, atol=1e-5)
