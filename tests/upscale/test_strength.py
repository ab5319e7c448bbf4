"""How much compression and noise an image carries: what files and pixels of known quality must say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from srgan import Upscaler
from srgan.image.files import read_image
from srgan.image.metrics import bicubic_x4, score
from srgan.image.resize import bicubic, cropped, downscaled
from srgan.image.source import ImageBytes
from srgan.upscale.mixture import AUTO_TEXTURES, LESS_RESTORE
from srgan.upscale.strength import Strength, Window, fitted, is_lossy_webp, jpeg_quality, once_jpeg_quality, strength_of
from srgan.upscale.tiled import ArrayRegions
from tests.support import decoded, encoded, photo


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80),
    st.sampled_from([b"\xff\xd8\xff\xdb", b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\0\0\0\0", b""]),
)
def test_any_header_is_read_without_error(tail, head):
    strength_of(ArrayRegions(np.zeros((8, 8, 3), np.uint8)), ImageBytes(data=head + tail, name="header"))


@pytest.mark.parametrize("quality", [25, 50, 75, 85])
@pytest.mark.parametrize("corner", [(0, 0), (3, 5)])
def test_pixels_tell_that_they_were_a_jpeg(quality, corner):
    pixels = decoded(encoded(photo(), quality=quality))[corner[0] :, corner[1] :]
    told = once_jpeg_quality([pixels.astype(np.float32)])
    assert told is not None and abs(told - quality) <= 4


def test_a_good_jpeg_of_a_bad_one_is_bad():
    twice = encoded(decoded(encoded(photo(), quality=30)), quality=98)
    strength = strength_of(ArrayRegions(decoded(twice)), twice)
    assert (strength.restore, strength.reason, strength.trust) == (1.0, "once a JPEG, quality about 28", 0.8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_depth_and_grey(dtype):
    peak = {np.uint8: 255, np.uint16: 65535, np.float32: 1.0}[dtype]
    for pixels in (photo(), photo()[..., 0]):
        converted = (decoded(encoded(pixels, quality=50)).astype(np.float64) / 255 * peak).astype(dtype)
        assert strength_of(ArrayRegions(converted)).restore == 1.0
        assert strength_of(ArrayRegions(converted[:20, :20])).restore == 0.0  # too small to tell


def test_noise_and_no_noise():
    clean = photo().astype(np.float64)
    rng = np.random.default_rng(1)
    for sigma, least in ((0, 0.0), (1, 0.0), (5, 0.5), (8, 0.75)):
        for shape in (clean.shape, (*clean.shape[:2], 1)):
            noisy = np.clip(np.rint(clean + sigma * rng.normal(size=shape)), 0, 255).astype(np.uint8)
            strength = strength_of(ArrayRegions(noisy))
            assert (strength.restore >= least) if sigma > 2 else (strength.restore == 0), (sigma, shape, strength)
            assert strength.trust == 1 - strength.restore, "noise is not put back"


def screenshot():
    image = Image.new("RGB", (160, 96), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 160, 20), (40, 60, 140))
    for line, text in enumerate(("File  Edit  View", "Error: not found", "Save as or Cancel?")):
        draw.text((6, 4 + 26 * line), text, ("white", "red", "black")[line])
    return image


def test_screenshots_and_palettes_have_flat_colours():
    large = Image.fromarray(photo())
    slope = np.add.outer(np.arange(96), np.arange(160)).astype(np.uint8)
    palette = "at most 256 colours"
    for image, few in (
        (screenshot(), "flat colours"),
        (large.quantize(200), palette),
        (large.resize((48, 48)).quantize(100), palette),
        (large.convert("L"), None),  # has 256 greys
        (Image.fromarray(slope), None),
        (Image.fromarray(np.stack([slope, 254 - slope, slope // 2], axis=2)), None),  # 254 colours, no edges
        (Image.new("RGB", (96, 96), "green"), None),
    ):
        strength = strength_of(ArrayRegions(np.asarray(image.convert("RGB"))))
        assert ("colours" in strength.reason) == (few is not None) and few in (None, strength.reason)
        assert strength.restore >= (few is not None)
        assert few is None or strength.trust == (0.8 if few == palette else 1.0)


def test_clean_images_need_nothing(data):
    """Of the 119 images of the three sets, at most two (as rough as noise) are noisy, none a JPEG or drawn."""
    paths = [path for name in ("Set5", "Set14", "BSD100") for path in sorted((data / name).rglob("*_LR.png"))]
    strengths = [strength_of(ArrayRegions(np.asarray(Image.open(path).convert("RGB")))) for path in paths[1::2]]
    assert sum(strength.restore > 0 for strength in strengths) <= 2, strengths
    assert not any("JPEG" in strength.reason or "colours" in strength.reason for strength in strengths)


@pytest.mark.parametrize(("form", "quality", "least"), [("JPEG", 75, 0.5), ("JPEG", 40, 1.0), ("WEBP", 50, 0.5)])
def test_photographs(data, form, quality, least):
    for path in sorted((data / "valid" / "Kodak24").iterdir())[:3]:
        lr = downscaled(cropped(np.asarray(Image.open(path).convert("RGB"))))
        file = encoded(lr, form, quality=quality)
        strength = strength_of(ArrayRegions(decoded(file)), file)
        assert strength.restore >= least and strength.trust == 0.8


@pytest.mark.parametrize("quality", [10, 30, 50, 63, 75, 90, 97])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"optimize": True}])
def test_tables_tell_the_quality(quality, options):
    told = jpeg_quality(encoded(photo(48, 48), quality=quality, **options))
    assert told is not None and abs(told - quality) <= 2


def test_tables_of_a_file_and_of_a_grey_image(tmp_path):
    path = tmp_path / "grey.jpg"
    data = encoded(photo(48, 48)[..., 0], quality=40).data
    for fill in (b"", b"\xff\xff"):
        path.write_bytes(data.replace(b"\xff\xdb", fill + b"\xff\xdb"))
        told = jpeg_quality(path)
        assert told is not None and abs(told - 40) <= 2


@pytest.mark.parametrize(("step", "least", "most"), [(1, 92, 100), (12, 45, 55), (60, 5, 15)])
def test_tables_of_another_maker_have_the_quality_of_their_low_frequencies(step, least, most):
    quality = jpeg_quality(encoded(photo(48, 48), qtables=[[step] * 64, [step] * 64]))
    assert quality is not None and least <= quality <= most


def test_broken_jpegs_have_no_quality(tmp_path):
    file = encoded(photo(48, 48), quality=60).data
    table = file.index(b"\xff\xdb")
    for end in range(0, len(file), 7):
        quality = jpeg_quality(ImageBytes(data=file[:end], name="cut"))
        assert quality is None if end < table + 15 else quality is None or abs(quality - 60) <= 2
    without = file[:table] + b"\xff\xfe" + file[table + 2 :].replace(b"\xff\xdb", b"\xff\xfe")
    zeros = file[: table + 5] + bytes(9) + file[table + 14 :]
    assert [jpeg_quality(ImageBytes(data=data, name="broken")) for data in (without, zeros)] == [None, None]
    assert jpeg_quality(tmp_path / "missing.jpg") is None


def test_a_webp_with_loss_is_compressed():
    frames = {"save_all": True, "append_images": [Image.fromarray(photo()[::-1])]}
    for options in ({"quality": 20}, {"quality": 95}, frames):
        assert is_lossy_webp(encoded(photo(), "WEBP", **options))
    assert not is_lossy_webp(encoded(photo(), "WEBP", lossless=True)) and not is_lossy_webp(encoded(photo()))


@pytest.mark.parametrize(
    ("gained", "changed", "quality", "expected"),
    [(4, 3.8, None, 0), (4, 4.2, None, 1), (0, 0, None, 0), (1, 0.9, 90, 0), (2, 2, 50, 1), (2, 1, 50, 0)],
)
def test_texture_changes_no_more_than_the_network_gained(gained, changed, quality, expected):
    def upscale(window: Window, texture: float) -> Window:
        exact = bicubic(window, 4 * window.shape[0], 4 * window.shape[1]) + gained
        return exact - (changed if texture else 0)

    noisy = Strength(restore=1.0, reason="noise", quality=quality)
    chosen = fitted(noisy, ArrayRegions(photo(64, 80)), upscale)
    assert (chosen.restore, chosen.texture) == (1.0, AUTO_TEXTURES[expected])
    assert fitted(noisy, ArrayRegions(photo(8, 8)), upscale).texture == AUTO_TEXTURES[0], "too small to tell"
    assert fitted(noisy, ArrayRegions(photo(64, 80)), upscale, texture=False) == noisy


@pytest.mark.parametrize(("quality", "restore"), [(75, LESS_RESTORE), (10, 1.0), (None, 1.0)])
def test_what_is_not_a_jpegs_error_is_restored_less(quality, restore):
    def smoothed(window: Window, texture: float) -> Window:
        blurred = gaussian_filter(window, (1, 1, 0))
        return bicubic(blurred, 4 * window.shape[0], 4 * window.shape[1])

    strength = Strength(restore=1.0, reason="", texture=0.3, quality=quality)
    own = fitted(strength, ArrayRegions(photo(64, 80)), smoothed, texture=False)
    assert (own.restore, own.texture) == (restore, 0.3)


@pytest.mark.parametrize("quality", [75, 50])
@pytest.mark.parametrize("texture", ["auto", 0.0])
def test_ringing_of_the_original_is_kept(data, quality, texture):
    """Set14's foreman: restored fully, it is further from the original than bicubic."""
    folder = data / "Set14" / "image_SRF_4"
    lr, hr = (read_image(folder / f"img_008_SRF_4_{kind}.png").pixels for kind in ("LR", "HR"))
    file = encoded(lr, quality=quality)
    sr, plain = Upscaler(texture=texture, engine="openvino").upscale(file), bicubic_x4(decoded(file))
    assert score(sr, hr).psnr_y > score(plain, hr).psnr_y


def test_fine_grain_gets_less_texture():
    grain = np.random.default_rng(1).integers(60, 200, (64, 64, 3), np.uint8)
    file, upscaler = encoded(grain, quality=50), Upscaler(engine="openvino")
    assert upscaler.strength(ArrayRegions(decoded(file)), file).texture == AUTO_TEXTURES[1]
    chosen = Upscaler(texture=0.9, engine="openvino").strength(ArrayRegions(decoded(file)), file)
    assert (chosen.restore, chosen.texture) == (1, 0.9)
