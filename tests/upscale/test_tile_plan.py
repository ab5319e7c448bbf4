"""Plans keep within the memory, cost little, and name the memory that is needed where nothing fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.errors import UsageError
from srgan.image.tiles import whole
from srgan.model.config import GeneratorConfig, multiply_adds, receptive_field
from srgan.upscale import tile_plan as memory
from srgan.upscale.tile_plan import BORDER, bytes_from_text, free_memory, plan_tiles


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
def test_bytes_from_text(text: str, expected: int) -> None:
    assert bytes_from_text(text) == expected


@pytest.mark.parametrize("text", ["", "lots", "-1GB", "1XB", "1GBB", "1e9"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="memory is a size like 1GB"):
        bytes_from_text(text)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([10**8, 3 * 10**8, 10**9, 4 * 10**9]))
def test_plan_keeps_within_memory(height: int, width: int, allowed: int) -> None:
    plan = plan_tiles(height, width, FakeEngine(), HALO, allowed)  # type: ignore[arg-type]
    bounds = whole(height + 2 * BORDER, width + 2 * BORDER)
    if plan.tail_pixels >= bounds.pixels:  # in one piece
        assert bounds.pixels * FakeEngine.tail_bytes <= allowed
    else:
        regions = [tile.padded(HALO.total, bounds).pixels for tile in plan.grid.tiles(bounds)]
        assert max(regions) * FakeEngine.body_bytes + plan.tail_pixels * FakeEngine.tail_bytes <= allowed


def test_halos_cost_at_most_a_quarter() -> None:
    """Multiply-adds of all tiles of a 24-megapixel photograph against those of the whole: at most 1.25."""
    height, width = 4000, 6000
    plan = plan_tiles(height, width, FakeEngine(), HALO, 10**9)  # type: ignore[arg-type]
    bounds = whole(height, width)
    body, tail = multiply_adds(GeneratorConfig())
    computed = 0.0
    for tile in plan.grid.tiles(bounds):
        computed += body * tile.padded(HALO.total, bounds).pixels
        side = plan.tail_pixels**0.5
        computed += tail * tile.pixels * (side / (side - 2 * HALO.tail)) ** 2
    assert 1.0 < computed / ((body + tail) * bounds.pixels) <= 1.25


def test_too_little_memory_names_enough() -> None:
    with pytest.raises(UsageError, match=r"--memory 5MB is too little .* at least (\d+)MB") as error:
        plan_tiles(500, 500, FakeEngine(), HALO, 5 * 10**6)  # type: ignore[arg-type]
    enough = int(str(error.value).rpartition("at least ")[2].removesuffix("MB."))
    plan_tiles(500, 500, FakeEngine(), HALO, enough * 10**6)  # type: ignore[arg-type]


def test_the_work_of_the_paper_s_generator() -> None:
    """By hand: 9x9x3x64 + 33 of 3x3x64x64 at LR; 3x3x64x256 at x1 and x2; 9x9x64x3 at x4."""
    body, tail = multiply_adds(GeneratorConfig())
    assert body == 81 * 3 * 64 + 33 * 9 * 64 * 64
    assert tail == 9 * 64 * 256 * (1 + 4) + 16 * 81 * 64 * 3


def test_free_memory_is_plausible() -> None:
    free = free_memory()
    assert free is None or 10**6 < free < 10**14


def test_control_group_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_control_group", lambda: 12_345)
    assert free_memory() == 12_345
