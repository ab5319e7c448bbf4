"""The plan: crops as a function of (seed, phase, step), inside their pictures, uniform, and paired."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.data.crops import Crops, crops, turned
from srgan.data.loader import Plan, gather
from srgan.errors import DataError

HEIGHTS = np.array([24, 25, 60, 33, 100])
WIDTHS = np.array([90, 24, 31, 24, 57])


def drawn(**changes: Any) -> Crops:
    given: dict[str, Any] = {
        "seed": 0,
        "phase": "pretrain",
        "step": 1,
        "batch": 4,
        "heights": HEIGHTS,
        "widths": WIDTHS,
    }
    return crops(**{**given, **changes})


def same(a: Crops, b: Crops) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_function_of_its_arguments_alone() -> None:
    first = drawn(step=1234)
    np.random.default_rng(0).random(100)
    drawn(step=1)
    assert same(drawn(step=1234), first)


FROZEN = [[0, 2, 4, 3], [0, 20, 23, 6], [25, 3, 32, 0], [0, 3, 4, 7]]


def test_the_same_crops_on_every_machine_and_version() -> None:
    """Frozen values: a change here breaks the resume of every run that is on disk."""
    found = drawn(seed=7, step=1234)
    assert [values.tolist() for values in found] == FROZEN


@pytest.mark.parametrize("change", [{"seed": 1}, {"phase": "adversarial"}, {"phase": "sample"}, {"step": 2}])
def test_each_key_matters(change: dict[str, Any]) -> None:
    assert not same(drawn(**change), drawn())


def test_distinct_pictures_while_there_are_enough() -> None:
    """Section 3.2: "16 random 96 x 96 HR sub images of distinct training images"."""
    for step in range(200):
        assert len(set(drawn(step=step, batch=5).picture.tolist())) == 5
    assert len(drawn(batch=16).picture) == 16


@given(
    sizes=st.lists(st.tuples(st.integers(8, 300), st.integers(8, 300)), min_size=1, max_size=12),
    crop=st.integers(1, 8),
    batch=st.integers(1, 20),
    seed=st.integers(0, 2**40),
    step=st.integers(0, 2**31),
)
def test_crops_lie_inside_their_pictures(
    sizes: list[tuple[int, int]], crop: int, batch: int, seed: int, step: int
) -> None:
    heights, widths = np.array(sizes).T
    found = drawn(heights=heights, widths=widths, crop=crop, batch=batch, seed=seed, step=step)
    assert all(len(values) == batch and values.dtype == np.int64 for values in found)
    assert ((found.picture >= 0) & (found.picture < len(sizes))).all()
    assert ((found.top >= 0) & (found.top + crop <= heights[found.picture])).all()
    assert ((found.left >= 0) & (found.left + crop <= widths[found.picture])).all()
    assert ((found.turn >= 0) & (found.turn < 8)).all()


def test_places_turns_and_pictures_are_uniform() -> None:
    """Chi-square with 4,000 draws over k values: above k - 1 + 5 standard deviations would be no chance."""
    all_of = [drawn(step=step, batch=4, heights=np.full(6, 28), widths=np.full(6, 30)) for step in range(1000)]
    for values, k in (("picture", 6), ("top", 5), ("left", 7), ("turn", 8)):
        counts = np.bincount(np.concatenate([getattr(found, values) for found in all_of]), minlength=k)
        assert len(counts) == k
        chi_square = ((counts - 4000 / k) ** 2 / (4000 / k)).sum()
        assert chi_square < k - 1 + 5 * np.sqrt(2 * (k - 1)), values


def test_a_picture_of_the_crops_size_has_one_place() -> None:
    found = drawn(heights=np.full(3, 24), widths=np.full(3, 24))
    assert not found.top.any() and not found.left.any()


def test_turning_can_be_left_out() -> None:
    assert not drawn(turn=False, batch=64).turn.any()


def test_a_picture_smaller_than_the_crop_is_named() -> None:
    with pytest.raises(DataError, match="picture 1 is 23x40 in LR pixels, smaller than the crop of 24"):
        drawn(heights=np.array([30, 40]), widths=np.array([30, 23]))


def test_the_eight_symmetries() -> None:
    """All differ, each is a rotation or a mirror image of the square, and corners go where they should."""
    square = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    wanted = {turned(square, n).tobytes() for n in range(8)}
    by_rotation = {np.rot90(side, n).tobytes() for side in (square, square[:, ::-1]) for n in range(4)}
    assert len(wanted) == 8 and wanted == by_rotation
    assert np.array_equal(turned(square, 0), square)
    assert np.array_equal(turned(square, 1)[0, 0], square[0, 2])
    assert np.array_equal(turned(square, 2)[0, 0], square[2, 0])
    assert np.array_equal(turned(square, 4)[0, 2], square[2, 0])


@pytest.mark.parametrize(("batch", "world"), [(16, 2), (16, 4), (7, 3), (5, 5)])
def test_the_ranks_parts_make_the_batch_of_one_process(batch: int, world: int) -> None:
    pictures = SimpleNamespace(heights=4 * HEIGHTS, widths=4 * WIDTHS)
    plans = [Plan(seed=3, phase="adversarial", batch=batch, crop=96, rank=rank, world=world) for rank in range(world)]
    whole = Plan(seed=3, phase="adversarial", batch=batch, crop=96).of(pictures, 9)
    parts = [plan.of(pictures, 9) for plan in plans]
    assert same(Crops(*(np.concatenate(values) for values in zip(*parts, strict=True))), whole)


def test_lr_and_hr_crops_are_of_one_place() -> None:
    """Pictures whose pixels say where they are: each LR pixel meets the 4 x 4 block of its HR, however turned."""
    y, x = np.mgrid[0:40, 0:33]
    lrs = [np.stack([y, x, np.full_like(y, n)], axis=2).astype(np.uint8) for n in range(5)]
    hrs = [lr.repeat(4, axis=0).repeat(4, axis=1) for lr in lrs]
    pack: Any = SimpleNamespace(lr=lambda i: lrs[i], hr=lambda i: hrs[i])
    planned = drawn(batch=64, heights=np.full(5, 40), widths=np.full(5, 33))
    assert set(planned.turn.tolist()) == set(range(8))
    lr, hr = gather(pack, planned, 96)
    assert lr.shape == (64, 24, 24, 3) and hr.shape == (64, 96, 96, 3)
    assert np.array_equal(hr, lr.repeat(4, axis=1).repeat(4, axis=2))
    assert np.array_equal(lr[:, :, :, 2], np.broadcast_to(planned.picture[:, None, None], (64, 24, 24)))
    assert np.array_equal(lr[..., 0].min(axis=(1, 2)), planned.top)
    assert np.array_equal(lr[..., 1].min(axis=(1, 2)), planned.left)
