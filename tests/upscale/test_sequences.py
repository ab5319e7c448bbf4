"""Animations and pages through the upscaler: every image as by itself, equal frames once, names that do not fit refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan import Upscaler
from srgan.errors import ImageError
from srgan.image import files
from srgan.image.animation import Animation
from srgan.model.weights import Weights
from srgan.upscale.batch import FileOptions, upscale_file
from tests.image import corpus

STILLS = [corpus.smooth(3, height=10, width=14) // (i + 1) for i in range(3)]


@pytest.fixture(scope="module")
def upscaler(small: Weights) -> Upscaler:
    return Upscaler(small)


def animated(path: Path, order: list[int], **options: Any) -> Path:
    images = [Image.fromarray(STILLS[number]) for number in order]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


def test_each_frame_is_upscaled_once(tmp_path, upscaler, monkeypatch):
    source = animated(tmp_path / "a.png", [0, 1, 0, 2, 1], duration=[40, 80, 120, 160, 200], loop=3)
    calls: list[int] = []
    original = Upscaler.upscale_into
    monkeypatch.setattr(Upscaler, "upscale_into", lambda *a, **k: (calls.append(1), original(*a, **k))[1])
    seen: list[tuple[int, int]] = []
    upscaler.upscale_file(source, tmp_path / "b.webp", progress=lambda done, total: seen.append((done, total)))
    assert len(calls) == 3 and max(seen) == (4 * 140, 5 * 140)
    animation = Animation(tmp_path / "b.webp")
    assert animation.plays == 3
    for frame, number, time in zip(animation, [0, 1, 0, 2, 1], [40, 80, 120, 160, 200], strict=True):
        assert frame.milliseconds == time
        np.testing.assert_array_equal(frame.pixels, upscaler.upscale(STILLS[number]))  # lossless in, lossless out
    upscaler.upscale_file(source, tmp_path / "b.gif")
    assert Image.open(tmp_path / "b.gif").n_frames == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.gif", "b.webp"]


def test_each_page_is_upscaled(tmp_path, upscaler):
    pages = [STILLS[0], corpus.smooth(1, np.uint16, 9, 8)[..., 0], STILLS[1][:5]]
    first, *others = (Image.fromarray(page) for page in pages)
    for number, page in enumerate(others):
        page.encoderinfo = {"tiffinfo": {270: f"page {number + 2}"}}
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    upscaler.upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as image:
        for number, page in enumerate(pages):
            image.seek(number)
            np.testing.assert_array_equal(np.asarray(image), upscaler.upscale(page))
            assert image.getexif().get(270) == (f"page {number + 1}" if number else None)
    assert files.read_provenance(tmp_path / "b.tif") is not None


def test_several_images_into_a_format_that_holds_one(tmp_path, upscaler):
    for name, words in (("a.gif", r"a\.gif is an animation of 2 frames"), ("a.tif", r"a\.tif has 2 pages")):
        source = animated(tmp_path / name, [0, 1])
        with pytest.raises(ImageError, match=words):
            upscaler.upscale_file(source, tmp_path / "b.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "a.tif"]


def test_refused_page_is_named(tmp_path, upscaler):
    first, other = Image.fromarray(STILLS[0]), Image.fromarray(np.ones((9, 8), np.float32))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first, other])
    with pytest.raises(ImageError, match=r"^page 3 of .*a\.tif holds 1 b-w channels of type float"):
        upscaler.upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def test_messages_name_the_target(tmp_path, upscaler, caplog):
    source = animated(tmp_path / "a.gif", [0, 1], comment=b"hello")
    deep = tmp_path / "deep folder" / ("x" * 200)
    deep.mkdir(parents=True)
    for folder in (tmp_path, deep):
        with pytest.raises(ImageError, match=r"/b\.webp: quality is 0"):
            upscale_file(upscaler, source, folder / "b.webp", FileOptions(quality=0))
    upscaler.upscale_file(source, tmp_path / "b.webp")
    assert f"{tmp_path}/b.webp: this WebP cannot hold the image's comments" in caplog.text and ".tmp" not in caplog.text


def test_a_full_disk_is_a_sentence(tmp_path, upscaler, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("srgan.image.animation.AnimationWriter.repeat", full)
    source = animated(tmp_path / "a.png", [0, 1, 0])
    with pytest.raises(ImageError, match=r"b\.webp cannot be written: No space left on device"):
        upscaler.upscale_file(source, tmp_path / "b.webp")
    with pytest.raises(ImageError, match=r"none/b\.tif cannot be written: there is no folder"):
        upscaler.upscale_file(animated(tmp_path / "a.tif", [0, 1]), tmp_path / "none" / "b.tif")
    monkeypatch.setattr("srgan.upscale.sequences.append_page", full)
    with pytest.raises(ImageError, match=r"b\.tif cannot be written: No space left on device"):
        upscaler.upscale_file(tmp_path / "a.tif", tmp_path / "b.tif")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.tif"]


def test_damaged_frame_leaves_nothing(tmp_path, upscaler):
    source = animated(tmp_path / "a.webp", [0, 1, 2], lossless=True)
    data = bytearray(source.read_bytes())
    at = data.rindex(b"VP8L") + 12
    data[at : at + 200] = bytes(len(data[at : at + 200]))
    source.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.webp is damaged"):
        upscaler.upscale_file(source, tmp_path / "b.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["a.webp"]


def test_alpha_that_is_opaque_is_no_obstacle_to_jpeg(tmp_path, upscaler):
    for name, opacity in (("a.png", 255), ("b.png", 254)):
        alpha = np.full((10, 14), opacity, np.uint8)
        files.write_image(tmp_path / name, files.Image(pixels=STILLS[0], alpha=alpha))
    upscaler.upscale_file(tmp_path / "a.png", tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="transparency"):
        upscaler.upscale_file(tmp_path / "b.png", tmp_path / "b.jpg")


def test_lossless_stays_lossless_unless_a_quality_is_given(tmp_path, upscaler):
    Image.fromarray(STILLS[0]).save(tmp_path / "a.webp", lossless=True)
    upscaler.upscale_file(tmp_path / "a.webp", tmp_path / "b.webp")
    np.testing.assert_array_equal(files.read_image(tmp_path / "b.webp").pixels, upscaler.upscale(STILLS[0]))
    upscaler.upscale_file(tmp_path / "a.webp", tmp_path / "c.webp", quality=50)
    assert b"VP8L" not in (tmp_path / "c.webp").read_bytes()[:64]


def test_separate_alpha_replaces_no_colour(tmp_path, upscaler):
    alpha = np.where(np.arange(14) < 7, 0, 255).astype(np.uint8) * np.ones((10, 1), np.uint8)
    both = np.dstack([STILLS[0], alpha])
    expected = upscaler.upscale(STILLS[0])
    np.testing.assert_array_equal(upscaler.upscale(both, alpha="separate")[..., :3], expected)
    assert (upscaler.upscale(both)[..., :3] != expected).any()
    Image.fromarray(both).save(tmp_path / "a.png")
    upscaler.upscale_file(tmp_path / "a.png", tmp_path / "b.png", alpha="separate")
    np.testing.assert_array_equal(files.read_image(tmp_path / "b.png").pixels, expected)
