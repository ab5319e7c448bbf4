"""Colour tags as ICC profiles: LittleCMS shows the colours that the tags mean; HDR is kept in PNG, else it is said."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from srgan.image import files
from srgan.image.animation import WRITERS, Animation, Frame
from srgan.image.colour import SRGB, ColourTag
from srgan.image.files import ImageBytes
from tests.image import corpus

P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
COLOUR = np.full((8, 8, 3), (200, 100, 60), np.uint8)


def tagged(*chunks: tuple[bytes, bytes], array: np.ndarray = COLOUR) -> ImageBytes:
    plain = corpus.pillow(Image.fromarray(array), "PNG")
    return ImageBytes(data=plain[:33] + b"".join(corpus.chunk(*chunk) for chunk in chunks) + plain[33:], name="a.png")


def avif(primaries: int, transfer: int) -> ImageBytes:
    data = corpus.pillow(Image.fromarray(COLOUR), "AVIF", quality=100)
    at = data.index(b"colrnclx") + 8
    return ImageBytes(data=data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :], name="a.avif")


def chrm(chromaticities: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * part) for part in chromaticities))


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def shown(source: ImageBytes) -> np.ndarray:
    """As sRGB, by LittleCMS."""
    image = files.read_image(source)
    if image.metadata.icc is None:
        return image.pixels[4, 4]
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.metadata.icc))
    mode = "L" if image.pixels.ndim == 2 else "RGB"
    turned = ImageCms.profileToProfile(
        Image.fromarray(image.pixels, mode), profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.asarray(turned)[4, 4]


P3_AS_SRGB = (216, 94, 48)
"""(200, 100, 60) of Display P3, by CSS Color 4's matrices."""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (avif(12, 13), P3_AS_SRGB),
        (avif(12, 1), P3_AS_SRGB),
        (avif(12, 11), P3_AS_SRGB),
        (avif(3, 13), (200, 100, 60)),
        (avif(22, 13), (202, 102, 59)),
        (avif(1, 1), (200, 100, 60)),
        (tagged((b"cICP", bytes([12, 13, 0, 1]))), P3_AS_SRGB),
        (tagged(gama(45_455), chrm(P3)), P3_AS_SRGB),
        (tagged(gama(45_455), chrm(SRGB)), (200, 100, 60)),
        (tagged(gama(100_000)), (229, 168, 132)),
        (tagged(gama(100_000), array=np.full((8, 8), 60, np.uint8)), (132, 132, 132)),
        (tagged((b"sRGB", b"\0"), gama(100_000)), (200, 100, 60)),
        (tagged(chrm(P3)), (200, 100, 60)),
        (tagged(gama(0)), (200, 100, 60)),
        (tagged(gama(45_455), chrm((0.3,) * 8)), (200, 100, 60)),
        (tagged((b"cICP", bytes([99, 13, 0, 1]))), (200, 100, 60)),
    ],
)
def test_tags_are_shown(source, expected):
    assert np.abs(shown(source).astype(int) - expected).max() <= 2


def test_profile_outranks_tags():
    data = corpus.pillow(Image.fromarray(COLOUR), "PNG", icc_profile=corpus.profile())
    source = ImageBytes(data=data[:33] + corpus.chunk(*gama(100_000)) + data[33:], name="a.png")
    assert files.read_image(source).metadata.icc == corpus.profile()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".gif"])
def test_every_format_takes_the_profile_or_becomes_srgb(suffix):
    image = files.read_image(tagged(gama(45_455), chrm(P3)))
    result = ImageBytes(data=files.encode_image(image, suffix), name="a")
    assert files.read_image(result).metadata.icc == (None if suffix == ".gif" else image.metadata.icc)
    assert image.metadata.icc is not None and np.abs(shown(result).astype(int) - P3_AS_SRGB).max() <= 3


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_every_frame_is_shown_in_its_colours(tmp_path, suffix):
    metadata = files.read_image(tagged(gama(45_455), chrm(P3))).metadata
    path = tmp_path / f"a{suffix}"
    options = {"height": 8, "width": 8, "plays": 0, "metadata": metadata, "quality": None, "lossless": True}
    writer = WRITERS[suffix](path, name=path, **options)
    for value in (0, 1):
        writer.add(Frame(pixels=COLOUR + np.uint8(value), alpha=None, milliseconds=40))
    writer.finish()
    icc = Animation(path).metadata.icc
    for number, frame in enumerate(Animation(path)):
        still = files.encode_image(files.Image(pixels=frame.pixels, metadata=files.Metadata(icc=icc)), ".png")
        assert np.abs(shown(ImageBytes(data=still, name="a")).astype(int) - P3_AS_SRGB).max() <= 2 + number


def test_profile_of_srgb_is_none():
    assert ColourTag().profile(grey=False) is None
    assert ColourTag(chromaticities=P3).profile(grey=True) is None


def test_hdr_stays_in_png_and_is_said_elsewhere(tmp_path, caplog):
    for source, name in ((avif(9, 16), "PQ"), (tagged((b"cICP", bytes([9, 18, 0, 1]))), "HLG")):
        image = files.read_image(source)
        files.write_image(tmp_path / "a.png", image)
        assert not caplog.records
        codes = bytes([9, 16 if name == "PQ" else 18, 0, 1])  # RGB of full range, as PNG wants
        assert files.read_image(tmp_path / "a.png").metadata.cicp == image.metadata.cicp == codes
        files.write_image(tmp_path / "a.avif", image)
        assert f"the image is HDR ({name}), which only PNG can say" in caplog.text
        caplog.clear()
        files.encode_image(image, ".webp")
        assert caplog.text.count("HDR") == 1
        caplog.clear()
