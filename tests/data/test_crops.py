"""Crops as a function of (seed, phase, step), inside their images, uniform, and paired."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.data.crops import Crops, crops
from srgan.data.loader import CropSampler, gather
from srgan.data.packed import PackedImages
from srgan.errors import DataError
from srgan.image.symmetry import apply_symmetry

HEIGHTS = np.array([24, 25, 60, 33, 100])
WIDTHS = np.array([90, 24, 31, 24, 57])


def sample(**changes: Any) -> Crops:
    given: dict[str, Any] = {"seed": 0, "phase": "pretrain", "step": 1, "batch": 4}
    return crops(**{**given, "heights": HEIGHTS, "widths": WIDTHS, **changes})


def same(a: Crops, b: Crops) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_frozen_crops():
    """Frozen values: a change here breaks the resume of every run that is on disk."""
    found = sample(seed=7, step=1234)
    assert [values.tolist() for values in found] == [[0, 2, 4, 3], [0, 20, 23, 6], [25, 3, 32, 0], [0, 3, 4, 7]]


@pytest.mark.parametrize("change", [{"seed": 1}, {"phase": "adversarial"}, {"phase": "sample"}, {"step": 2}])
def test_each_key_matters(change):
    assert not same(sample(**change), sample())


@given(
    sizes=st.lists(st.tuples(st.integers(8, 300), st.integers(8, 300)), min_size=1, max_size=12),
    crop=st.integers(1, 8),
    batch=st.integers(1, 20),
    seed=st.integers(0, 2**40),
    step=st.integers(0, 2**31),
)
def test_batchlie_inside_their_images(sizes, crop, batch, seed, step):
    heights, widths = np.array(sizes).T
    found = sample(heights=heights, widths=widths, crop=crop, batch=batch, seed=seed, step=step)
    assert all(len(values) == batch and values.dtype == np.int64 for values in found)
    assert ((found.image >= 0) & (found.image < len(sizes))).all()
    assert ((found.top >= 0) & (found.top + crop <= heights[found.image])).all()
    assert ((found.left >= 0) & (found.left + crop <= widths[found.image])).all()
    assert ((found.symmetry >= 0) & (found.symmetry < 8)).all()


def test_uniform():
    """Chi-square with 4,000 draws over k values: above k - 1 + 5 standard deviations would be no chance."""
    all_of = [sample(step=step, batch=4, heights=np.full(6, 28), widths=np.full(6, 30)) for step in range(1000)]
    for values, k in (("image", 6), ("top", 5), ("left", 7), ("symmetry", 8)):
        counts = np.bincount(np.concatenate([getattr(found, values) for found in all_of]), minlength=k)
        assert len(counts) == k
        chi_square = ((counts - 4000 / k) ** 2 / (4000 / k)).sum()
        assert chi_square < k - 1 + 5 * np.sqrt(2 * (k - 1)), values


def test_an_image_of_the_crop_size_has_one_place_and_a_smaller_one_is_named():
    found = sample(heights=np.full(3, 24), widths=np.full(3, 24))
    assert not found.top.any() and not found.left.any()
    with pytest.raises(DataError, match="image 1 is 23x40 in LR pixels, smaller than the crop of 24"):
        sample(heights=np.array([30, 40]), widths=np.array([30, 23]))


def test_the_eight_symmetries():
    """All differ, each is a rotation or a mirror image of the square, and corners go where they should."""
    square = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    apply_all = {apply_symmetry(square, n).tobytes() for n in range(8)}
    by_rotation = {np.rot90(side, n).tobytes() for side in (square, square[:, ::-1]) for n in range(4)}
    assert len(apply_all) == 8 and apply_all == by_rotation
    assert np.array_equal(apply_symmetry(square, 0), square)
    assert np.array_equal(apply_symmetry(square, 1)[0, 0], square[0, 2])
    assert np.array_equal(apply_symmetry(square, 2)[0, 0], square[2, 0])
    assert np.array_equal(apply_symmetry(square, 4)[0, 2], square[2, 0])


@pytest.mark.parametrize(("batch", "world"), [(16, 2), (16, 4), (7, 3), (5, 5)])
def test_ranks_together_make_the_batch(batch, world):
    images = SimpleNamespace(heights=4 * HEIGHTS, widths=4 * WIDTHS)
    samplers = [
        CropSampler(seed=3, phase="adversarial", batch=batch, crop=96, rank=rank, world_size=world)
        for rank in range(world)
    ]
    whole = CropSampler(seed=3, phase="adversarial", batch=batch, crop=96).crops(images, 9)
    parts = [sampler.crops(images, 9) for sampler in samplers]
    assert same(Crops(*(np.concatenate(values) for values in zip(*parts, strict=True))), whole)


def test_crop_and_its_lr_meet():
    """Images whose pixels say where they are: each LR pixel meets the 4 x 4 block of its HR, however turned."""
    y, x = np.mgrid[0:40, 0:33]
    lrs = [np.stack([y, x, np.full_like(y, n)], axis=2).astype(np.uint8) for n in range(5)]
    hrs = [lr.repeat(4, axis=0).repeat(4, axis=1) for lr in lrs]
    pack = SimpleNamespace(crop=partial(PackedImages.crop, SimpleNamespace(lr=lrs.__getitem__, hr=hrs.__getitem__)))
    batch = sample(batch=64, heights=np.full(5, 40), widths=np.full(5, 33))
    assert set(batch.symmetry.tolist()) == set(range(8))
    lr, hr = gather(pack, batch, 96)
    assert lr.shape == (64, 24, 24, 3) and hr.shape == (64, 96, 96, 3)
    assert np.array_equal(hr, lr.repeat(4, axis=1).repeat(4, axis=2))
    assert np.array_equal(lr[:, :, :, 2], np.broadcast_to(batch.image[:, None, None], (64, 24, 24)))
    assert np.array_equal(lr[..., 0].min(axis=(1, 2)), batch.top)
    assert np.array_equal(lr[..., 1].min(axis=(1, 2)), batch.left)
