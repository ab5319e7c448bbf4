"""Degraded LR crops: a function of seed, phase, step and index alone; each kind of damage shows."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan.data import degrade
from srgan.data.degrade import degrade_batch


@pytest.fixture(scope="module")
def lr() -> NDArray[np.uint8]:
    """Eight crops (8, 24, 24, 3) with smooth and sharp places."""
    rows, columns = np.mgrid[0:24, 0:24]
    waves = 128 + 90 * np.sin(rows / 5)[..., None] * np.cos(columns[..., None] / np.array([2.0, 4.0, 7.0]))
    waves[:, 12:] += 40
    return np.stack([np.roll(waves, i, 1) for i in range(8)]).clip(0, 255).astype(np.uint8)


def test_same_arguments_same_crops(lr):
    a = degrade_batch(lr, "all", seed=3, phase="pretrain", step=7)
    assert np.array_equal(a, degrade_batch(lr, "all", seed=3, phase="pretrain", step=7))
    for other in ({"seed": 4}, {"phase": "adversarial"}, {"step": 8}):
        named = {"seed": 3, "phase": "pretrain", "step": 7} | other
        assert not np.array_equal(a, degrade_batch(lr, "all", **named))


def test_ranks_together_make_the_batch_of_one_process(lr):
    whole = degrade_batch(lr, "all", seed=0, phase="pretrain", step=1)
    parts = [degrade_batch(lr[i : i + 4], "all", seed=0, phase="pretrain", step=1, first=i) for i in (0, 4)]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize(
    ("damage", "least", "most"), [("all", 0.16, 0.27), ("compression", 0.02, 0.07), ("none", 1, 1)]
)
def test_share_of_untouched_crops(lr, damage, least, most):
    same = [
        np.array_equal(a, b)
        for step in range(100)
        for a, b in zip(lr, degrade_batch(lr, damage, seed=0, phase="pretrain", step=step), strict=True)
    ]
    assert least <= np.mean(same) <= most


def test_compression_alone_adds_no_noise_and_no_blur(lr, monkeypatch):
    monkeypatch.setattr(degrade, "_camera", None)
    degrade_batch(lr, "compression", seed=0, phase="pretrain", step=0)
    with pytest.raises(TypeError):
        degrade_batch(lr, "all", seed=0, phase="pretrain", step=0)


def test_colours_stay_on_average(lr):
    """No damage adds brightness or a tint."""
    crops = np.concatenate([degrade_batch(lr, "all", seed=0, phase="pretrain", step=step) for step in range(50)])
    assert np.abs(crops.mean((0, 1, 2)) - lr.mean((0, 1, 2))).max() < 1.0


def test_jpeg_is_pillows(lr):
    file = io.BytesIO()
    Image.fromarray(lr[0]).save(file, "JPEG", quality=40, subsampling=2)
    assert np.array_equal(degrade.jpeg(lr[0], 40), np.asarray(Image.open(file)))


def test_blur_of_a_constant_is_the_constant_and_of_a_point_is_a_gaussian():
    assert np.allclose(degrade._blur(np.full((9, 9, 3), 7, np.float32), 0.8), 7)
    point = np.zeros((21, 21, 1), np.float32)
    point[10, 10] = 1
    blurred = degrade._blur(point, 0.9)[..., 0]
    assert np.isclose(blurred.sum(), 1)
    distance = np.arange(21) - 10
    assert np.isclose((blurred.sum(0) * distance**2).sum(), 0.9**2, rtol=0.03)


@pytest.mark.parametrize("side", [8, 24, 100])
def test_any_size(side):
    crops = np.random.default_rng(0).integers(0, 256, (6, side, side + 3, 3), dtype=np.uint8)
    assert degrade_batch(crops, "all", seed=0, phase="validation", step=0).shape == crops.shape
