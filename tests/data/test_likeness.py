from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from srgan.data.likeness import SIDE, area_means, same_pictures, thumbnail
from srgan.image import files, resize

Pixels = NDArray[np.uint8]


@functools.cache
def scene(seed: int) -> Pixels:
    """Something like a photograph: noise with a falling spectrum, in colour, 150 to 250 pixels a side."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(150, 250, 2)
    sums = np.zeros((height, width, 3), np.float64)
    for cells in (4, 8, 16, 32):
        sums += resize.bicubic(rng.normal(size=(cells, cells, 3)), int(height), int(width)) * (8 / cells)
    return np.clip(128 + 30 * sums, 0, 255).astype(np.uint8)


def jpeg(picture: Pixels, quality: int = 60) -> Pixels:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture))
    return np.asarray(pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality), "").numpy())


def half(picture: Pixels) -> Pixels:
    return resize.bicubic(picture, picture.shape[0] // 2, picture.shape[1] // 2).astype(np.uint8)


DISGUISES: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda p: p,
    "jpeg": jpeg,
    "mirrored": lambda p: p[:, ::-1],
    "half": half,
    "jpeg of the mirrored half": lambda p: jpeg(half(p)[:, ::-1]),
    "upside down": lambda p: p[::-1],
    "quarter turn": lambda p: np.rot90(p),
    "grey": lambda p: p.mean(axis=2).astype(np.uint8),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
    "borders cut": lambda p: p[6:-9, 4:-12],
    "a tenth cut": lambda p: p[: p.shape[0] * 9 // 10, p.shape[1] // 10 :],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_same_picture_is_found_in_disguise(disguise: str) -> None:
    known = [thumbnail(scene(seed)) for seed in range(12)]
    hidden = [thumbnail(DISGUISES[disguise](scene(seed))) for seed in (3, 7)]
    others = [thumbnail(scene(seed)) for seed in range(100, 110)]
    found = same_pictures(known, others + hidden)
    assert [(same.left, same.right) for same in found] == [(3, 10), (7, 11)]
    found = same_pictures(others + hidden, known)
    assert [(same.left, same.right) for same in found] == [(10, 3), (11, 7)], "either may be cut out of the other"


def test_unlike_pictures_are_not_found() -> None:
    one = [thumbnail(scene(seed)) for seed in range(40)]
    other = [thumbnail(scene(seed)) for seed in range(40, 80)]
    flat = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 255)]
    assert same_pictures(one, [*other, *flat]) == []
    assert same_pictures([], other) == [] and same_pictures(one, []) == []


def test_area_means_are_exact() -> None:
    grid = np.arange(35, dtype=np.float32).reshape(5, 7)
    assert np.allclose(area_means(grid, 0, 5, 0, 7, 1), grid.mean())
    column = np.float32([[0], [10], [20]])
    assert np.allclose(area_means(column, 0.5, 2.5, 0, 1, 2)[:, 0], [5, 15])
    ramp = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(3, 0)
    assert np.allclose(area_means(ramp, 0, 3, 0, 200, 10)[0], ramp[0].reshape(10, 20).mean(1), atol=1e-5)


@pytest.mark.slow
def test_every_picture_of_the_test_sets_is_found(data: Path) -> None:
    paths = [p for s in ("Set5", "Set14", "BSD100") for p in sorted((data / s / "image_SRF_4").glob("*_HR.png"))]
    pictures = [files.read_array(path) for path in paths]
    hidden = [thumbnail(jpeg(half(picture)[:, ::-1])) for picture in pictures]
    found = {(same.left, same.right) for same in same_pictures([thumbnail(p) for p in pictures], hidden)}
    twins = {(3, 10), (10, 3)}  # Set5's head is Set14's face
    assert found == {(n, n) for n in range(119)} | twins
