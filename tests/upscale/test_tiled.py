"""Tiles give the same pixels as the whole image: the halo is the receptive field, no less."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.model.config import ReceptiveField, receptive_field
from srgan.model.weights import Weights
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tile_plan import Box, Grid, whole
from srgan.upscale.tiled import run_tile, run_tile_ensemble


@pytest.fixture(scope="module")
def engine(small: Weights) -> OpenVinoEngine:
    return OpenVinoEngine(small)


@settings(max_examples=12)
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(100, 900),
    st.sampled_from(["ensemble", 0, 1, 7]),
)
def test_tiles_equal_whole(engine, height, width, rows, columns, tail_pixels, margin):
    """Of an image with `margin` pixels more on each side, which each sub-tile has too."""
    run = run_tile_ensemble if margin == "ensemble" else run_tile
    margin = 0 if margin == "ensemble" else margin
    tail_pixels += 64 * margin
    bounds, halo = whole(height + 2 * margin, width + 2 * margin), receptive_field(engine.config)
    lr_unit = np.random.default_rng(height * width).random((1, 3, *bounds[2:]), np.float32)
    ((_, expected),) = run(engine, lr_unit, bounds, halo, bounds.pixels)
    computed = np.zeros(expected.shape[2:])
    for tile in Grid(min(rows, height), min(columns, width)).tiles(Box(margin, margin, height, width)):
        region = tile.padded(halo.total + margin, bounds)
        y, x = region.slices()
        for subtile, sr in run(engine, lr_unit[:, :, y, x], tile.relative_to(region), halo, tail_pixels, margin):
            subtile = subtile.absolute_in(region)
            computed[subtile.scaled(4).slices()] += 1
            y2, x2 = subtile.grown(margin).scaled(4).slices()
            np.testing.assert_allclose(sr, expected[:, :, y2, x2], rtol=0, atol=2e-6 * np.abs(expected).max())
            sr[:] = np.nan  # the caller's own
    edge = 4 * margin
    assert (computed[edge : 4 * height + edge, edge : 4 * width + edge] == 1).all()
    assert computed.sum() == 16 * height * width


def test_short_halo_shows(engine):
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


def test_ensemble_is_mean_of_eight(engine):
    lr_unit = np.random.default_rng(1).random((1, 3, 12, 19), np.float32)
    expected = np.zeros((1, 3, 48, 76), np.float32)
    for turns in range(4):
        for mirrored in (False, True):
            turned = np.rot90(lr_unit[..., ::-1] if mirrored else lr_unit, turns, (2, 3))
            back = np.rot90(engine.run(np.ascontiguousarray(turned)), -turns, (2, 3))
            expected += (back[..., ::-1] if mirrored else back) / 8
    ((_, output),) = run_tile_ensemble(engine, lr_unit, whole(12, 19), receptive_field(engine.config), 10_000)
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)
