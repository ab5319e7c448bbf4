"""Formats beside libvips' own, animations, pages and end marks: what is read, what is written, what is said."""

import contextlib
import io
import logging
import struct
import zlib
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin

from srgan.errors import ImageError
from srgan.image import files
from srgan.image.animation import WRITERS, Animation, Frame
from srgan.image.compose import stored_frames
from srgan.image.decode import is_animated, is_lossless, pages
from srgan.image.exif import edited_exif
from srgan.image.files import ImageBytes, Limits, Metadata
from srgan.image.png import png_chunk
from srgan.image.source import DEFAULT_LIMITS, gif_blocks, gif_colours_end
from srgan.image.tiff_tags import append_page
from tests.image import corpus

HEIC = Path(__file__).with_name("waves.heic")
STILLS = [Image.fromarray(corpus.smooth(3, height=12, width=16)[:, :: 1 - 2 * (i % 2)] // (i + 1)) for i in range(3)]


def held(data: bytes, name: str = "a") -> ImageBytes:
    return ImageBytes(data=data, name=name)


def moving(form: str, **options: Any) -> bytes:
    """An animation of the three stills."""
    return corpus.pillow(STILLS[0], form, save_all=True, append_images=STILLS[1:], **options)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic(brand):
    data = HEIC.read_bytes()
    source = held(data[:8] + brand + data[12:])
    y, x = np.mgrid[0:24, 0:32]
    red, green = 120 + 80 * np.sin(x / 5) + 20 * np.cos(y / 3), 100 + 60 * np.sin((x + y) / 7)
    waves = np.stack([red, green, 140 + 70 * np.cos(y / 6)], -1)
    image = files.read_image(source)
    assert np.abs(image.pixels - waves).mean() < 4 and image.metadata.icc is None
    assert files.size(source) == (24, 32)
    with pytest.raises(ImageError, match="the limit is 700"):
        files.size(source, limits=Limits(pixels=700))
    for damaged in (
        data[:600],
        data.replace(b"\xff\xff\xff\xd8\0\0\0\2", b"\xff\xff\xef\xd8\0\0\0\2"),
    ):  # cut, a wrong crop
        with pytest.raises(ImageError, match="damaged or unusual HEIC"):
            files.read_image(held(damaged))


def test_heic_is_turned_once():
    image = files.read_image(HEIC.with_name("turned.heic"))
    assert image.pixels.shape == (24, 32, 3) == (*files.size(HEIC.with_name("turned.heic")), 3)
    assert np.abs(image.pixels.astype(int) - files.read_image(HEIC).pixels).mean() < 6
    assert image.metadata.exif is not None and image.metadata.exif == edited_exif(image.metadata.exif)


def test_bmp_keeps_its_profile():
    profile, data = corpus.profile(), corpus.pillow(STILLS[0], "BMP")
    pixels = data[54:]
    fields = struct.pack("<16x4s48x4I", b"DEBM", 4, 124 + len(pixels), len(profile), 0)
    head = data[:10] + struct.pack("<II", 138, 124) + data[18:54] + fields
    image = files.read_image(held(head + pixels + profile))
    assert image.metadata.icc == profile
    np.testing.assert_array_equal(image.pixels, files.read_image(held(data)).pixels)


def test_an_icon_keeps_what_its_png_holds():
    still = STILLS[0].quantize(16)
    png = corpus.pillow(still, "PNG", icc_profile=corpus.profile(), transparency=3)
    icon = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 12, 0, 0, 1, 32, len(png), 22) + png
    image, expected = files.read_image(held(icon)), files.read_image(held(png))
    assert image.metadata.icc == corpus.profile() and image.alpha is not None
    np.testing.assert_array_equal(image.alpha, expected.alpha)
    np.testing.assert_array_equal(image.pixels, expected.pixels)


def test_jp2_keeps_its_profile_and_says_lost_depth(caplog):
    profile = corpus.profile()
    data = corpus.pillow(STILLS[0], "JPEG2000")
    at = data.index(b"colr") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    box = (11 + len(profile)).to_bytes(4, "big") + b"colr\2\0\0" + profile
    header = data.index(b"jp2h") - 4
    grown = (int.from_bytes(data[header : header + 4], "big") + len(box) - length).to_bytes(4, "big")
    tagged = data[:header] + grown + data[header + 4 : at] + box + data[at + length :]
    assert files.read_image(held(tagged)).metadata.icc == profile
    size = data.index(b"\xff\x4f\xff\x51") + 42
    with caplog.at_level(logging.WARNING):
        files.read_image(held(data))
        assert not caplog.records
        deep = bytearray(data)
        deep[size : size + 9 : 3] = b"\x0b\x0b\x0b"
        files.read_image(held(bytes(deep)))
    assert "8 of its 12 bits" in caplog.text


@pytest.mark.parametrize("lossless", [True, False])
def test_white_and_black_of_a_deep_jpeg2000(lossless):
    """Pillow makes 0 of both. A codestream of three channels, each the one packet of a grey image."""
    grey = np.array([[0, 127, 128, 20_000], [32_768, 65_407, 65_408, 65_535]], np.uint16).repeat(8, 0).repeat(8, 1)
    options = {"no_jp2": True, "num_resolutions": 1, "irreversible": not lossless}
    data = corpus.pillow(Image.fromarray(grey), "JPEG2000", **options)
    size, tile, pixels = data.index(b"\xff\x51"), data.index(b"\xff\x90"), data.index(b"\xff\x93") + 2
    channels = struct.pack(">H", 3) + data[size + 40 : size + 43] * 3
    head = data[: size + 2] + struct.pack(">H", 47) + data[size + 4 : size + 38] + channels + data[size + 43 : tile]
    packets = data[pixels:-2] * 3
    length = struct.pack(">I", pixels - tile + len(packets))
    deep = held(head + data[tile : tile + 6] + length + data[tile + 10 : pixels] + packets + data[-2:])
    if lossless:
        expected = np.minimum((grey.astype(int) + 128) >> 8, 255)
        np.testing.assert_array_equal(files.read_image(deep).pixels, np.dstack([expected] * 3))
        return
    with pytest.raises(ImageError, match="16 bits, of which white"):
        files.read_image(deep)


@pytest.mark.parametrize(
    ("name", "data", "suffix"),
    [
        ("a.JPG", corpus.pillow(STILLS[0], "JPEG"), ".JPG"),
        ("a.gif", corpus.pillow(STILLS[0], "GIF"), ".png"),
        ("a.gif", moving("GIF"), ".webp"),
        ("a.png", moving("PNG"), ".webp"),
        ("a.heic", HEIC.read_bytes(), ".jpg"),
        ("a.heic", corpus.pillow(STILLS[0], "JPEG"), ".jpg"),
        ("a", corpus.pillow(STILLS[0], "GIF"), ".png"),
        ("a.bmp", corpus.pillow(STILLS[0], "BMP"), ".png"),
        ("a.png", b"nonsense", ".png"),
    ],
)
def test_suffix_of_a_result(name, data, suffix):
    assert files.result_suffix(held(data, name)) == suffix


def test_jpeg_without_its_end_mark(caplog):
    for options in ({}, {"progressive": True}, {"exif": b"Exif\0\0" + corpus.exif(), "comment": b"\xff\xd9"}):
        data = corpus.pillow(STILLS[0], "JPEG", **options)
        whole = files.read_image(held(data)).pixels
        files.read_image(held(data + b"a video"))
        assert not caplog.records
        cut = held(data[:-2], "a.jpg")
        assert files.size(cut) == whole.shape[:2] and files.read_provenance(cut) is None
        np.testing.assert_array_equal(files.read_image(cut).pixels, whole)
        assert "a.jpg ends without its end mark; the file may be cut." in caplog.messages
        caplog.clear()


@pytest.mark.parametrize(("form", "length"), [("PNG", 12), ("GIF", 1)])
def test_still_without_its_end_mark(form, length, caplog):
    data = corpus.pillow(STILLS[0].quantize(16), form)
    whole = files.read_image(held(data)).pixels
    assert not caplog.records
    np.testing.assert_array_equal(files.read_image(held(data[:-length])).pixels, whole)
    assert caplog.messages == ["a ends without its end mark; the file may be cut."]
    files.read_image(held(data + bytes(9)))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("form", ["PNG", "GIF", "JPEG", "WebP", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("tail", [b"PK\3\4" + bytes(200), b"\0\0\0\x18ftypmp42" + b"video" * 40, b"\x3b\xff\xd9"])
def test_what_follows_the_image_is_not_read(form, tail, caplog):
    data = corpus.pillow(STILLS[0].quantize(16) if form == "GIF" else STILLS[0], form)
    image = files.read_image(held(data + tail))
    assert image.pixels.tobytes() == files.read_image(held(data)).pixels.tobytes() and not caplog.records


def test_texts_behind_the_end_of_a_png_are_none_of_its_own():
    data = corpus.pillow(STILLS[0], "PNG")
    assert files.read_image(held(data + data[8:33] + corpus.chunk(b"tEXt", b"a\0b"))).metadata == Metadata()


def test_further_images_of_a_jpeg_are_named(caplog):
    first, *others = (still.copy() for still in STILLS)  # Pillow leaves options in those that it writes
    data = corpus.pillow(first, "MPO", save_all=True, append_images=others)
    files.read_image(held(data))
    screen = data.index(b"MPF\0") + 4 + 8 + 2 + 3 * 12 + 4 + 16
    files.read_image(held(data[:screen] + b"\2\0\1\0" + data[screen + 4 :]))  # the second one is a smaller copy
    files.read_image(held(data[: data.index(b"\xff\xd9") + 2]))  # an editor left the index and no more
    assert caplog.messages == [f"a holds {count} images; the first one is read." for count in (3, 2)]


def test_jpeg_without_its_last_pixels():
    data = corpus.pillow(Image.fromarray(corpus.smooth(3, height=96, width=80)), "JPEG", subsampling=0)
    for lost in (4, 5, 10, 20, 60, 200):
        with pytest.raises(ImageError, match=r"its last pixels are missing|damaged"):
            files.read_image(held(data[:-lost]))
        with pytest.raises(ImageError, match="it ends too early"):  # not what was wrong with the last one
            files.read_image(held(b"\x89PNG\r\n\x1a\n"))


@pytest.mark.parametrize("tail", [b"\xff\xd9", b"<html>\xff\xd9", corpus.pillow(STILLS[0], "JPEG")])
def test_jpeg_that_is_cut_before_other_data_is_named(tail, caplog):
    data = corpus.pillow(Image.fromarray(corpus.smooth(3, height=96, width=80)), "JPEG")
    files.read_image(held(data[:-2] + bytes(20) + data[-2:]))  # as some cameras do
    assert not [record for record in caplog.records if record.name == "srgan"]
    files.read_image(held(data[: len(data) // 2] + tail))
    assert "a is damaged (premature end of data segment); some of its pixels may be wrong." in caplog.messages


def test_cut_progressive_jpeg_is_refused_or_named(caplog):
    data = corpus.pillow(Image.fromarray(corpus.smooth(3, height=96, width=80)), "JPEG", progressive=True)
    for lost in range(60, len(data) // 2, 20):
        caplog.clear()
        with contextlib.suppress(ImageError):
            files.read_image(held(data[:-lost]))
        assert "the file may be cut" in caplog.text


@pytest.mark.parametrize("kind", ["TIFF", "BigTIFF"])
def test_thumbnail_pages_do_not_count(kind):
    thumbnail, tags = Image.new("RGB", (4, 3)), TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    thumbnail.encoderinfo = {"tiffinfo": tags}
    options: dict[str, Any] = {"save_all": True, "big_tiff": kind == "BigTIFF"}
    with pytest.raises(ImageError, match="nothing but a thumbnail"):
        files.read_image(held(corpus.pillow(thumbnail, "TIFF", tiffinfo=tags)))
    two = held(corpus.pillow(STILLS[0], "TIFF", append_images=[thumbnail], **options))
    assert pages(two, DEFAULT_LIMITS) == [0]
    np.testing.assert_array_equal(files.read_image(two).pixels, np.asarray(STILLS[0]))
    assert pages(held(corpus.pillow(STILLS[0], "TIFF", append_images=STILLS[1:], **options)), DEFAULT_LIMITS) == [
        0,
        1,
        2,
    ]


def test_pages_are_appended(tmp_path):
    arrays = [corpus.smooth(3), corpus.smooth(1, np.uint16)[..., 0], corpus.smooth(3, height=200, width=300)]
    for number, array in enumerate(arrays):
        metadata = Metadata(icc=None if array.ndim == 2 else corpus.profile(), exif=corpus.exif())
        files.write_image(tmp_path / f"{number}.tif", files.Image(pixels=array, metadata=metadata))
        if number:
            append_page(tmp_path / "0.tif", tmp_path / f"{number}.tif")
    with Image.open(tmp_path / "0.tif") as image:
        for number, array in enumerate(arrays):
            image.seek(number)
            np.testing.assert_array_equal(np.asarray(image), array)
            assert image.getexif()[0x010E] == "a picture"


@pytest.mark.parametrize("form", ["GIF", "WebP", "PNG", "AVIF"])
def test_animations_are_read(form):
    options: dict[str, Any] = {"WebP": {"lossless": True, "loop": 2}, "GIF": {"loop": 2}, "PNG": {"loop": 2}}.get(
        form, {}
    )
    source = held(moving(form, duration=[40, 80, 120], **options))
    assert is_animated(source, DEFAULT_LIMITS)
    animation = Animation(source)
    frames = list(animation)
    assert animation.count == 3 == len(frames) and [frame.milliseconds for frame in frames] == [40, 80, 120]
    assert animation.plays == {"GIF": 3, "AVIF": 0}.get(form, 2)  # a GIF counts repetitions
    for frame, still in zip(frames, STILLS, strict=True):
        assert frame.alpha is None and np.abs(frame.pixels - np.asarray(still).astype(int)).mean() < 10
    with pytest.raises(ImageError, match="several pages or frames"):
        files.read_image(source)
    assert files.size(source) == (12, 16)
    with pytest.raises(ImageError, match="the limit is"):
        Animation(source, Limits(pixels=100))


@pytest.mark.parametrize("form", ["WebP", "PNG"])
def test_frames_are_turned_upright(form):
    options: dict[str, Any] = {"exif": b"Exif\0\0" + corpus.exif(6)} | ({"lossless": True} if form == "WebP" else {})
    animation = Animation(held(moving(form, **options)))
    assert (animation.height, animation.width) == (16, 12)
    for frame, still in zip(animation, STILLS, strict=True):
        np.testing.assert_array_equal(frame.pixels, np.rot90(np.asarray(still), -1))


def test_a_webp_is_transparent_where_no_frame_is():
    """Whatever its header says."""
    frames = [Image.new("RGBA", (16, 12)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((200, 0, 0, 255), (2 + number, 2, 8 + number, 8))
    data = bytearray(corpus.pillow(frames[0], "WebP", save_all=True, append_images=frames[1:], lossless=True))
    data[20] &= 0xEF
    for frame, expected in zip(Animation(held(bytes(data))), frames, strict=True):
        np.testing.assert_array_equal(frame.alpha, np.asarray(expected)[..., 3])


def test_stand_in_image_of_a_png_is_no_frame():
    data = moving("PNG", default_image=True)
    frames = list(Animation(held(data)))
    assert [frame.pixels.tobytes() for frame in frames] == [still.tobytes() for still in STILLS[1:]]


@pytest.mark.parametrize("stand_in", [False, True])
def test_png_of_one_frame_is_a_still_if_the_frame_is_its_image(stand_in):
    data = moving("PNG", default_image=stand_in)
    at = data.index(b"acTL") + 4
    one = data[:at] + b"\0\0\0\1" + data[at + 4 :]
    one = one[: at + 8] + zlib.crc32(one[at - 4 : at + 8]).to_bytes(4, "big") + one[at + 12 :]
    assert is_animated(held(data), DEFAULT_LIMITS) and is_animated(held(one), DEFAULT_LIMITS) == stand_in
    if not stand_in:
        assert files.read_image(held(one)).pixels.tobytes() == STILLS[0].tobytes()


def test_alpha_that_is_zero_everywhere_in_a_tga_is_none():
    values = np.dstack([np.asarray(STILLS[0]), np.zeros((12, 16), np.uint8)])
    image = files.read_image(held(corpus.pillow(Image.fromarray(values), "TGA"), "a.tga"))
    assert image.alpha is None and image.pixels.tobytes() == STILLS[0].tobytes()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("rle", [False, True])
def test_a_tga_needs_no_name(mode, rle):
    still = STILLS[0].convert(mode)
    image = files.read_image(held(corpus.pillow(still, "TGA", compression="tga_rle" if rle else None), "stdin"))
    np.testing.assert_array_equal(image.pixels, np.asarray(still.convert("L" if mode == "L" else "RGB")))
    for start in (b"\0\0\2\0\1\0", b"\0\1\0\0\0\x0e", b"ID3\4\0\0"):  # a cursor, a font, a song
        with pytest.raises(ImageError, match="is no image"):
            files.read_image(held(start + bytes(range(64)), "stdin"))


def test_jp2_keeps_its_exif_and_iptc():
    boxes = [
        (b"JpgTiffExif->JP2", corpus.exif()),
        (bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"), b"\x1c\2\x50\0\1a"),
    ]
    data = corpus.pillow(STILLS[0], "JPEG2000")
    for uuid, body in boxes:
        data += struct.pack(">I", 24 + len(body)) + b"uuid" + uuid + body
    metadata = files.read_image(held(data)).metadata
    assert metadata.iptc == b"\x1c\2\x50\0\1a" and metadata.exif is not None and b"a picture" in metadata.exif


def test_cmyk_of_a_psd_is_converted_as_that_of_a_tiff():
    cmyk = STILLS[0].convert("CMYK")
    header = b"8BPS" + struct.pack(">H6xHIIHHIIIH", 1, 4, 12, 16, 8, 4, 0, 0, 0, 0)
    data = header + (255 - np.asarray(cmyk).transpose(2, 0, 1)).tobytes()
    expected = files.read_image(held(corpus.pillow(cmyk, "TIFF"))).pixels
    np.testing.assert_array_equal(files.read_image(held(data)).pixels, expected)


@pytest.mark.parametrize("photometric", ["icclab", "cielab"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_with_alpha_is_read(dtype, photometric):
    array, alpha = corpus.smooth(3, height=12, width=16), np.eye(12, 16, dtype=dtype) * np.iinfo(dtype).max
    array[:2] = 255
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    values = np.asarray(ImageCms.applyTransform(Image.fromarray(array), lab)).astype(dtype) << np.iinfo(dtype).bits - 8
    if photometric == "icclab":
        values[..., 1:] ^= 1 << np.iinfo(dtype).bits - 1
    elif dtype == np.uint16:
        values[..., 0] += values[..., 0] >> 8  # full range
    file = io.BytesIO()
    tifffile.imwrite(file, np.dstack([values, alpha]), photometric=photometric, extrasamples=["unassalpha"])
    image = files.read_image(held(file.getvalue()))
    assert image.pixels.dtype == np.uint16 and image.alpha is not None
    np.testing.assert_array_equal(image.alpha > 0, np.eye(12, 16))
    assert np.abs(image.pixels / 257 - array).max() < 8  # Lab's steps are coarse
    assert image.pixels[0].min() > 254 * 257


def test_tiff_in_ycbcr_is_read():
    array, file = corpus.smooth(3, height=12, width=16), io.BytesIO()
    values = np.asarray(Image.fromarray(array).convert("YCbCr"))
    tifffile.imwrite(file, values, photometric="ycbcr", subsampling=(1, 1), compression="zlib")
    assert np.abs(files.read_image(held(file.getvalue())).pixels.astype(int) - array).max() < 4


def test_lab_of_8_bits_is_read():
    array = corpus.smooth(3, height=12, width=16)
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    first = ImageCms.applyTransform(Image.fromarray(array), lab)
    source = held(
        corpus.pillow(first, "TIFF", save_all=True, append_images=[Image.fromarray(array)], tiffinfo={274: 3})
    )
    assert pages(source, DEFAULT_LIMITS) == [0, 1]
    image = files.read_image(source, page=0)
    assert image.pixels.dtype == np.uint16 and image.metadata.icc is None
    assert np.abs(image.pixels[::-1, ::-1] / 257 - array).max() < 8  # Lab's steps are coarse


@pytest.mark.parametrize("cut", [0.5, 0.95])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", [{"tile": (16, 16)}, {"rowsperstrip": 8}])
@pytest.mark.parametrize("wrong", [None, 274, 296])
def test_tiff_that_lacks_pixels_is_refused_and_wrong_tags_are_passed_over(cut, compression, layout, wrong):
    array = corpus.smooth(3, height=64, width=64)
    data = corpus.tiff(array, compression=compression, extratags=[(274, "H", 1, 1, True)], **layout)
    if wrong:  # orientation or unit
        at = data.index(struct.pack("<HHI", wrong, 3, 1)) + 8
        data = data[:at] + bytes(2) + data[at + 2 :]
    np.testing.assert_array_equal(files.read_image(held(data)).pixels, array)
    with pytest.raises(ImageError, match="a is damaged"):
        files.read_image(held(data[: int(cut * len(data))]))


def test_tiff_with_tiles_of_one_channel_each():
    file, array = io.BytesIO(), corpus.smooth(3, height=40, width=50)
    tifffile.imwrite(file, array.transpose(2, 0, 1), tile=(16, 16), planarconfig="separate", photometric="rgb")
    np.testing.assert_array_equal(files.read_image(held(file.getvalue())).pixels, array)


def test_the_place_on_a_map_is_said_to_be_lost(caplog):
    file = io.BytesIO()
    scale = (33550, "d", 3, (0.5, 0.5, 0.0), True)
    tifffile.imwrite(file, corpus.smooth(3, height=8, width=8), photometric="rgb", extratags=[scale])
    files.read_image(held(file.getvalue()))
    assert [record.message for record in caplog.records] == ["a: the place on a map (GeoTIFF) is left out."]


@pytest.mark.parametrize("plays", [0, 1, 5])
@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_animations_are_written(tmp_path, suffix, plays):
    hard = np.where(np.arange(16) < 8, 0, 255).astype(np.uint8) * np.ones((12, 1), np.uint8)
    metadata = Metadata(
        icc=corpus.profile() if suffix == ".webp" else None,
        xmp=corpus.XMP,
        comments=(b"hello",) if suffix == ".gif" else (),
    )
    path, form = tmp_path / f"a{suffix}", {"quality": None, "lossless": True}
    writer = WRITERS[suffix](path, name=path, height=12, width=16, plays=plays, metadata=metadata, **form)
    arrays = [np.asarray(still) for still in STILLS]
    for number, alpha in enumerate([None, hard, None]):
        assert (
            writer.add(Frame(pixels=arrays[number], alpha=alpha, milliseconds=50 + number * 50), {"model": "m"})
            == number
        )
    writer.repeat(1, 300)
    writer.finish()
    assert files.read_provenance(tmp_path / f"a{suffix}") == {"model": "m"}
    animation = Animation(tmp_path / f"a{suffix}")
    assert (animation.plays, animation.count) == (plays, 4)
    assert animation.metadata.icc == metadata.icc and b"image/png" in (animation.metadata.xmp or b"")
    assert animation.metadata.comments == metadata.comments
    for frame, number, time in zip(animation, [0, 1, 2, 1], [50, 100, 150, 300], strict=True):
        visible = frame.pixels if number != 1 else frame.pixels[:, 8:]
        expected = arrays[number] if number != 1 else arrays[number][:, 8:]
        assert np.abs(visible.astype(int) - expected).mean() <= (0 if suffix == ".webp" else 8)
        assert frame.milliseconds == time and (frame.alpha is None) == (number != 1)
        if frame.alpha is not None:
            np.testing.assert_array_equal(frame.alpha, hard)


def test_what_was_stored_without_loss():
    for form, options, expected in [
        ("PNG", {}, True),
        ("JPEG", {}, False),
        ("WebP", {}, False),
        ("WebP", {"lossless": True}, True),
        ("WebP", {"lossless": True, "icc_profile": corpus.profile()}, True),
        ("WebP", {"lossless": True, "save_all": True, "append_images": STILLS[1:]}, True),
        ("WebP", {"save_all": True, "append_images": STILLS[1:]}, False),
    ]:
        assert is_lossless(held(corpus.pillow(STILLS[0], form, **options))) == expected


def test_gif_is_close():
    stream = io.BytesIO(files.encode_image(files.Image(pixels=corpus.smooth(3)), ".gif"))
    assert np.abs(np.asarray(Image.open(stream).convert("RGB")).astype(int) - corpus.smooth(3)).mean() < 12


RED, BLUE = np.full((4, 6, 3), (255, 0, 0), np.uint8), np.full((2, 3, 3), (0, 0, 255), np.uint8)


def gif(*frames: tuple[bytes, int, int, int]) -> bytes:
    """A GIF of stills, each with its left, top and disposal, on the first one's canvas."""
    data = frames[0][0][:10] + b"\0\0\0"
    for still, left, top, disposal in frames:
        colours, (at, *_) = (
            gif_colours_end(still),
            [start - 1 for kind, start, _ in gif_blocks(io.BytesIO(still)) if kind == b"\x2c"],
        )
        data += b"\x21\xf9\4" + bytes([disposal << 2, 5, 0, 0, 0]) + b"\x2c" + struct.pack("<HH", left, top)
        data += still[at + 5 : at + 9] + bytes([0x80 | still[10] & 7]) + still[13:colours] + still[at + 10 : -1]
    return data + b"\x3b"


def test_gif_is_composed_as_in_browsers():
    red, blue = (corpus.pillow(Image.fromarray(array), "GIF") for array in (RED, BLUE))
    source = held(gif((red, 0, 0, 0), (blue, 3, 1, 2), (blue, 0, 0, 3), (blue, 5, 3, 0)), "a.gif")
    frames = list(Animation(source))
    assert [frame.milliseconds for frame in frames] == [50] * 4
    expected = np.dstack([RED, np.full((4, 6), 255, np.uint8)])
    for frame, (left, top) in zip(frames, [(6, 4), (3, 1), (0, 0), (5, 3)], strict=True):
        shown = expected.copy()
        shown[top : top + 2, left : left + 3, :3] = (0, 0, 255)  # cut at the edge
        shown[top : top + 2, left : left + 3, 3] = 255
        alpha = np.full((4, 6), 255) if frame.alpha is None else frame.alpha
        np.testing.assert_array_equal(alpha, shown[..., 3])
        np.testing.assert_array_equal(frame.pixels[alpha > 0], shown[..., :3][alpha > 0])
        if (left, top) == (3, 1):
            expected[1:3, 3:6, 3] = 0  # cleared: transparent, whatever the background colour is


@pytest.mark.parametrize(("screen", "left"), [((9, 7), 2), ((6, 4), 0), ((5, 3), 0), ((0, 0), 0)])
def test_gif_is_transparent_around_its_frame(screen, left):
    data = gif((corpus.pillow(Image.fromarray(RED), "GIF"), left, 1 if left else 0, 0))
    image = files.read_image(held(data[:6] + struct.pack("<HH", *screen) + data[10:]))
    assert (image.alpha is None) == (left == 0) and image.pixels.max() == 255
    if image.alpha is not None:
        expected = np.zeros((7, 9), np.uint8)
        expected[1:5, 2:8] = 255
        np.testing.assert_array_equal(image.alpha, expected)
        np.testing.assert_array_equal(image.pixels[expected > 0], RED.reshape(-1, 3))


@pytest.mark.parametrize("blend", [0, 1])
def test_png_is_composed_as_in_browsers(blend):
    half = np.dstack([BLUE, np.full(BLUE.shape[:2], 128, np.uint8)])
    stills = [corpus.pillow(Image.fromarray(array), "PNG") for array in (np.dstack([RED, RED[..., 0]]), half)]
    bodies = [png_chunk(b"IDAT", still[still.index(b"IDAT") + 4 : -16]) for still in stills]
    control = [
        struct.pack(">IIIIIHHBB", *row) for row in [(0, 6, 4, 0, 0, 3, 0, 0, 0), (1, 3, 2, 1, 1, 1, 8, 0, blend)]
    ]
    second = png_chunk(b"fdAT", b"\0\0\0\2" + bodies[1][8:-4])
    head = stills[0][:33] + png_chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 3])) + png_chunk(b"fcTL", control[0])
    data = head + bodies[0] + png_chunk(b"fcTL", control[1]) + second + png_chunk(b"IEND", b"")
    animation = Animation(held(data, "a.png"))
    first, last = animation
    assert (animation.plays, first.milliseconds, last.milliseconds) == (3, 30, 125)
    assert first.alpha is None and first.pixels.tobytes() == RED.tobytes()
    assert (last.alpha is None) == bool(blend)
    assert last.pixels[1, 1].tolist() == ([127, 0, 128] if blend else [0, 0, 255])
    outside = data.replace(control[1], control[1][:15] + b"\x04" + control[1][16:])
    with pytest.raises(ImageError, match="outside of the image"):
        list(Animation(held(outside, "a.png")))


@pytest.mark.parametrize("control", range(4))
def test_webp_is_composed_as_pillow_does(control):
    half = np.dstack([BLUE, np.full(BLUE.shape[:2], 128, np.uint8)])
    data = b"VP8X\x0a\0\0\0\x12\0\0\0\5\0\0\3\0\0ANIM\6\0\0\0\0\0\0\0\7\0"
    for array, left, top, delay in ((RED, 0, 0, 30), (half, 2, 2, 125), (half, 0, 2, 40)):
        still = corpus.pillow(Image.fromarray(array), "WebP", lossless=True, exact=True)[12:]
        numbers = left // 2, top // 2, array.shape[1] - 1, array.shape[0] - 1, delay
        head = b"".join(number.to_bytes(3, "little") for number in numbers) + bytes([control])
        data += b"ANMF" + struct.pack("<I", 16 + len(still)) + head + still
    file = b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data
    animation = Animation(held(file, "a.webp"))
    assert animation.plays == 7
    with Image.open(io.BytesIO(file)) as image:
        for number, frame in enumerate(animation):
            image.seek(number)
            expected = np.asarray(image.convert("RGBA")).astype(int)
            alpha = np.full((4, 6), 255) if frame.alpha is None else frame.alpha
            assert np.abs(alpha - expected[..., 3]).max() <= 1 and frame.milliseconds == image.info["duration"]
            assert np.abs(frame.pixels - expected[..., :3])[alpha > 0].max() <= 1


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_cut_animation_is_named(form, caplog):
    """And its last frame is left out where it is not whole."""
    data = moving(form)
    whole = [frame.pixels.tobytes() for frame in Animation(held(data))]
    assert len(whole) == 3 and not caplog.records
    for lost in range(1, len(data) // 2, 9):
        caplog.clear()
        frames = [frame.pixels.tobytes() for frame in Animation(held(data[:-lost]))]
        assert frames == whole[: len(frames)] and len(frames) >= 1
        assert lost < 5 or "the file may be cut" in caplog.text or form == "GIF"


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_no_frame_is_lost_with_the_end_mark(form, caplog):
    data = moving(form)
    whole = [frame.pixels.tobytes() for frame in Animation(held(data))]
    cut = Animation(held(data[: -12 if form == "PNG" else -1]))
    assert [frame.pixels.tobytes() for frame in cut] == whole and "the file may be cut" in caplog.text


def test_plays_are_not_read_out_of_a_comment():
    data = moving("PNG", loop=2)
    comment = corpus.chunk(b"tEXt", b"Comment\0acTL\0\0\0\1\0\0\0\7")
    assert Animation(held(data[:33] + comment + data[33:])).plays == 2


def test_a_frame_of_many_chunks_costs_little():
    chunks = png_chunk(b"fcTL", bytes(26)) + png_chunk(b"fdAT", bytes(104)) * 60_000
    start = process_time()
    assert len(list(stored_frames(io.BytesIO(bytes(8) + chunks + png_chunk(b"IEND", b"")), "PNG"))) == 1
    assert process_time() - start < 1


def test_transparent_frames_of_a_gif_follow_opaque_ones(tmp_path):
    path = tmp_path / "a.gif"
    options: dict[str, Any] = {"plays": 0, "metadata": Metadata(), "quality": None, "lossless": False}
    writer = WRITERS[".gif"](path, name=path, height=12, width=16, **options)
    writer.add(Frame(pixels=np.asarray(STILLS[0]), alpha=None, milliseconds=50))
    writer.add(Frame(pixels=np.asarray(STILLS[1]), alpha=np.eye(12, 16, dtype=np.uint8) * 255, milliseconds=50))
    writer.finish()
    with Image.open(path) as image:
        assert (np.asarray(image.convert("RGBA"))[..., 3] == 255).all()
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA"))[..., 3] > 0, np.eye(12, 16))


def test_deep_frames_are_named(caplog):
    deep = corpus.png(corpus.smooth(3, np.uint16), 2)
    data = deep[:33] + png_chunk(b"acTL", bytes([0, 0, 0, 2, 0, 0, 0, 0])) + png_chunk(b"fcTL", bytes(26)) + deep[33:]
    assert Animation(held(data)).count == 1
    assert caplog.messages == ["a: 8 of its frames' 16 bits are read."]


def test_depth_that_pillow_drops_is_named(caplog):
    planes = np.moveaxis(corpus.smooth(3, np.uint16, 20, 30), 2, 0)
    sgi = b"\x01\xda\0\2" + struct.pack(">4H", 3, 30, 20, 3) + bytes(500) + planes.astype(">u2").tobytes()
    tiff = corpus.tiff(planes, photometric="rgb", planarconfig="separate", tile=(16, 16))
    for data in (sgi, tiff):
        assert files.read_image(held(data)).pixels.dtype == np.uint8
    assert caplog.messages == ["a: 8 of its 16 bits are read."] * 2


def test_a_still_gif_is_no_loop():
    assert b"NETSCAPE" not in files.encode_image(files.Image(pixels=corpus.smooth(3)), ".gif")


@pytest.mark.parametrize(
    ("colours", "extra", "kept"),
    [
        (3, ["unassalpha", "unspecified"], 4),
        (3, ["unspecified", "unspecified"], 3),
        (3, ["unspecified"], 3),
        (1, ["unspecified"], 1),
    ],
)
def test_channels_beyond_the_colours_are_named(colours, extra, kept, caplog):
    channels = np.dstack([corpus.smooth(4), corpus.smooth(3)[..., 0]])[..., : colours + len(extra)]
    photometric = {3: "rgb", 1: "minisblack"}[colours]
    data = corpus.tiff(channels, photometric=photometric, extrasamples=extra, planarconfig="contig")
    image = files.read_image(held(data))
    np.testing.assert_array_equal(np.atleast_3d(image.pixels), channels[..., :colours])
    assert (image.alpha is not None) == (kept > colours)
    assert caplog.messages == [f"a: {kept} of its {colours + len(extra)} channels are read."]


@pytest.mark.parametrize("profile", [corpus.grey_profile(1.0), b"broken"])
def test_grey_frames_come_through_their_profile(profile):
    """Linear light becomes sRGB, since the frames of an animation are colour."""
    grey = Image.fromarray(np.full((9, 12), 55, np.uint8))
    options = {"save_all": True, "append_images": [grey.rotate(180), Image.new("L", (12, 9))], "icc_profile": profile}
    first = next(iter(Animation(held(corpus.pillow(grey, "PNG", **options)))))
    np.testing.assert_allclose(first.pixels, 55 if profile == b"broken" else 128, atol=1)
