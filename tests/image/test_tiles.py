"""Grids cover each pixel once, within the limit, at the least cost; boxes move between coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.image.tiles import Box, Grid, cheapest_grid, whole

sizes = st.integers(1, 400)
counts = st.integers(1, 9)


@given(sizes, sizes, counts, counts)
def test_each_pixel_is_in_one_tile(height: int, width: int, rows: int, columns: int) -> None:
    seen = np.zeros((height, width), int)
    for core in Grid(min(rows, height), min(columns, width)).tiles(whole(height, width)):
        seen[core.slices()] += 1
    assert (seen == 1).all()


@given(st.integers(9, 400), counts)
def test_tiles_are_even(size: int, rows: int) -> None:
    heights = [core.height for core in Grid(rows, 1).tiles(whole(size, 5))]
    assert max(heights) - min(heights) <= 1


@given(sizes, sizes, st.integers(0, 50), st.integers(400, 200_000))
def test_windows_stay_within_the_limit(height: int, width: int, halo: int, limit: int) -> None:
    grid = cheapest_grid(height, width, halo, limit)
    bounds = whole(height, width)
    if grid is not None:
        windows = [core.padded(halo, bounds) for core in grid.tiles(bounds)]
        assert max(window.pixels for window in windows) <= limit
        assert all(core.height >= min(16, height) for core in grid.tiles(bounds))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 8), st.integers(300, 4000))
def test_cheapest_grid(height: int, width: int, halo: int, limit: int) -> None:
    def cost(grid: Grid) -> float:
        bounds = whole(height, width)
        windows = [core.padded(halo, bounds) for core in grid.tiles(bounds)]
        return sum(w.pixels for w in windows) if max(w.pixels for w in windows) <= limit else np.inf

    grids = [Grid(r, c) for r in range(1, max(height // 16, 1) + 1) for c in range(1, max(width // 16, 1) + 1)]
    best = min(np.inf if _tight(grid, height, width, halo, limit) else cost(grid) for grid in grids)
    chosen = cheapest_grid(height, width, halo, limit)
    assert (chosen is None) == (best == np.inf)
    assert chosen is None or cost(chosen) <= best * 1.1


def _tight(grid: Grid, height: int, width: int, halo: int, limit: int) -> bool:
    """The longest row and the longest column, which may not meet in one window, exceed the limit."""
    tallest = min(-(-height // grid.rows) + halo * min(grid.rows - 1, 2), height)
    widest = min(-(-width // grid.columns) + halo * min(grid.columns - 1, 2), width)
    return tallest * widest > limit


def test_halo_is_cut_at_the_border() -> None:
    assert Box(0, 10, 5, 5).padded(3, whole(20, 16)) == Box(0, 7, 8, 9)


def test_image_that_fits_is_one_tile() -> None:
    assert cheapest_grid(100, 200, 40, 20_000) == Grid(1, 1)


def test_no_grid_fits() -> None:
    assert cheapest_grid(1000, 1000, 40, 90 * 90) is None


def test_halves() -> None:
    assert Box(2, 3, 5, 9).halves() == (Box(2, 3, 5, 4), Box(2, 7, 5, 5))
    assert Box(0, 0, 8, 8).halves() == (Box(0, 0, 4, 8), Box(4, 0, 4, 8))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_coordinates_and_back(factor: int) -> None:
    box, outer = Box(12, 14, 3, 4), Box(10, 11, 9, 9)
    assert box.relative_to(outer).absolute_in(outer) == box
    assert box.relative_to(outer).scaled(factor) == box.scaled(factor).relative_to(outer.scaled(factor))
