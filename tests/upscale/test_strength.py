"""How much compression and noise an image carries: what files and pixels of known quality must say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from srgan.image.resize import cropped, downscaled
from srgan.upscale.strength import jpeg_quality, once_jpeg_quality, strength_of, webp_quantiser
from srgan.upscale.tiled import ArrayRegions

Pixels = NDArray[np.uint8]


def photo(height: int = 200, width: int = 240, seed: int = 0) -> Pixels:
    """Smooth waves and a few edges, in colour, without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = []
    waves = sum(
        rng.normal() * np.sin(y * rng.uniform(0, 0.5) + x * rng.uniform(0, 0.5) + rng.uniform(0, 6)) for _ in range(12)
    )
    disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2
    for shift in (0, 20, -15):
        planes.append(128 + 18 * waves + shift * np.sin(x / 40) + 40 * disc)
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def decoded(file: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


@pytest.mark.parametrize("quality", [10, 30, 50, 63, 75, 90, 97])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"optimize": True}])
def test_tables_tell_the_quality(quality: int, options: dict[str, Any]) -> None:
    told = jpeg_quality(encoded(photo(48, 48), quality=quality, **options))
    assert told is not None and abs(told - quality) <= 2


def test_tables_of_a_file_and_of_a_grey_image(tmp_path: Path) -> None:
    path = tmp_path / "grey.jpg"
    Image.fromarray(photo(48, 48)[..., 0]).save(path, quality=40)
    told = jpeg_quality(path)
    assert told is not None and abs(told - 40) <= 2


def test_broken_jpegs_have_no_quality(tmp_path: Path) -> None:
    file = encoded(photo(48, 48), quality=60)
    assert jpeg_quality(tmp_path / "missing.jpg") is None
    for end in range(0, file.index(b"\xff\xda"), 7):
        jpeg_quality(file[:end])  # no error; tables may be complete
    table = file.index(b"\xff\xdb")
    assert jpeg_quality(file[:table] + b"\xff\xfe" + file[table + 2 :].replace(b"\xff\xdb", b"\xff\xfe")) is None


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80),
    st.sampled_from([b"\xff\xd8\xff\xdb", b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\0\0\0\0", b""]),
)
def test_any_header_is_read_without_error(tail: bytes, head: bytes) -> None:
    strength_of(ArrayRegions(np.zeros((8, 8, 3), np.uint8)), head + tail)


def test_webp_quantiser_grows_as_quality_falls() -> None:
    told = [webp_quantiser(encoded(photo(), "WEBP", quality=quality)) for quality in (95, 80, 60, 40, 20)]
    assert all(value is not None for value in told) and told == sorted(told)  # type: ignore[type-var]
    assert webp_quantiser(encoded(photo(), "WEBP", lossless=True)) is None
    assert webp_quantiser(encoded(photo())) is None


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
    for pixels in (decoded(encoded(photo(), quality=50)), decoded(encoded(photo(), quality=50))[..., 1]):
        converted = (pixels.astype(np.float64) / 255 * peak).astype(dtype)
        if pixels.ndim == 3:
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
