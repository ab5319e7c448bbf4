"""Tiles give the same pixels as the whole image: the halo is the receptive field, no less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.model.config import GeneratorConfig, ReceptiveField, receptive_field
from srgan.model.weights import Weights
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tile_plan import Grid, whole
from srgan.upscale.tiled import run_tile, run_tile_ensemble
from tests.support import random_weights


@pytest.fixture(scope="module")
def engine(small: Weights) -> OpenVinoEngine:
    return OpenVinoEngine(small)


@pytest.mark.parametrize("blocks", [1, 16])
def test_receptive_field_is_tight(blocks: int) -> None:
    """A changed pixel changes the output up to the receptive field away, and nothing beyond."""
    config = GeneratorConfig(blocks=blocks, width=4)
    engine, field = OpenVinoEngine(random_weights(config)), receptive_field(config)
    assert field.total == {1: 10, 16: 40}[blocks]
    side = 2 * field.total + 5
    middle = side // 2
    lr_unit = np.full((1, 3, side, side), 0.5, np.float32)
    changed = lr_unit.copy()
    changed[:, :, middle, middle] += 100  # far beyond an image's range, so that faint paths show
    different = (engine.run(lr_unit) != engine.run(changed)).any(axis=(0, 1))
    rows = np.flatnonzero(different.any(axis=1)) // 4
    columns = np.flatnonzero(different.any(axis=0)) // 4
    for changed_at in (rows, columns):
        assert middle - field.total <= changed_at.min() <= middle - field.total + 1
        assert middle + field.total - 1 <= changed_at.max() <= middle + field.total


@settings(max_examples=12)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(100, 900),
    st.booleans(),
)
def test_tiles_equal_whole(
    engine: OpenVinoEngine, height: int, width: int, rows: int, columns: int, tail_pixels: int, ensemble: bool
) -> None:
    lr_unit = np.random.default_rng(height * width).random((1, 3, height, width), np.float32)
    bounds, halo = whole(height, width), receptive_field(engine.config)
    run = run_tile_ensemble if ensemble else run_tile
    ((_, expected),) = run(engine, lr_unit, bounds, halo, bounds.pixels)
    output = np.full_like(expected, np.nan)
    for tile in Grid(min(rows, height), min(columns, width)).tiles(bounds):
        region = tile.padded(halo.total, bounds)
        y, x = region.slices()
        for subtile, sr in run(engine, lr_unit[:, :, y, x], tile.relative_to(region), halo, tail_pixels):
            y2, x2 = subtile.absolute_in(region).scaled(4).slices()
            output[:, :, y2, x2] = sr
    np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_short_halo_shows(engine: OpenVinoEngine) -> None:
    """The test above can fail: one pixel less of halo changes the pixels at the seam."""
    lr_unit = np.random.default_rng(0).random((1, 3, 40, 40), np.float32)
    bounds, true = whole(40, 40), receptive_field(engine.config)
    short = ReceptiveField(total=true.total - 1, body=true.body - 1, tail=true.tail)
    expected = engine.run(lr_unit)
    tile = next(Grid(1, 2).tiles(bounds))
    region = tile.padded(short.total, bounds)
    y, x = region.slices()
    ((subtile, sr),) = run_tile(engine, lr_unit[:, :, y, x], tile.relative_to(region), short, bounds.pixels)
    y, x = subtile.scaled(4).slices()
    assert np.abs(sr - expected[:, :, y, x]).max() > 1e-4


def test_ensemble_is_mean_of_eight(engine: OpenVinoEngine) -> None:
    lr_unit = np.random.default_rng(1).random((1, 3, 12, 19), np.float32)
    expected = np.zeros((1, 3, 48, 76), np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(lr_unit[..., ::-1] if mirrored else lr_unit, turns, (2, 3))
            back = np.rot90(engine.run(np.ascontiguousarray(turned)), -turns, (2, 3))
            expected += (back[..., ::-1] if mirrored else back) / 8
    ((_, output),) = run_tile_ensemble(engine, lr_unit, whole(12, 19), receptive_field(engine.config), 10_000)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def test_margin_of_subtiles(engine: OpenVinoEngine) -> None:
    lr_unit = np.random.default_rng(1).random((1, 3, 30, 30), np.float32)
    expected, bounds = engine.run(lr_unit), whole(30, 30)
    for subtile, sr in run_tile(engine, lr_unit, bounds, receptive_field(engine.config), 200, margin=2):
        y, x = subtile.padded(2, bounds).scaled(4).slices()
        np.testing.assert_allclose(sr, expected[:, :, y, x], rtol=0, atol=1e-5)
