"""The default: a mixture of the packaged weights that fits each image."""

import itertools

import numpy as np
from PIL import Image

from srgan import Upscaler
from srgan.image.files import read_provenance
from srgan.model import weights
from srgan.upscale.mixture import AUTO_TEXTURES, CORNERS, mixture
from tests.support import decoded, encoded, photo


def test_corners_are_the_packaged_weights():
    for name, (restore, texture) in zip(CORNERS, itertools.product((0.0, 1.0), repeat=2), strict=True):
        assert mixture(restore, texture).sha256 == weights.read(name).sha256


def test_mixture_is_bilinear_without_batchnorm():
    mixed = weights.fold_batchnorm(mixture(0.3, 0.4))
    corners = [weights.fold_batchnorm(weights.read(name)) for name in CORNERS]
    for name, tensor in mixed.items():
        srresnet, srgan, photo_, photo_gan = (corner[name] for corner in corners)
        expected = 0.7 * (0.6 * srresnet + 0.4 * srgan) + 0.3 * (0.6 * photo_ + 0.4 * photo_gan)
        np.testing.assert_allclose(tensor, expected, atol=1e-5)


def test_bytes_are_upscaled_as_the_file_is(tmp_path):
    file = encoded(photo(20, 20), quality=75)  # too small for the pixels to tell
    (tmp_path / "image.jpg").write_bytes(file.data)
    upscaler = Upscaler(engine="openvino")
    sr = upscaler.upscale(file)
    assert np.array_equal(sr, upscaler.upscale(tmp_path / "image.jpg"))
    assert not np.array_equal(sr, upscaler.upscale(decoded(file)))


def test_clean_images_are_not_restored():
    pixels = photo(40, 48)
    default, clean = Upscaler(engine="openvino"), Upscaler(texture=AUTO_TEXTURES[0], restore=0.0, engine="openvino")
    assert np.array_equal(default.upscale(pixels), clean.upscale(pixels))


def test_each_file_gets_its_own_strength(tmp_path):
    upscaler = Upscaler(engine="openvino")
    for quality, restore in ((99, "0"), (40, "1"), (98, "0")):
        file = tmp_path / f"{quality}.jpg"
        file.write_bytes(encoded(photo(64, 64), quality=quality).data)
        upscaler.upscale_file(file, tmp_path / f"{quality}.png")
        provenance = read_provenance(tmp_path / f"{quality}.png")
        assert provenance is not None and provenance["restore"] == restore
        assert provenance["texture"] in {f"{texture:g}" for texture in AUTO_TEXTURES[: 1 + (restore == "1")]}
        if restore == "1":
            assert provenance["restore_reason"].startswith("JPEG, quality about") and provenance["model"] != "srgan"
            expected = Upscaler(restore=1.0, engine="openvino").upscale(file)
            assert np.array_equal(np.asarray(Image.open(tmp_path / f"{quality}.png")), expected)


def test_array_and_lossless_copy_get_the_strength_of_their_pixels(tmp_path):
    pixels = decoded(encoded(photo(128, 128), quality=30))
    path = tmp_path / "saved.png"
    Image.fromarray(pixels).save(path)
    restored = Upscaler(restore=1.0, engine="openvino").upscale(pixels)
    assert np.array_equal(Upscaler(engine="openvino").upscale(pixels), restored)
    assert np.array_equal(Upscaler(engine="openvino").upscale(path), restored)
