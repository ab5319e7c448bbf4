"""MATLAB's bicubic: the test sets' LR files bit for bit, Pillow in floats, symmetries, rounding, misuse."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from srgan.image.files import read_array
from srgan.image.resize import bicubic, cropped, downscaled

sides = st.integers(1, 40)
images = st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape))


@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("BSD100", 100)])
def test_lr_files_bit_for_bit(data, name, count):
    originals = sorted((data / name / "image_SRF_4").glob("*_HR.png"))
    assert len(originals) == count
    for original in originals:
        given_lr = read_array(original.with_name(original.name.replace("_HR", "_LR")))
        assert np.array_equal(downscaled(read_array(original)), given_lr), original


@given(st.integers(0, 255), sides, sides, sides, sides)
def test_constant(value, h, w, height, width):
    flat = np.full((h, w, 3), value, np.uint8)
    assert (bicubic(flat, height, width) == value).all()


@given(images)
def test_same_size_is_a_copy(image):
    same = bicubic(image, *image.shape)
    assert np.array_equal(same, image)
    assert not np.shares_memory(same, image)


@given(st.tuples(sides, sides).flatmap(lambda s: arrays(np.uint8, (s[0] * 4, s[1] * 4))), st.sampled_from((0, 1)))
def test_flips_commute(image, axis):
    assert np.array_equal(np.flip(downscaled(image), axis), downscaled(np.flip(image, axis)))
    larger = image.shape[0] * 4, image.shape[1] * 4
    assert np.array_equal(np.flip(bicubic(image, *larger), axis), bicubic(np.flip(image, axis), *larger))


@pytest.mark.parametrize("target", [(15, 20), (37, 23), (120, 160), (61, 95)])
def test_pillow_in_floats(target):
    image = np.random.default_rng(0).random((60, 80), np.float32) * 255
    mine = bicubic(image, *target)
    other = np.asarray(Image.fromarray(image).resize(target[::-1], Image.Resampling.BICUBIC))
    rows, columns = (max(int(2 * max(t / s, 1)) + 1, 3) for t, s in zip(target, image.shape, strict=True))
    inside = slice(rows, -rows), slice(columns, -columns)
    np.testing.assert_allclose(mine[inside], other[inside], atol=2e-3)


def test_rounding():
    two = np.array([[0, 1]], np.uint8)
    assert bicubic(two, 1, 1).item() == 1  # the mean is exactly a half
    steps = np.array([[0, 0], [1, 1], [0, 1], [1, 0]], np.uint8)
    vertical = bicubic(steps, 1, 2)
    assert np.array_equal(bicubic(steps, 1, 1), bicubic(vertical, 1, 1))


def test_clipping():
    edge = np.zeros((16, 16), np.uint8)
    edge[:, 8:] = 255
    larger = bicubic(edge, 64, 64)
    assert larger[0, 28] == 0 and larger[0, 35] == 255
    floats = bicubic(edge.astype(np.float64), 64, 64)
    assert floats.min() < -5 and floats.max() > 260


@given(arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(100, 155)), sides, sides)
def test_16_bits_against_floats(image, height, width):
    deep = bicubic(image.astype(np.uint16) * 257, height, width)
    floats = bicubic(image.astype(np.float64) * 257, height, width)
    singles = bicubic(image.astype(np.float32) * 257, height, width)
    assert (deep.dtype, floats.dtype, singles.dtype) == (np.uint16, np.float64, np.float32)
    np.testing.assert_allclose(deep, floats, atol=0.5 + 0.5 * 1.5)  # two roundings, the first one weighed
    np.testing.assert_allclose(singles, floats, atol=0.1)


def test_odd_sizes_are_cropped():
    image = np.arange(11 * 14, dtype=np.uint8).reshape(11, 14)
    assert np.array_equal(cropped(image), image[:8, :12])
    assert np.array_equal(downscaled(image), downscaled(image[:8, :12]))
    assert downscaled(image, 3).shape == (3, 4)


def test_memory():
    image = np.zeros((1356, 2040, 3), np.uint8)
    tracemalloc.start()
    downscaled(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # the image as float64 would be 66 MB


def test_misuse():
    with pytest.raises(TypeError, match="int64"):
        bicubic(np.zeros((4, 4), np.int64), 2, 2)
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        bicubic(np.zeros((0, 4), np.uint8), 2, 2)
    with pytest.raises(ValueError, match="0 x 2"):
        downscaled(np.zeros((3, 8), np.uint8))
