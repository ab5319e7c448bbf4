"""An image is recognised in disguise, and not in another image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from srgan.data.likeness import SIDE, same_images, thumbnail
from tests.data.scenes import half, scene

Pixels = NDArray[np.uint8]


def jpeg(image: Pixels) -> Pixels:
    encoded = pyvips.Image.new_from_array(np.ascontiguousarray(image)).jpegsave_buffer(Q=60)
    return np.asarray(pyvips.Image.new_from_buffer(encoded, "").numpy())


DISGUISES: dict[str, Callable[[Pixels], Pixels]] = {
    "jpeg": jpeg,
    "jpeg of the mirrored half": lambda p: jpeg(half(p)[:, ::-1]),
    "quarter turn": lambda p: np.rot90(p),
    "grey": lambda p: p.mean(axis=2).astype(np.uint8),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
    "a tenth cut": lambda p: p[: p.shape[0] * 9 // 10, p.shape[1] // 10 :],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_same_image_in_disguise(disguise: str) -> None:
    known = [thumbnail(scene(seed)) for seed in range(12)]
    hidden = [thumbnail(DISGUISES[disguise](scene(seed))) for seed in (3, 7)]
    others = [thumbnail(scene(seed)) for seed in range(100, 110)]
    assert [(m.left, m.right) for m in same_images(known, others + hidden)] == [(3, 10), (7, 11)]
    assert [(m.left, m.right) for m in same_images(others + hidden, known)] == [(10, 3), (11, 7)]


def test_other_images() -> None:
    left = [thumbnail(scene(seed)) for seed in range(40)]
    right = [thumbnail(scene(seed)) for seed in range(40, 80)]
    flat = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 255)]
    assert same_images(left, [*right, *flat]) == []
    assert same_images([], right) == [] and same_images(left, []) == []
