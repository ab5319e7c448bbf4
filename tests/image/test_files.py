"""Files in and out: known pixels, refusals, limits, round trips, colour conversion, atomic writes."""

import io
import itertools
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan.errors import ImageError
from srgan.image import decode, encode, files
from srgan.image.files import ImageBytes, Limits, Metadata
from tests.image import corpus
from tests.support import resident_bytes

EXACT = {case.name: case for case in corpus.exact()}
LOSSY = {case.name: case for case in corpus.lossy()}
REFUSED = {name: (data, words) for name, data, words in corpus.refused()}


def placed(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", EXACT)
def test_exact_files(tmp_path, name):
    case = EXACT[name]
    path = placed(tmp_path, name, case.data)
    picture = files.read_image(path)
    assert picture.pixels.dtype == case.pixels.dtype  # of the file's type, whatever the numbers are
    np.testing.assert_array_equal(picture.pixels, case.pixels)
    if case.alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, case.alpha)
    assert files.size(path) == case.pixels.shape[:2]


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_files_against_pillow(tmp_path, name):
    case = LOSSY[name]
    pixels = files.read_image(placed(tmp_path, name, case.data)).pixels
    assert pixels.shape == case.pixels.shape and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - case.pixels).max() <= case.tolerance


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_one_sentence_with_the_path(tmp_path, name):
    data, words = REFUSED[name]
    path = placed(tmp_path, name, data)
    for act in (files.read_image, files.read_rgb8):
        with pytest.raises(ImageError, match=words) as caught:
            act(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    wrong = {tmp_path: "is a folder", tmp_path / "no.png": "does not exist", tmp_path / "pipe.png": "is no file"}
    for path, words in wrong.items():
        with pytest.raises(ImageError, match=words):
            files.read_image(path)
    with pytest.raises(ImageError, match="a\\\\x00b"):
        files.read_image(tmp_path / "a\0b.png")


def test_control_characters_in_a_name(tmp_path):
    path = placed(tmp_path, "a\x1b[31mred\nline.png", b"text")
    with pytest.raises(ImageError) as caught:
        files.read_image(path)
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
    assert "\\x1b[31mred\\nline.png" in str(caught.value)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_reset(tmp_path, form, orientation):
    upright = corpus.smooth(3, height=24, width=40)
    # Pillow's own constants say how a stored picture becomes upright; its inverse makes the stored one.
    turn: Any = Image.Transpose
    undo = {
        2: turn.FLIP_LEFT_RIGHT,
        3: turn.ROTATE_180,
        4: turn.FLIP_TOP_BOTTOM,
        5: turn.TRANSPOSE,
        6: turn.ROTATE_90,
        7: turn.TRANSVERSE,
        8: turn.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    stored = stored if orientation == 1 else stored.transpose(undo[orientation])
    options: dict[str, Any] = {"WebP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(form, {})
    if form == "TIFF":
        options["tiffinfo"] = {0x0112: orientation}
    else:
        options["exif"] = b"Exif\0\0" + corpus.exif(orientation)
    path = placed(tmp_path, f"a.{form.lower()}", corpus.pillow(stored, form, **options))
    picture = files.read_image(path)
    assert np.abs(picture.pixels.astype(int) - upright).max() <= (3 if form == "JPEG" else 0)
    assert files.size(path) == (24, 40)
    for suffix in (".jpg", ".png", ".webp", ".tif", ".avif"):
        files.write_image(tmp_path / f"b{suffix}", picture)
        again = files.read_image(tmp_path / f"b{suffix}")
        assert again.pixels.shape == upright.shape
        assert Image.open(tmp_path / f"b{suffix}").getexif().get(0x0112, 1) == 1


DEPTHS = [np.uint8, np.uint16]


@pytest.mark.parametrize(("suffix", "lossless"), [(".png", False), (".tif", False), (".webp", True)])
@settings(max_examples=30)
@given(data=st.data())
def test_lossless_round_trip(tmp_path_factory, suffix, lossless, data):
    dtype = np.uint8 if suffix == ".webp" else data.draw(st.sampled_from(DEPTHS))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    channels = 3 if suffix == ".webp" else data.draw(st.sampled_from([1, 3]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = (height, width) if channels == 1 else (height, width, 3)
    pixels = random.integers(0, np.iinfo(dtype).max + 1, shape, dtype=dtype)
    alpha = random.integers(0, np.iinfo(dtype).max + 1, (height, width), dtype=dtype)
    picture = files.Image(pixels=pixels, alpha=alpha if data.draw(st.booleans()) else None)
    path = tmp_path_factory.mktemp("trip") / f"a{suffix}"
    files.write_image(path, picture, lossless=lossless)
    again = files.read_image(path)
    np.testing.assert_array_equal(again.pixels, pixels)
    if picture.alpha is None:
        assert again.alpha is None
    else:
        np.testing.assert_array_equal(again.alpha, alpha)


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (3, 10_000, 3), (10_000, 3), (1, 7, 3)])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_extreme_sizes(tmp_path, shape, suffix):
    pixels = np.full(shape, 77, np.uint8)
    files.write_array(tmp_path / f"a{suffix}", pixels)
    again = files.read_rgb8(tmp_path / f"a{suffix}")
    assert again.shape == (*shape[:2], 3) and np.abs(again.astype(int) - 77).max() <= 1


def test_16_bits_are_rounded(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.floor(ramp / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(decode.uint8_from_uint16(ramp), expected)
    files.write_array(tmp_path / "a.png", ramp)
    np.testing.assert_array_equal(files.read_array(tmp_path / "a.png"), expected)
    files.write_image(tmp_path / "a.webp", files.Image(pixels=np.repeat(ramp[..., None], 3, 2)), lossless=True)
    np.testing.assert_array_equal(files.read_rgb8(tmp_path / "a.webp")[..., 1], expected)
    for name, dtype, words in [("a.jpg", np.uint16, "8 of 16"), ("a.avif", np.uint16, "12 of 16")]:
        assert words in str(encode.depth_warning(name, dtype))
    assert encode.depth_warning("a.png", np.uint16) is None and encode.depth_warning("a.jpg", np.uint8) is None


def test_avif_keeps_12_bits(tmp_path):
    deep = corpus.smooth(3, np.uint16, 64, 64)
    files.write_image(tmp_path / "a.avif", files.Image(pixels=deep), lossless=False, quality=100)
    again = files.read_image(tmp_path / "a.avif").pixels
    assert again.dtype == np.uint16
    assert np.abs(again.astype(int) - deep).mean() < 100  # an 8-bit copy is off by 64 on average before any loss


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".png", ".tif"])
def test_same_image_same_bytes(tmp_path, suffix):
    picture = files.Image(
        pixels=corpus.smooth(3, height=90, width=130),
        metadata=Metadata(icc=corpus.profile(), exif=corpus.exif(), xmp=corpus.XMP),
    )
    said = {"model": "srgan", "scale": "4"}
    first = files.encode_image(picture, suffix, provenance=said)
    assert files.encode_image(picture, suffix, provenance=said) == first
    files.write_image(tmp_path / f"a{suffix}", picture, provenance=said)
    assert (tmp_path / f"a{suffix}").read_bytes() == first


def test_quality(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    picture = files.Image(pixels=pixels)
    with Image.open(io.BytesIO(files.encode_image(picture, ".jpg"))) as image:
        assert image.layer[1][1:3] == (1, 1)  # chroma at full size
    for suffix in (".jpg", ".webp", ".avif"):
        assert len(files.encode_image(picture, suffix, quality=20)) < len(files.encode_image(picture, suffix)) / 2
    with pytest.raises(ImageError, match="from 1 to 100"):
        files.write_image(tmp_path / "a.jpg", picture, quality=0)


def test_image_bytes(tmp_path):
    picture = files.Image(pixels=corpus.smooth(3), metadata=Metadata(exif=corpus.exif()))
    for suffix in files.OUTPUT_SUFFIXES:
        data = files.encode_image(picture, suffix, provenance={"model": "m"})
        path = placed(tmp_path, f"a{suffix}", data)
        buffer = ImageBytes(data=data, name="upload")
        np.testing.assert_array_equal(files.read_image(buffer).pixels, files.read_image(path).pixels)
        assert files.read_image(buffer).metadata == files.read_image(path).metadata
        assert files.size(buffer) == files.size(path)
        assert files.read_provenance(buffer) == {"model": "m"}
    with pytest.raises(ImageError, match="up\\\\nload"):
        files.read_image(ImageBytes(data=b"text", name="up\nload"))


def test_check_target(tmp_path):
    encode.check_target(tmp_path / "a.PNG", height=9, width=9, alpha=True)
    for name, height, width, words in (
        ("a.jpg", 9, 9, "transparency"),
        ("a.webp", 9, 16_384, "side of 16383"),
        ("a.avif", 10_000, 10_000, "takes here"),
        ("a.bmp", 9, 9, "suffix must be one of"),
        ("none/a.png", 9, 9, "there is no folder"),
    ):
        with pytest.raises(ImageError, match=words):
            encode.check_target(tmp_path / name, height=height, width=width, alpha=True)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = placed(tmp_path, "a.png", b"old")
    picture = files.Image(pixels=corpus.smooth(3))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="No space left"):
        files.write_image(path, picture)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_only_the_result_is_flushed_to_disk(tmp_path, monkeypatch):
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    picture = files.Image(pixels=corpus.smooth(3), metadata=Metadata(cicp=bytes([9, 16, 0, 1])))
    files.encode_image(picture, ".png")
    assert not flushed
    files.write_image(tmp_path / "a.png", picture)
    assert len(flushed) == 2  # the file and its folder
    assert files.read_image(tmp_path / "a.png").metadata.cicp == picture.metadata.cicp


def test_pixel_limit(tmp_path):
    files.write_array(tmp_path / "a.png", corpus.smooth(3))
    assert files.size(tmp_path / "a.png", limits=Limits(pixels=corpus.H * corpus.W)) == (corpus.H, corpus.W)
    for act in (files.read_image, files.size, files.read_array, files.read_rgb8):
        with pytest.raises(ImageError, match="17x12, 204 pixels; the limit is 203"):
            act(tmp_path / "a.png", limits=Limits(pixels=203))


def test_time_limit(tmp_path):
    files.write_array(tmp_path / "a.png", np.zeros((4000, 4000), np.uint8))
    with pytest.raises(ImageError, match="takes longer than 0 s"):
        files.read_image(tmp_path / "a.png", limits=Limits(seconds=0.0))


def test_other_loaders_are_blocked(tmp_path):
    files.write_array(tmp_path / "a.png", corpus.smooth(3))
    files.read_image(tmp_path / "a.png")
    for name, text in {
        "a.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "a.csv": "1,2\n3,4\n",
    }.items():
        path = placed(tmp_path, name, text.encode())
        with pytest.raises(ImageError):
            files.read_image(path)
    with pytest.raises(pyvips.Error):
        pyvips.Image.new_from_file(str(tmp_path / "a.svg"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_stays_flat(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (500, 600, 3), dtype=np.uint8)
    damaged = placed(tmp_path, "damaged.png", files.encode_image(files.Image(pixels=pixels), ".png")[:400_000])

    def loop(times: int) -> None:
        for _ in range(times):
            files.write_image(tmp_path / "a.jpg", files.Image(pixels=pixels), provenance={"model": "m"})
            files.read_image(tmp_path / "a.jpg")
            with pytest.raises(ImageError):
                files.read_image(damaged)

    loop(10)
    before = resident_bytes()
    loop(40)
    assert resident_bytes() - before < 15_000_000  # each decoded picture has 0.9 MB


@pytest.mark.parametrize(("depth", "alpha"), list(itertools.product(DEPTHS, [False, True])))
def test_cmyk_becomes_srgb(tmp_path, depth, alpha):
    top = np.iinfo(depth).max
    inks = np.zeros((8, 40, 4 + alpha), depth)
    for i in range(4):
        inks[:, 10 * i : 10 * i + 10, i] = top
    inks[4:, :, :4] = 0
    if alpha:
        inks[..., 4] = top // 3
    extra = {"extrasamples": ["unassalpha"]} if alpha else {}
    path = placed(tmp_path, "a.tif", corpus.tiff(inks, photometric="separated", **extra))
    picture = files.read_image(path)
    assert picture.pixels.dtype == depth and picture.pixels.shape == (8, 40, 3)
    assert picture.metadata.icc is not None and picture.metadata.icc[16:20] == b"RGB "
    assert (picture.pixels[4:] > 0.97 * top).all()  # no ink is paper
    cyan, magenta, yellow, black = (picture.pixels[0, 5 + 10 * i] / top for i in range(4))
    assert cyan.argmin() == 0 and magenta.argmin() == 1 and yellow.argmin() == 2
    assert black.max() < 0.25
    if alpha:
        assert picture.alpha is not None and (picture.alpha == top // 3).all()
    else:
        assert picture.alpha is None


def test_cmyk_with_its_own_profile(tmp_path):
    inks = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    own = bytes(pyvips.Image.profile_load("cmyk"))
    other = bytearray(own)
    tags = {own[at : at + 4]: struct.unpack(">II", own[at + 4 : at + 12]) for at in range(132, 264, 12)}
    start, length = tags[b"A2B1"]  # from inks to colour, relative intent: its middle is the table
    for at in range(start + length // 2, start + length * 3 // 4):
        other[at] ^= 0xFF
    read = {}
    for name, profile in {"none": None, "own": own, "other": bytes(other), "rgb": corpus.profile()}.items():
        options = {} if profile is None else {"iccprofile": profile}
        path = placed(tmp_path, f"{name}.tif", corpus.tiff(inks, photometric="separated", **options))
        read[name] = files.read_image(path).pixels
    np.testing.assert_array_equal(read["own"], read["none"])
    np.testing.assert_array_equal(read["rgb"], read["none"])  # a profile of other inks does not count
    assert (read["other"] != read["own"]).mean() > 0.2


def test_adobe_cmyk_jpeg_is_not_inverted(tmp_path):
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    pixels = files.read_image(placed(tmp_path, "a.jpg", corpus.pillow(white, "JPEG", quality=95))).pixels
    assert pixels.min() > 245


def test_find_images(tmp_path):
    for name in ("b.PNG", "a/c.webp", ".hidden/x.png", "__MACOSX/y.png", ".d.png", "notes.txt", "out/z.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "to-nothing.jpg").symlink_to(tmp_path / "nowhere")
    listed = [str(path.relative_to(tmp_path)) for path in files.find_images(tmp_path, exclude=tmp_path / "out")]
    assert listed == ["a/c.webp", "b.PNG", "to-nothing.jpg"]
    assert len(files.find_images(tmp_path, recursive=False)) == 2
