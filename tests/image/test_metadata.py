"""Metadata from file to file: ICC, EXIF, XMP, IPTC, density, text, provenance; what is lost is said."""

import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from srgan.errors import ImageError
from srgan.image import files
from srgan.image.exif import edited_exif
from srgan.image.files import ImageBytes, Metadata
from srgan.image.metadata import sound_profile
from srgan.image.xmp import provenance_in, with_provenance
from tests.image import corpus

SUFFIXES = [".png", ".jpg", ".webp", ".tif", ".avif"]
PIXELS = corpus.smooth(3)


def written(folder: Path, suffix: str, metadata: Metadata) -> Path:
    files.write_image(folder / f"a{suffix}", files.Image(pixels=PIXELS, metadata=metadata))
    return folder / f"a{suffix}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_icc_and_xmp_are_kept_byte_for_byte(tmp_path, suffix):
    metadata = Metadata(icc=corpus.profile(), xmp=corpus.XMP)
    path = written(tmp_path, suffix, metadata)
    kept = files.read_image(path).metadata
    assert (kept.icc, kept.xmp) == (metadata.icc, metadata.xmp)
    assert Image.open(path).info["icc_profile"] == corpus.profile()


def test_exif_survives_a_chain_of_all_formats(tmp_path):
    metadata = Metadata(exif=corpus.exif().replace(b"a picture", "ein B\u00fcld".encode()[:9]))
    for number, suffix in enumerate([*SUFFIXES, ".tif", ".jpg", ".avif", ".webp", ".png"]):
        path = tmp_path / f"{number}{suffix}"
        files.write_image(path, files.Image(pixels=PIXELS, metadata=metadata))
        metadata = files.read_image(path).metadata
        block = Image.open(path).getexif()
        inner = block.get_ifd(0x8769)
        assert metadata.exif is not None and "ein B\u00fcld".encode()[:9] + b"\0" in metadata.exif
        assert (block[0x8298], block.get(0x0112, 1)) == ("nobody", 1)
        assert inner[0x9003] == "2020:01:01 00:00:00" and inner[0x927C] == b"maker's note \0\1\2"
        assert float(inner[0x829A]) == 1 / 125
        # The size in pixels is the new one, or is not there.
        assert {inner.get(0xA002, corpus.W), inner.get(0xA003, corpus.H)} == {corpus.W, corpus.H}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_kept_whole(tmp_path, suffix, order):
    block = Image.Exif()
    block.endian = order
    block[0x4746], block[0x010E], block[0x0112] = 4, "a" * 3000, 1  # stars, which libexif does not know
    block.get_ifd(0x8769).update({0x9400: 21, 0xA001: 65535, 0x9003: "2020:01:02 03:04:05"})  # temperature
    block.get_ifd(0x8825)[1] = "N"
    source = Metadata(exif=edited_exif(block.tobytes()), icc=corpus.profile(), xmp=corpus.XMP, density=(10.0, 10.0))
    with Image.open(written(tmp_path, suffix, source)) as image:
        image.load()
        kept = image.getexif()
        assert {tag: kept[tag] for tag in (0x4746, 0x010E)} == {0x4746: 4, 0x010E: "a" * 3000}
        assert kept.get_ifd(0x8769) == block.get_ifd(0x8769) and kept.get_ifd(0x8825)[1] == "N"
    if suffix != ".tif":
        exif = files.read_image(tmp_path / f"a{suffix}").metadata.exif
        assert exif is not None and source.exif is not None and exif.startswith(source.exif)


@pytest.mark.parametrize("form", [{"byteorder": ">"}, {"bigtiff": True}, {"byteorder": ">", "bigtiff": True}])
def test_tags_of_every_tiff_are_kept(tmp_path, form):
    options = {"photometric": "rgb", "description": "a picture", "metadata": None, **form}
    path = tmp_path / "a.tif"
    path.write_bytes(corpus.tiff(PIXELS, extratags=[(0x013B, "s", 0, "somebody", True)], **options))
    for suffix in SUFFIXES:
        files.write_image(tmp_path / f"b{suffix}", files.read_image(path))
        block = Image.open(tmp_path / f"b{suffix}").getexif()
        assert (block[0x010E], block[0x013B]) == ("a picture", "somebody")


@pytest.mark.parametrize("exif", [None, corpus.exif()])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_density_is_kept(tmp_path, suffix, exif):
    path = written(tmp_path, suffix, Metadata(density=(11.811, 5.9055), exif=exif))
    assert Image.open(path).info["dpi"][0] == pytest.approx(300, abs=0.1)
    assert files.read_image(path).metadata.density == pytest.approx((11.811, 5.9055), rel=1e-3)


@pytest.mark.parametrize("text", [None, corpus.chunk(b"tEXt", b"Title\0a")])
def test_unknown_density_stays_unknown(text, tmp_path):
    path = written(tmp_path, ".png", Metadata(png_text=text))
    assert files.read_image(path).metadata.density is None and b"pHYs" not in path.read_bytes()
    with Image.open(path) as image:
        image.load()
        assert image.info == ({} if text is None else {"Title": "a"})


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
@pytest.mark.parametrize(("stated", "kept"), [(None, 1), (65535, 65535), (2, 2)])
def test_no_colours_are_called_uncalibrated(tmp_path, suffix, stated, kept):
    for order in ("<", ">"):
        exif = Image.Exif()
        exif.endian = order
        exif.get_ifd(0x8769).update({0x9003: "2020:01:02 03:04:05"} | ({0xA001: stated} if stated else {}))
        exif.get_ifd(0x8825)[1] = "N"
        path = written(tmp_path, suffix, Metadata(exif=exif.tobytes()[6:]))
        block = Image.open(path).getexif()
        assert (block.get_ifd(0x8769).get(0xA001, 1), block.get_ifd(0x8769)[0x9003]) == (kept, "2020:01:02 03:04:05")
        assert block.get_ifd(0x8825)[1] == "N"


def test_ratio_of_a_pixel_s_sides_is_no_density(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, resolution_unit=1, x_resolution=2, y_resolution=1)
    assert files.read_image(path).metadata.density is None


def test_exif_without_its_thumbnail_and_upright():
    def block(orientation: int, next_directory: int) -> bytes:
        entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
        return b"II*\0\x08\0\0\0\x01\0" + entry + struct.pack("<I", next_directory)

    assert edited_exif(block(6, 26)) == block(1, 0)
    assert edited_exif(b"Exif\0\0" + block(3, 26)) == block(1, 0)
    for damaged in (b"garbage", b"II*\0\xff\xff\xff\x7f", block(6, 26)[:-4]):
        assert edited_exif(damaged) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_only_the_thumbnail_is_wiped_out_of_exif(order):
    def block(link: int, count: int) -> bytes:
        """The main directory at 8, at 26 one of `count` strips, at 56 the numbers of both, at 72 a text of the main one."""
        main = struct.pack(f"{order}HHHIII", 1, 0x010E, 2, 12, 72, link)
        length = 16 if count == 1 else 64
        strips = struct.pack(f"{order}HHHIIHHIII", 2, 0x0111, 4, count, 56, 0x0117, 4, count, length, 0)
        start = b"II*\0" if order == "<" else b"MM\0*"
        return start + struct.pack(f"{order}I", 8) + main + strips + b"n" * 16 + b"a long text\0" + b"more" * 20

    for link, count in ((26, 1), (26, 2), (8, 1), (10, 1)):
        wiped, kept = edited_exif(block(link, count)), block(0, count)
        assert wiped is not None and wiped[:26] == kept[:26] and wiped[72:] == kept[72:]
        assert any(wiped[26:56]) == (link != 26) and any(wiped[56:72]) == (link != 26 or count > 1)


def test_exif_and_xmp_behind_the_pixels_of_a_png(tmp_path):
    plain, turned = corpus.pillow(Image.fromarray(PIXELS), "PNG"), np.rot90(PIXELS, -1)
    chunks = corpus.chunk(b"eXIf", corpus.exif(6)) + corpus.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + corpus.XMP)
    image = files.read_image(ImageBytes(data=plain[:-12] + chunks + plain[-12:], name="a.png"))
    np.testing.assert_array_equal(image.pixels, turned)
    assert image.metadata.exif == edited_exif(corpus.exif(6)) and image.metadata.xmp == corpus.XMP


@pytest.mark.parametrize(("kind", "head"), [(b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0en\0\0")])
def test_text_that_unpacks_to_gigabytes_is_refused(kind, head):
    plain = corpus.pillow(Image.fromarray(PIXELS), "PNG")
    chunk = corpus.chunk(kind, head + zlib.compress(bytes(1 << 24)))
    files.read_image(ImageBytes(data=plain[:33] + 3 * chunk + plain[33:], name="a.png"))
    with pytest.raises(ImageError, match="has text that unpacks to more than 64 MB"):
        files.read_image(ImageBytes(data=plain[:33] + 5 * chunk + plain[33:], name="a.png"))


def test_the_thumbnail_of_a_jpeg_is_dropped(tmp_path):
    # libvips writes a thumbnail that it is handed as a field.
    image = pyvips.Image.black(64, 48, bands=3).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "exif-data", b"Exif\0\0" + corpus.exif())
    thumbnail = corpus.pillow(Image.new("RGB", (8, 8)), "JPEG")
    image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", thumbnail)
    data = image.jpegsave_buffer()
    assert thumbnail in data
    picture = files.read_image(ImageBytes(data=data, name="a.jpg"))
    for suffix in SUFFIXES:
        assert thumbnail not in written(tmp_path, suffix, picture.metadata).read_bytes()


def test_png_text_goes_from_png_to_png_byte_for_byte(tmp_path, caplog):
    text = PngImagePlugin.PngInfo()
    text.add_text("Latin", "caf\u00e9")
    text.add_itxt("Author", "Zo\u00eb \u6f22", "de", "Autor")
    text.add_text("Long", "x" * 3000, zip=True)
    text.add_itxt("XML:com.adobe.xmp", corpus.XMP.decode())
    text.add_text("Raw profile type exif", "\nexif\n 4\n00000000\n")  # ImageMagick's
    text.add_text("Raw profile type icc", "\nicc\n 4\n00000000\n")
    data = corpus.pillow(Image.fromarray(PIXELS), "PNG", pnginfo=text)
    data = data[:-12] + corpus.chunk(b"tEXt", b"After\0the pixels") + data[-12:]
    metadata = files.read_image(ImageBytes(data=data, name="a.png")).metadata
    assert metadata.xmp == corpus.XMP
    copy = Image.open(written(tmp_path, ".png", metadata))
    assert isinstance(copy, PngImagePlugin.PngImageFile)
    del copy.text["XML:com.adobe.xmp"], copy.text["Raw profile type exif"]
    assert copy.text == {"Latin": "caf\u00e9", "Long": "x" * 3000, "Author": "Zo\u00eb \u6f22", "After": "the pixels"}
    assert not caplog.records
    written(tmp_path, ".jpg", metadata)
    assert "a.jpg: this JPEG cannot hold the image's PNG text." in caplog.text


def test_comments_go_to_jpeg_gif_and_png(tmp_path, caplog):
    data = corpus.pillow(Image.fromarray(PIXELS), "JPEG", comment="Zo\u00eb".encode(), exif=corpus.exif(6))
    for exif, fill in ((None, b""), (corpus.exif(), b"\xff\xff")):
        filled = data.replace(b"\xff\xfe", fill + b"\xff\xfe")
        metadata = files.read_image(ImageBytes(data=filled, name="a.jpg")).metadata
        copy = Image.open(written(tmp_path, ".jpg", Metadata(exif=exif, comments=metadata.comments)))
        assert (copy.info["comment"] == "Zo\u00eb".encode() and len(copy.getexif()) > 0) or exif is None
    gif = corpus.pillow(Image.fromarray(PIXELS), "GIF", comment=b"hello")
    copy = Image.open(written(tmp_path, ".jpg", files.read_image(ImageBytes(data=gif, name="a.gif")).metadata))
    assert copy.info["comment"] == b"hello"
    long = Metadata(comments=(b"c" * 600,))
    assert Image.open(written(tmp_path, ".gif", long)).info["comment"] == b"c" * 600
    assert Image.open(written(tmp_path, ".png", long)).info["Comment"] == "c" * 600
    ppm = ImageBytes(data=b"P5\n# Zo\xc3\xab\n#two\n9 # three\n9 255\n#" + bytes(80), name="a.ppm")
    metadata = files.read_image(ppm).metadata
    text = files.read_image(written(tmp_path, ".png", metadata)).metadata.png_text
    for chunk in (b"iTXtComment\0\0\0\0\0Zo\xc3\xab", b"Comment\0\0\0\0\0two", b"Comment\0\0\0\0\0three"):
        assert text is not None and chunk in text
    assert not caplog.records
    written(tmp_path, ".tif", metadata)
    assert "the image's comments" in caplog.text


def test_text_beyond_a_megabyte_is_left_out(caplog):
    text = PngImagePlugin.PngInfo()
    for number in range(3):
        text.add_text(f"part {number}", "x" * 500_000)
    data = corpus.pillow(Image.fromarray(PIXELS), "PNG", pnginfo=text)
    assert files.read_image(ImageBytes(data=data, name="a.png")).metadata.png_text is None
    assert "more than 1 MB" in caplog.text


def test_the_second_part_of_a_long_xmp_is_said_to_be_left_out(caplog):
    xmp = corpus.XMP.replace(
        b"<rdf:Description ", b'<rdf:Description xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="A" ', 1
    )
    files.read_image(ImageBytes(data=corpus.pillow(Image.fromarray(PIXELS), "JPEG", xmp=xmp), name="a"))
    assert caplog.messages == ["a: the part of its XMP beyond 64 kB is left out."]


def test_what_a_format_cannot_hold_is_left_out_and_said(tmp_path, caplog):
    exif = corpus.exif() + bytes(70_000)
    xmp = corpus.XMP.replace(b"<?xpacket end", b" " * 70_000 + b"<?xpacket end")
    iptc = b"\x1c\x02\x05\0\x05title"
    metadata = Metadata(exif=exif, xmp=xmp, iptc=iptc)
    losses = {".jpg": "EXIF, XMP", ".png": "IPTC", ".webp": "EXIF, IPTC", ".avif": "EXIF, IPTC"}
    for suffix in SUFFIXES:
        caplog.clear()
        kept = files.read_image(written(tmp_path, suffix, metadata)).metadata
        assert [record.levelno for record in caplog.records] == [logging.WARNING] * (suffix in losses)
        assert suffix not in losses or f"cannot hold the image's {losses[suffix]}." in caplog.text
        assert (kept.xmp == xmp) == (suffix != ".jpg") and (kept.exif is None) == (suffix not in (".tif", ".png"))
        assert (kept.iptc is None) == (suffix not in (".jpg", ".tif"))


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".gif"])
def test_nothing_is_added_to_an_image_without_metadata(tmp_path, suffix):
    path = written(tmp_path, suffix, Metadata())
    assert files.read_image(path).metadata == Metadata()
    image = Image.open(path)
    assert not {"exif", "icc_profile", "comment"} & image.info.keys()
    assert "dpi" not in image.info or (suffix == ".tif" and 282 not in image.tag_v2)


def test_iptc_goes_between_jpeg_and_tiff(tmp_path, caplog):
    records = b"".join(
        struct.pack(">BBBH", 28, 2, tag, len(text)) + text for tag, text in ((120, b"A caption"), (25, b"harbour"))
    )
    other = b"8BIM\x04\x0c\3abc" + struct.pack(">I", 3) + b"jpg\0"
    block = (
        b"Photoshop 3.0\0"
        + other
        + b"8BIM\x04\x04\0\0"
        + struct.pack(">I", len(records))
        + records
        + b"\0" * (len(records) % 2)
    )
    plain = corpus.pillow(Image.fromarray(PIXELS), "JPEG")
    data = plain[:2] + struct.pack(">HH", 0xFFED, len(block) + 2) + block + plain[2:]
    metadata = files.read_image(ImageBytes(data=data, name="a.jpg")).metadata
    assert metadata.iptc == records
    for number, suffix in enumerate([".tif", ".tif", ".jpg", ".jpg", ".tif"]):
        files.write_image(tmp_path / f"{number}{suffix}", files.Image(pixels=PIXELS, metadata=metadata))
        metadata = files.read_image(tmp_path / f"{number}{suffix}").metadata
        kept = IptcImagePlugin.getiptcinfo(Image.open(tmp_path / f"{number}{suffix}"))
        assert kept is not None and (kept[2, 120], kept[2, 25]) == (b"A caption", b"harbour")
    assert not caplog.records


def test_exif_of_a_larger_image():
    block = Image.Exif()
    block[0x0100], block[0x0101] = 32, 24
    inner = block.get_ifd(0x8769)
    inner[0xA002], inner[0xA003], inner[0x9214], inner[0xA214] = 32, 24, (9, 8, 7, 6), (5, 4)
    inner[0xA20E], inner[0x9003] = IFDRational(6001, 2), "2020:01:01 00:00:00"
    for orientation, turned in ((1, False), (6, False), (1, True)):
        block[0x0112] = orientation
        metadata = Metadata(exif=edited_exif(block.tobytes(), turned=turned)).enlarged(4, 96, 128)
        larger = Image.Exif()
        assert metadata.exif is not None
        larger.load(b"Exif\0\0" + metadata.exif)
        details = larger.get_ifd(0x8769)
        assert (larger[0x0100], larger[0x0101], larger[0x0112]) == (128, 96, 1)
        assert (details[0xA002], details[0xA003], details[0x9003]) == (128, 96, "2020:01:01 00:00:00")
        assert float(details[0xA20E]) == 12002
        assert (details.get(0x9214), details.get(0xA214)) == (
            ((36, 32, 28, 24), (20, 16)) if (orientation, turned) == (1, False) else (None, None)
        )


def test_places_in_an_avif_do_not_hold(tmp_path):
    """Its decoder turns it, and does not say so."""
    block = Image.Exif()
    block.get_ifd(0x8769)[0x9214] = (9, 8, 7, 6)
    Image.fromarray(PIXELS).save(tmp_path / "a.avif", exif=block.tobytes())
    exif = files.read_image(tmp_path / "a.avif").metadata.exif
    kept = Image.Exif()
    assert exif is not None
    kept.load(b"Exif\0\0" + exif)
    assert 0x9214 not in kept.get_ifd(0x8769)


def test_long_xmp_stays_in_a_jpeg_without_room_for_provenance(tmp_path, caplog):
    for length, room in ((61_000, True), (65_480, False)):
        xmp = corpus.XMP.replace(b"<?xpacket end", b" " * (length - len(corpus.XMP)) + b"<?xpacket end")
        image = files.Image(pixels=PIXELS, metadata=Metadata(xmp=xmp))
        files.write_image(tmp_path / "a.jpg", image, provenance={"model": "m"})
        kept = files.read_image(tmp_path / "a.jpg").metadata.xmp
        assert kept is not None and (kept == xmp) != room
        assert (files.read_provenance(tmp_path / "a.jpg") is not None) == room
        assert ("no room for srgan's provenance" in caplog.text) != room


BAD_PROFILES = {
    "empty": b"",
    "text": b"x" * 500,
    "cut": corpus.profile()[:300],
    "shorter than it says": corpus.profile()[:-9],
    "tags beyond its end": corpus.profile()[:136] + b"\x7f\xff\xff\xff" + corpus.profile()[140:],
    "endless table": corpus.profile()[:128] + b"\x7f\xff\xff\xff" + corpus.profile()[132:],
}


@pytest.mark.parametrize("name", BAD_PROFILES)
def test_a_broken_profile_is_left_out(tmp_path, name):
    assert sound_profile(corpus.profile()) == sound_profile(corpus.profile() + bytes(9)) == corpus.profile()
    assert sound_profile(corpus.grey_profile(2.2)) is not None
    assert sound_profile(BAD_PROFILES[name]) is None
    data = corpus.pillow(Image.fromarray(PIXELS), "TIFF", icc_profile=BAD_PROFILES[name] or b"\0")
    picture = files.read_image(ImageBytes(data=data, name="a.tif"))
    assert picture.metadata.icc is None
    for suffix in SUFFIXES:
        files.write_image(tmp_path / f"b{suffix}", picture)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("block", [b"", b"\0\1\2", b"<rdf:RDF>" * 999], ids=["empty", "three", "long"])
def test_blocks_of_nonsense_stop_nothing(tmp_path, suffix, block):
    for metadata in (Metadata(xmp=block), Metadata(exif=block), Metadata(iptc=block), Metadata(icc=block)):
        again = files.read_image(written(tmp_path, suffix, metadata))
        assert again.pixels.shape == PIXELS.shape
        files.write_image(tmp_path / f"b{suffix}", again, provenance={"model": "m"})
        assert files.read_provenance(tmp_path / f"b{suffix}") == {"model": "m"}


@pytest.mark.parametrize("form", ["attribute", "element"])
def test_orientation_in_xmp_is_reset_only_where_one_was_applied(form):
    xmp = corpus.XMP.replace(b'dc:format="image/png"', b'xmlns:tiff="t" tiff:Orientation="6"')
    if form == "element":
        xmp = xmp.replace(b'Orientation="6"/>', b'x=""><tiff:Orientation>6</tiff:Orientation></rdf:Description>')
    for orientation, kept in ((6, xmp.replace(b'"6"', b'"1"').replace(b">6<", b">1<")), (1, xmp)):
        exif = b"Exif\0\0" + corpus.exif(orientation)
        data = corpus.pillow(Image.fromarray(PIXELS), "JPEG", exif=exif, xmp=xmp)
        assert files.read_image(ImageBytes(data=data, name="a.jpg")).metadata.xmp == kept
        if orientation == 6:  # in an AVIF it is a property of the image, which libvips applies and tells nobody
            data = corpus.pillow(Image.fromarray(PIXELS), "AVIF", exif=exif, xmp=xmp)
            assert files.read_image(ImageBytes(data=data, name="a.avif")).metadata.xmp == kept


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_provenance_comes_back_from_every_format(tmp_path, suffix):
    provenance = {"model": "srgan", "sha256": "ab" * 32, "tile_grid": "3x4", "note": "<&>\"' \u00e9 \u6f22"}
    full = Metadata(xmp=corpus.XMP, exif=corpus.exif(), icc=corpus.profile())
    for number, metadata in enumerate([Metadata(), full]):
        path = tmp_path / f"{number}{suffix}"
        files.write_image(path, files.Image(pixels=PIXELS, metadata=metadata), provenance=provenance)
        assert files.read_provenance(path) == provenance
        xmp = files.read_image(path).metadata.xmp
        assert xmp is not None and (b'dc:format="image/png"' in xmp) == (metadata.xmp is not None)
    files.write_array(tmp_path / f"none{suffix}", PIXELS)
    assert files.read_provenance(tmp_path / f"none{suffix}") is None


def test_provenance_is_replaced():
    once = with_provenance(corpus.XMP, {"model": "one"})
    assert with_provenance(once, {"model": "two"}) == with_provenance(corpus.XMP, {"model": "two"})
    assert provenance_in(with_provenance(once, {"model": "two"})) == {"model": "two"}


@settings(max_examples=30)
@given(st.text(max_size=60), st.binary(max_size=200))
def test_provenance_takes_any_text_and_any_packet(value, xmp):
    provenance = provenance_in(with_provenance(xmp, {"model": value, "other": "x"}))
    assert provenance is not None and provenance["other"] == "x"
    if value.isprintable():
        assert provenance["model"] == value
    assert provenance_in(xmp) is None


@pytest.mark.parametrize("alpha", [False, True])
def test_a_grey_profile_becomes_srgb_where_grey_becomes_colour(tmp_path, alpha):
    grey = np.full((32, 32), 128, np.uint8)
    metadata = Metadata(icc=corpus.grey_profile(gamma=1.0))
    picture = files.Image(pixels=grey, alpha=np.full_like(grey, 77) if alpha else None, metadata=metadata)
    files.write_image(tmp_path / "a.png", picture)
    assert files.read_image(tmp_path / "a.png").metadata.icc == metadata.icc
    for suffix in (".webp", ".avif"):
        files.write_image(tmp_path / f"a{suffix}", picture, lossless=True)
        again = files.read_image(tmp_path / f"a{suffix}")
        assert again.metadata.icc is not None and again.metadata.icc[16:20] == b"RGB "
        # Linear 0.5 is 188 in sRGB: the image looks the same, its numbers do not.
        assert np.abs(again.pixels.astype(int) - 188).max() <= 2
        assert alpha == (again.alpha is not None and bool((again.alpha == 77).all()))
