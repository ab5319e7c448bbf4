"""Rectangles in and out: the same pixels as whole files, bounded memory, full disks, nothing left behind."""

import itertools
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.errors import ImageError
from srgan.image import files
from srgan.image.alpha import bleed_colour
from srgan.image.files import Image, Limits, Metadata
from srgan.image.stream import ImageReader, ImageWriter
from tests.image import corpus

DEPTHS = [np.uint8, np.uint16]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("memory", [1 << 27, 0])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_regions_are_upright(tmp_path, memory, orientation):
    stored = corpus.smooth(4, height=60, width=90)
    options = {"exif": corpus.exif(orientation), "lossless": True, "exact": True}
    path = tmp_path / "a.webp"
    path.write_bytes(corpus.pillow(corpus.Image.fromarray(stored), "WebP", **options))
    whole = files.read_image(path)
    assert whole.alpha is not None
    colour = bleed_colour(whole.pixels, whole.alpha)
    random = np.random.default_rng(orientation)
    with ImageReader(path, scratch=tmp_path, memory=memory) as source:
        assert (source.height, source.width) == whole.pixels.shape[:2] == files.size(path)
        assert (source.channels, source.has_alpha, source.dtype) == (3, True, np.uint8)
        assert source.metadata == whole.metadata
        assert (len(leftovers(tmp_path)) == 1) == (memory == 0)
        for _ in range(10):
            top, left = random.integers(0, source.height), random.integers(0, source.width)
            height, width = (random.integers(1, source.height - top + 1), random.integers(1, source.width - left + 1))
            here = slice(top, top + height), slice(left, left + width)
            place = (int(top), int(left), int(height), int(width))
            np.testing.assert_array_equal(source.region(*place), colour[here])
            np.testing.assert_array_equal(source.alpha_region(*place), whole.alpha[here])
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("memory", [1 << 27, 0])
def test_16_bit_grey(tmp_path, memory):
    pixels = corpus.smooth(1, np.uint16, 30, 20)[..., 0]
    files.write_array(tmp_path / "a.tif", pixels)
    with ImageReader(tmp_path / "a.tif", scratch=tmp_path, memory=memory) as source:
        assert (source.channels, source.has_alpha, source.dtype) == (1, False, np.uint16)
        np.testing.assert_array_equal(source.region(3, 4, 20, 10), pixels[3:23, 4:14])


CASES = [
    case
    for case in itertools.product([".png", ".tif", ".webp", ".avif", ".jpg"], DEPTHS, [1, 3], [False, True])
    if not (case[0] == ".jpg" and case[3])
]


@pytest.mark.parametrize("memory", [1 << 24, 0])
@pytest.mark.parametrize(("suffix", "dtype", "channels", "alpha"), CASES)
def test_writer_gives_the_bytes_of_write_image(tmp_path, suffix, dtype, channels, alpha, memory):
    array = corpus.smooth(channels + alpha, dtype, 50, 70)
    pixels = array[..., 0] if channels == 1 else array[..., :3]
    metadata = Metadata(icc=None if channels == 1 else corpus.profile(), exif=corpus.exif(), density=(11.811, 11.811))
    provenance = {"model": "m"}
    picture = Image(pixels=pixels, alpha=array[..., -1] if alpha else None, metadata=metadata)
    files.write_image(tmp_path / f"one{suffix}", picture, provenance=provenance)
    with ImageWriter(
        tmp_path / f"two{suffix}",
        height=50,
        width=70,
        channels=channels,
        dtype=dtype,
        alpha=alpha,
        metadata=metadata,
        memory=memory,
    ) as writer:
        for top, left in [(32, 48), (0, 0), (32, 0), (0, 48)]:
            here = slice(top, min(top + 32, 50)), slice(left, min(left + 48, 70))
            writer.write_box(top, left, pixels[here], array[..., -1][here] if alpha else None)
        writer.finish(provenance=provenance)
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert leftovers(tmp_path) == []


@settings(max_examples=25)
@given(st.data())
def test_boxes_in_any_order(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("sink")
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    expected = np.zeros((height, width, 3), np.uint16)
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    with ImageWriter(folder / "a.png", height=height, width=width, channels=3, dtype=np.uint16, memory=0) as writer:
        for _ in range(data.draw(st.integers(0, 6))):
            top, left = data.draw(st.integers(0, height)), data.draw(st.integers(0, width))
            shape = data.draw(st.integers(0, height - top)), data.draw(st.integers(0, width - left)), 3
            part = random.integers(0, 65536, shape, dtype=np.uint16)
            writer.write_box(top, left, part)
            expected[top : top + shape[0], left : left + shape[1]] = part
        writer.finish()
    np.testing.assert_array_equal(files.read_image(folder / "a.png").pixels, expected)


def test_threads(tmp_path):
    pixels = corpus.smooth(3, height=64, width=96)
    with ImageWriter(tmp_path / "a.png", height=64, width=96, channels=3, dtype=np.uint8, memory=0) as writer:
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda x: writer.write_box(0, x, pixels[:, x : x + 8]), range(0, 96, 8)))
        writer.finish()
    with ImageReader(tmp_path / "a.png", scratch=tmp_path, memory=0) as source, ThreadPoolExecutor(12) as pool:
        places = [*range(0, 96, 8)] * 20
        for x, region in zip(places, pool.map(lambda x: source.region(5, x, 50, 8), places), strict=True):
            np.testing.assert_array_equal(region, pixels[5:55, x : x + 8])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_writer_left_early_leaves_nothing(tmp_path, error):
    (tmp_path / "a.png").write_bytes(b"old")
    with (
        pytest.raises(error),
        ImageWriter(tmp_path / "a.png", height=9, width=9, channels=3, dtype=np.uint8, memory=0) as writer,
    ):
        writer.write_box(0, 0, np.zeros((9, 9, 3), np.uint8))
        raise error
    assert (tmp_path / "a.png").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_full_disk_is_said_at_the_start(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 599))
    with pytest.raises(ImageError, match=r"needs 0\.00 MB in"):
        ImageWriter(tmp_path / "a.png", height=10, width=10, channels=3, dtype=np.uint8)
    files.write_array(tmp_path / "b.png", np.zeros((30, 30), np.uint8))
    with pytest.raises(ImageError, match=r"needs 0\.00 MB"):
        ImageReader(tmp_path / "b.png", scratch=tmp_path, memory=0)
    assert leftovers(tmp_path) == []


def test_disk_that_fills_up(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with ImageWriter(tmp_path / "a.png", height=9, width=9, channels=3, dtype=np.uint8, memory=0) as writer:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(ImageError, match=r"a\.png cannot be written: No space left"):
            writer.write_box(0, 0, np.zeros((9, 9, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_folder_whose_name_is_not_utf8(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    pixels = corpus.smooth(3)
    with ImageWriter(folder / "a.png", height=corpus.H, width=corpus.W, channels=3, dtype=np.uint8, memory=0) as writer:
        writer.write_box(0, 0, pixels)
        writer.finish()
    with ImageReader(folder / "a.png", scratch=folder, memory=0) as reader:
        np.testing.assert_array_equal(reader.region(0, 0, corpus.H, corpus.W), pixels)


def test_failures_come_at_the_start(tmp_path):
    size: dict[str, Any] = {"height": 9, "width": 9, "channels": 3, "dtype": np.uint8}
    with pytest.raises(ImageError, match=r"a\.jpg: quality is 0"):
        ImageWriter(tmp_path / "a.jpg", quality=0, **size)
    unsound = Metadata(icc=corpus.profile() + bytes(9))  # as `read` would not hand it out
    with pytest.raises(ImageError, match=r"a\.png cannot be written"):
        ImageWriter(tmp_path / "a.png", metadata=unsound, **size)
    assert list(tmp_path.iterdir()) == []


def test_limits_and_damage(tmp_path):
    files.write_array(tmp_path / "b.png", np.zeros((30, 30), np.uint8))
    with pytest.raises(ImageError, match="the limit is 10"):
        ImageReader(tmp_path / "b.png", scratch=tmp_path, limits=Limits(pixels=10))
    data = (tmp_path / "b.png").read_bytes()
    for memory in (0, 1 << 20):
        (tmp_path / "c.png").write_bytes(data[: len(data) - 30])
        with pytest.raises(ImageError, match=r"c\.png is damaged"):
            ImageReader(tmp_path / "c.png", scratch=tmp_path, memory=memory)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "suffix", [".png", pytest.param(".jpg", marks=pytest.mark.slow), pytest.param(".tif", marks=pytest.mark.slow)]
)
def test_memory_does_not_grow_with_the_image(tmp_path, suffix):
    program = """
import sys
from pathlib import Path
import numpy as np
from srgan.image.stream import ImageReader, ImageWriter
from benchmarks import peak_resident
path, height = Path(sys.argv[1]), int(sys.argv[2])
row = np.random.default_rng(0).integers(0, 256, (250, 2000, 3), dtype=np.uint8) // 16
with ImageWriter(path, height=height, width=2000, channels=3, dtype=np.uint8, memory=0) as writer:
    for top in range(0, height, 250):
        writer.write_box(top, 0, row)
    writer.finish()
with ImageReader(path, scratch=path.parent, memory=0) as source:
    for top in range(0, height, 250):
        source.region(top, 0, 250, 2000)
print(peak_resident())
"""

    def peak(height: int) -> int:
        """MB resident at most."""
        command = [sys.executable, "-c", program, str(tmp_path / f"a{suffix}"), str(height)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) // 1_000_000

    small, large = peak(1000), peak(12000)
    assert large - small < 20  # the larger one has 72 MB of pixels, 66 more
