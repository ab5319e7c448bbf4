"""How much compression and noise an image carries: what files and pixels of known quality must say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan.image.resize import cropped, downscaled
from srgan.image.source import ImageBytes
from srgan.upscale.strength import once_jpeg_quality, strength_of
from srgan.upscale.tiled import ArrayRegions
from tests.images import decoded, encoded, photo


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80),
    st.sampled_from([b"\xff\xd8\xff\xdb", b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\0\0\0\0", b""]),
)
def test_any_header_is_read_without_error(tail: bytes, head: bytes) -> None:
    strength_of(ArrayRegions(np.zeros((8, 8, 3), np.uint8)), ImageBytes(data=head + tail, name="header"))


@pytest.mark.parametrize("quality", [25, 50, 75, 85])
@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_pixels_tell_that_they_were_a_jpeg(quality: int, corner: tuple[int, int]) -> None:
    pixels = decoded(encoded(photo(), quality=quality))[corner[0] :, corner[1] :]
    told = once_jpeg_quality([pixels.astype(np.float32)])
    assert told is not None and abs(told - quality) <= 4


def test_a_good_jpeg_of_a_bad_one_is_bad() -> None:
    twice = encoded(decoded(encoded(photo(), quality=30)), quality=95)
    strength = strength_of(ArrayRegions(decoded(twice)), twice)
    assert strength.restore == 1.0 and strength.reason == "once a JPEG, quality about 28"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_depth_and_grey(dtype: type) -> None:
    peak = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    for pixels in (photo(), photo()[..., 0]):
        converted = (decoded(encoded(pixels, quality=50)).astype(np.float64) / 255 * peak).astype(dtype)
        assert strength_of(ArrayRegions(converted)).restore == 1.0
        assert strength_of(ArrayRegions(converted[:20, :20])).restore == 0.0  # too small to tell


def test_noise_and_no_noise() -> None:
    clean = photo().astype(np.float64)
    rng = np.random.default_rng(1)
    for sigma, least in ((0, 0.0), (1, 0.0), (5, 0.5), (8, 0.75)):
        for shape in (clean.shape, (*clean.shape[:2], 1)):
            noisy = np.clip(np.rint(clean + sigma * rng.normal(size=shape)), 0, 255).astype(np.uint8)
            strength = strength_of(ArrayRegions(noisy))
            assert (strength.restore >= least) if sigma > 2 else (strength.restore == 0), (sigma, shape, strength)


def test_clean_images_need_nothing(data: Path) -> None:
    """Of the 119 images of the three sets, at most two (as rough as noise) are taken for noisy, and none for a JPEG."""
    paths = [path for name in ("Set5", "Set14", "BSD100") for path in sorted((data / name).rglob("*_LR.png"))]
    strengths = [strength_of(ArrayRegions(np.asarray(Image.open(path).convert("RGB")))) for path in paths[::2]]
    assert sum(strength.restore > 0 for strength in strengths) <= 2, strengths
    assert not any("JPEG" in strength.reason for strength in strengths)


@pytest.mark.parametrize(("form", "quality", "least"), [("JPEG", 75, 0.5), ("JPEG", 40, 1.0), ("WEBP", 50, 0.5)])
def test_photographs(data: Path, form: str, quality: int, least: float) -> None:
    for path in sorted((data / "valid" / "Kodak24").iterdir())[:3]:
        lr = downscaled(cropped(np.asarray(Image.open(path).convert("RGB"))))
        file = encoded(lr, form, quality=quality)
        assert strength_of(ArrayRegions(decoded(file)), file).restore >= least
