"""Plans keep within the memory, cost little, and name the memory that is needed where nothing fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.errors import UsageError
from srgan.model.config import GeneratorConfig, multiply_adds, receptive_field
from srgan.upscale import tile_plan as memory
from srgan.upscale.tile_plan import BORDER, Grid, bytes_from_text, cheapest_grid, free_memory, plan_tiles, whole

sizes = st.integers(1, 400)
counts = st.integers(1, 9)


@given(sizes, sizes, counts, counts)
def test_each_pixel_is_in_one_tile(height, width, rows, columns):
    seen = np.zeros((height, width), int)
    for core in Grid(min(rows, height), min(columns, width)).tiles(whole(height, width)):
        seen[core.slices()] += 1
    assert (seen == 1).all()


@given(st.integers(9, 400), counts)
def test_tiles_are_even(size, rows):
    heights = [core.height for core in Grid(rows, 1).tiles(whole(size, 5))]
    assert max(heights) - min(heights) <= 1


@given(sizes, sizes, st.integers(0, 50), st.integers(400, 200_000))
def test_windows_stay_within_the_limit(height, width, halo, limit):
    grid = cheapest_grid(height, width, halo, limit)
    bounds = whole(height, width)
    if grid is not None:
        windows = [core.padded(halo, bounds) for core in grid.tiles(bounds)]
        assert max(window.pixels for window in windows) <= limit
        assert all(core.height >= min(16, height) for core in grid.tiles(bounds))


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 8), st.integers(300, 4000))
def test_cheapest_grid(height, width, halo, limit):
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


class FakeEngine:
    """What a plan needs of an engine."""

    name, precision = "test", "fp32"
    config = GeneratorConfig()
    body_bytes, tail_bytes = 1_300, 6_500


HALO = receptive_field(GeneratorConfig())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1GB", 10**9),
        ("500 MB", 5 * 10**8),
        ("1.5GiB", 3 * 2**29),
        ("64KiB", 65536),
        ("800000", 800_000),
        ("2g", 2 * 10**9),
    ],
)
def test_bytes_from_text(text, expected):
    assert bytes_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "lots", "-1GB", "1XB", "1GBB", "1e9"])
def test_wrong_sizes_are_refused(text):
    with pytest.raises(UsageError, match="memory is a size like 1GB"):
        bytes_from_text(text)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([10**8, 3 * 10**8, 10**9, 4 * 10**9]))
def test_plan_keeps_within_memory(height, width, allowed):
    plan = plan_tiles(height, width, FakeEngine(), HALO, allowed)
    bounds = whole(height + 2 * BORDER, width + 2 * BORDER)
    if plan.tail_pixels >= bounds.pixels:  # in one piece
        assert bounds.pixels * FakeEngine.tail_bytes <= allowed
    else:
        regions = [tile.padded(HALO.total, bounds).pixels for tile in plan.grid.tiles(bounds)]
        assert max(regions) * FakeEngine.body_bytes + plan.tail_pixels * FakeEngine.tail_bytes <= allowed


def test_halos_cost_at_most_a_quarter():
    """Multiply-adds of all tiles of a 24-megapixel photograph against those of the whole: at most 1.25."""
    height, width = 4000, 6000
    plan = plan_tiles(height, width, FakeEngine(), HALO, 10**9)
    bounds = whole(height, width)
    body, tail = multiply_adds(GeneratorConfig())
    computed = 0.0
    for tile in plan.grid.tiles(bounds):
        computed += body * tile.padded(HALO.total, bounds).pixels
        side = plan.tail_pixels**0.5
        computed += tail * tile.pixels * (side / (side - 2 * HALO.tail)) ** 2
    assert 1.0 < computed / ((body + tail) * bounds.pixels) <= 1.25


def test_too_little_memory_names_enough():
    with pytest.raises(UsageError, match=r"memory 5MB is too little .* at least (\d+)MB") as error:
        plan_tiles(500, 500, FakeEngine(), HALO, 5 * 10**6)
    enough = int(str(error.value).rpartition("at least ")[2].removesuffix("MB."))
    plan_tiles(500, 500, FakeEngine(), HALO, enough * 10**6)
    with pytest.raises(UsageError):
        plan_tiles(500, 500, FakeEngine(), HALO, enough * 10**6 * 3 // 4)


def test_the_work_of_the_paper_s_generator():
    """By hand: 9x9x3x64 + 33 of 3x3x64x64 at LR; 3x3x64x256 at x1 and x2; 9x9x64x3 at x4."""
    body, tail = multiply_adds(GeneratorConfig())
    assert body == 81 * 3 * 64 + 33 * 9 * 64 * 64
    assert tail == 9 * 64 * 256 * (1 + 4) + 16 * 81 * 64 * 3


def test_control_group_limit_counts(monkeypatch):
    free = free_memory()
    assert free is None or 10**6 < free < 10**14
    monkeypatch.setattr(memory, "_control_group", lambda: 12_345)
    assert free_memory() == 12_345
