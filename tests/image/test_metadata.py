from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srgan.errors import ImageError
from srgan.image import files
from srgan.image.files import Metadata
from srgan.image.metadata import provenance_in, sound_profile, upright_exif, with_provenance
from tests.image import corpus

ENDINGS = [".png", ".jpg", ".webp", ".tif", ".avif"]
PIXELS = corpus.smooth(3)


def written(folder: Path, ending: str, metadata: Metadata) -> Path:
    files.write_image(folder / f"a{ending}", files.Image(pixels=PIXELS, metadata=metadata))
    return folder / f"a{ending}"


@pytest.mark.parametrize("ending", ENDINGS)
def test_profile_and_xmp_are_kept_byte_for_byte(tmp_path: Path, ending: str) -> None:
    metadata = Metadata(icc=corpus.profile(), xmp=corpus.XMP)
    kept = files.read_image(written(tmp_path, ending, metadata)).metadata
    assert (kept.icc, kept.xmp) == (metadata.icc, metadata.xmp)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".avif"])
@pytest.mark.parametrize("size", [0, 1, 7000])
def test_exif_is_kept_byte_for_byte(tmp_path: Path, ending: str, size: int) -> None:
    block = corpus.exif() + b"\x07" * size  # odd lengths, and bytes that no tag speaks of
    path = written(tmp_path, ending, Metadata(exif=block, xmp=corpus.XMP))
    assert files.read_image(path).exif == block
    assert Image.open(path).getexif()[0x8298] == "nobody"
    np.testing.assert_array_equal(np.asarray(Image.open(path)).shape, PIXELS.shape)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ENDINGS, ENDINGS)))
def test_what_exif_says_goes_from_every_format_to_every_other(tmp_path: Path, first: str, second: str) -> None:
    (tmp_path / "one").mkdir()
    here = written(tmp_path / "one", first, Metadata(exif=corpus.exif()))
    there = written(tmp_path, second, files.read_image(here).metadata)
    block = Image.open(there).getexif()
    inner = block.get_ifd(0x8769)
    assert (block[0x010E], block[0x8298]) == ("a picture", "nobody")
    assert inner[0x9003] == "2020:01:01 00:00:00" and inner[0x927C] == b"maker's note \0\1\2"
    assert float(inner[0x829A]) == 1 / 125


def test_a_tiffs_own_tags_are_kept(tmp_path: Path) -> None:
    options = {"photometric": "rgb", "description": "a picture", "byteorder": ">", "metadata": None}
    path = tmp_path / "a.tif"
    path.write_bytes(corpus.tiff(PIXELS, extratags=[(0x013B, "s", 0, "somebody", True)], **options))
    for ending in ENDINGS:
        picture = files.read_image(path)
        files.write_image(tmp_path / f"b{ending}", picture)
        block = Image.open(tmp_path / f"b{ending}").getexif()
        assert (block[0x010E], block[0x013B]) == ("a picture", "somebody")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif"])
def test_density_is_kept(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending, Metadata(density=(11.811, 11.811)))
    assert Image.open(path).info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert files.read_image(path).metadata.density == pytest.approx((11.811, 11.811), rel=1e-3)


def test_exif_too_long_for_jpeg_is_a_sentence(tmp_path: Path) -> None:
    block = corpus.exif() + bytes(70_000)
    with pytest.raises(ImageError, match="a JPEG takes 65,527"):
        written(tmp_path, ".jpg", Metadata(exif=block))
    assert files.read_image(written(tmp_path, ".png", Metadata(exif=block))).exif == block
    fits = block[:65_527]
    assert files.read_image(written(tmp_path, ".jpg", Metadata(exif=fits))).exif == fits


def test_xmp_too_long_for_jpeg_is_a_sentence(tmp_path: Path) -> None:
    xmp = corpus.XMP.replace(b"<?xpacket end", b" " * 70_000 + b"<?xpacket end")
    with pytest.raises(ImageError, match=r"XMP has 70,\d+ bytes"):
        written(tmp_path, ".jpg", Metadata(xmp=xmp))
    fits = xmp.replace(b" " * 7_500, b"")[:63_000]
    assert files.read_image(written(tmp_path, ".jpg", Metadata(xmp=fits))).metadata.xmp == fits


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_added_to_a_picture_without_metadata(tmp_path: Path, ending: str) -> None:
    kept = files.read_image(written(tmp_path, ending, Metadata())).metadata
    assert (kept.icc, kept.exif, kept.xmp, kept.iptc) == (None, None, None, None)


BAD_PROFILES = {
    "empty": b"",
    "short": b"x",
    "text": b"x" * 500,
    "cut": corpus.profile()[:300],
    "longer than it says": corpus.profile() + bytes(9),
    "shorter than it says": b"\x7f\xff\xff\xff" + corpus.profile()[4:],
    "tags beyond its end": corpus.profile()[:136] + b"\x7f\xff\xff\xff" + corpus.profile()[140:],
    "endless table": corpus.profile()[:128] + b"\x7f\xff\xff\xff" + corpus.profile()[132:],
}


@pytest.mark.parametrize("name", BAD_PROFILES)
def test_a_broken_profile_is_left_out_and_stops_nothing(tmp_path: Path, name: str) -> None:
    assert sound_profile(corpus.profile()) == corpus.profile()
    assert sound_profile(corpus.grey_profile(2.2)) is not None
    assert sound_profile(BAD_PROFILES[name]) is None
    data = corpus.pillow(Image.fromarray(PIXELS), "TIFF", icc_profile=BAD_PROFILES[name] or b"\0")
    (tmp_path / "a.tif").write_bytes(data)
    picture = files.read_image(tmp_path / "a.tif")
    assert picture.icc is None
    for ending in ENDINGS:
        files.write_image(tmp_path / f"b{ending}", picture)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("block", [b"", b"\0", b"\0\1\2", b"<rdf:RDF>" * 999], ids=["empty", "one", "three", "long"])
def test_blocks_of_nonsense_harm_nobody(tmp_path: Path, ending: str, block: bytes) -> None:
    for metadata in (Metadata(xmp=block), Metadata(exif=block), Metadata(iptc=block), Metadata(icc=block)):
        again = files.read_image(written(tmp_path, ending, metadata))
        assert again.pixels.shape == PIXELS.shape
        files.write_image(tmp_path / f"b{ending}", again, provenance={"model": "m"})
        assert files.read_provenance(tmp_path / f"b{ending}") == {"model": "m"}


def test_a_thumbnail_that_stood_otherwise_is_unlinked() -> None:
    def block(orientation: int, next_directory: int) -> bytes:
        entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        return b"II*\0\x08\0\0\0\x01\0" + entry + struct.pack("<I", next_directory)

    assert upright_exif(block(6, 26), 6) == block(1, 0)
    assert upright_exif(block(1, 26), 1) == block(1, 26)
    assert upright_exif(b"Exif\0\0" + block(1, 26), 1) == block(1, 26)


def test_exif_that_would_turn_the_picture_again_is_left_out() -> None:
    assert upright_exif(b"garbage", 6) is None
    assert upright_exif(b"garbage", 1) == b"garbage"
    assert upright_exif(b"II*\0\xff\xff\xff\x7f", 3) is None


def test_orientation_in_xmp_is_reset(tmp_path: Path) -> None:
    turned = corpus.XMP.replace(b'dc:format="image/png"', b'xmlns:tiff="t" tiff:Orientation="6"')
    for xmp in (
        turned,
        turned.replace(b'Orientation="6"/>', b'x=""><tiff:Orientation>6</tiff:Orientation></rdf:Description>'),
    ):
        kept = files.read_image(written(tmp_path, ".png", Metadata(xmp=xmp))).metadata.xmp
        assert kept == xmp.replace(b'"6"', b'"1"').replace(b">6<", b">1<") != xmp


@pytest.mark.parametrize("ending", ENDINGS)
def test_provenance_comes_back_from_every_format(tmp_path: Path, ending: str) -> None:
    said = {"model": "srgan", "sha256": "ab" * 32, "tile_grid": "3x4", "note": "<&>\"' é 漢"}
    for number, metadata in enumerate([Metadata(), Metadata(xmp=corpus.XMP, exif=corpus.exif(), icc=corpus.profile())]):
        path = tmp_path / f"{number}{ending}"
        files.write_image(path, files.Image(pixels=PIXELS, metadata=metadata), provenance=said)
        assert files.read_provenance(path) == said
        xmp = files.read_image(path).metadata.xmp
        assert xmp is not None and (b'dc:format="image/png"' in xmp) == (metadata.xmp is not None)
    files.write_array(tmp_path / f"none{ending}", PIXELS)
    assert files.read_provenance(tmp_path / f"none{ending}") is None


def test_provenance_is_replaced_and_not_piled_up() -> None:
    once = with_provenance(corpus.XMP, {"model": "one"})
    assert with_provenance(once, {"model": "two"}) == with_provenance(corpus.XMP, {"model": "two"})
    assert provenance_in(with_provenance(once, {"model": "two"})) == {"model": "two"}


@given(st.text(max_size=60), st.binary(max_size=200))
def test_provenance_takes_any_text_and_any_packet(value: str, xmp: bytes) -> None:
    said = provenance_in(with_provenance(xmp, {"model": value, "other": "x"}))
    assert said is not None and said["other"] == "x"
    if value.isprintable():
        assert said["model"] == value
    assert provenance_in(xmp) is None


@pytest.mark.parametrize("alpha", [False, True])
def test_a_grey_profile_stays_with_grey_and_becomes_srgb_in_colour(tmp_path: Path, alpha: bool) -> None:
    grey = np.full((32, 32), 128, np.uint8)
    metadata = Metadata(icc=corpus.grey_profile(gamma=1.0))
    picture = files.Image(pixels=grey, alpha=np.full_like(grey, 77) if alpha else None, metadata=metadata)
    files.write_image(tmp_path / "a.png", picture)
    assert files.read_image(tmp_path / "a.png").icc == metadata.icc
    for ending in (".webp", ".avif"):
        files.write_image(tmp_path / f"a{ending}", picture, lossless=True)
        again = files.read_image(tmp_path / f"a{ending}")
        assert again.icc is not None and again.icc[16:20] == b"RGB "
        # Linear 0.5 is 188 in sRGB: the picture looks the same, its numbers do not.
        assert np.abs(again.pixels.astype(int) - 188).max() <= 2
        assert alpha == (again.alpha is not None and bool((again.alpha == 77).all()))


@pytest.mark.parametrize("ending", ENDINGS)
def test_pillow_finds_the_profile(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path, ending, Metadata(icc=corpus.profile()))
    assert Image.open(path).info["icc_profile"] == corpus.profile()
