"""Awkward image files, made by implementations other than ours (Pillow, tifffile), with what must come out."""

import dataclasses
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import IFDRational

H, W = 12, 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A file's bytes, and the arrays that it holds; `tolerance` in levels for lossy formats."""

    name: str
    data: bytes
    pixels: NDArray[Any]
    alpha: NDArray[Any] | None = None
    tolerance: int = 0


def smooth(channels: int, dtype: Any = np.uint8, height: int = H, width: int = W) -> NDArray[Any]:
    """A gentle image (H, W, C) that lossy formats keep, using the whole range of the type."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(y / (9.0 + 3 * c) + x / (11.0 - 2 * c) + c) for c in range(channels)]
    top = np.iinfo(dtype).max
    return np.round((np.stack(waves, 2) + 1) / 2 * top).astype(dtype)


def pillow(image: Image.Image, form: str, **options: Any) -> bytes:
    """What Pillow writes."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    """What tifffile writes."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def png(array: NDArray[np.uint16], colour_type: int, *extra: bytes) -> bytes:
    """A 16-bit PNG (Pillow writes none in colour); `extra` chunks go before the pixels."""
    height, width = array.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def exif(orientation: int = 1) -> bytes:
    """An EXIF block (TIFF stream) with texts, numbers, an exposure and a maker's note."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = "a picture"
    block[0x8298] = "nobody"
    inner = block.get_ifd(0x8769)
    inner[0x9003] = "2020:01:01 00:00:00"
    inner[0x829A] = IFDRational(1, 125)
    inner[0x927C] = b"maker's note \0\1\2"
    return block.tobytes().removeprefix(b"Exif\0\0")


def profile(kind: str = "sRGB") -> bytes:
    """An ICC profile from LittleCMS, without the time of its making: sRGB, LAB or XYZ."""
    made = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes())
    return made[:24] + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + made[36:]


def grey_profile(gamma: float) -> bytes:
    """An ICC profile (version 2) of grey with that gamma; ICC.1:2001-04, sections 6.1 and 6.3."""
    white = struct.pack(">4s4x3I", b"XYZ ", 0xF6D6, 0x10000, 0xD32D)
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    name = struct.pack(">4s4xI12s", b"desc", 5, b"grey") + bytes(78)
    rights = b"text" + bytes(4) + b"none\0\0\0\0"
    tags = {b"wtpt": white, b"kTRC": curve, b"desc": name, b"cprt": rights}
    table, body, place = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, place + len(body), len(value))
        body += value
    head = struct.pack(">I4xI4s4s4s12x4s", place + len(body), 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + table + body


XMP = (
    b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:format="image/png"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)


def exact() -> Iterator[Case]:
    """Files that hold exactly known numbers."""
    rgb, rgba, grey = smooth(3), smooth(4), smooth(1)[..., 0]
    image, transparent, light = Image.fromarray(rgb), Image.fromarray(rgba), Image.fromarray(grey)
    for form, name in (("PNG", "png"), ("TIFF", "tif"), ("WebP", "webp")):
        lossless = {"lossless": True, "exact": True} if form == "WebP" else {}
        yield Case(name=f"rgb.{name}", data=pillow(image, form, **lossless), pixels=rgb)
        data = pillow(transparent, form, **lossless)
        yield Case(name=f"rgba.{name}", data=data, pixels=rgba[..., :3], alpha=rgba[..., 3])
    both = Image.merge("LA", [light, Image.fromarray(rgba[..., 3])])
    bits = grey > 127
    deep, deep4, deep1 = smooth(3, np.uint16), smooth(4, np.uint16), smooth(1, np.uint16)
    for form, name in (("PNG", "png"), ("TIFF", "tif")):
        yield Case(name=f"grey.{name}", data=pillow(light, form), pixels=grey)
        yield Case(name=f"grey-alpha.{name}", data=pillow(both, form), pixels=grey, alpha=rgba[..., 3])
        one = bits.astype(np.uint8) * 255
        yield Case(name=f"one-bit.{name}", data=pillow(Image.fromarray(bits), form), pixels=one)
        paletted = image.quantize(16)
        data = pillow(paletted, form)
        yield Case(name=f"palette.{name}", data=data, pixels=np.asarray(paletted.convert("RGB")))
        data = pillow(Image.fromarray(deep1[..., 0]), form)
        yield Case(name=f"grey16.{name}", data=data, pixels=deep1[..., 0])
    dark = (deep >> 8).astype(np.uint16)
    yield Case(name="rgb16.png", data=png(deep, 2), pixels=deep)
    yield Case(name="rgb16-dark.png", data=png(dark, 2), pixels=dark)
    yield Case(name="rgba16.png", data=png(deep4, 6), pixels=deep4[..., :3], alpha=deep4[..., 3])
    data = png(deep4[..., :2], 4)
    yield Case(name="grey-alpha16.png", data=data, pixels=deep4[..., 0], alpha=deep4[..., 1])
    for form, name in {
        "BMP": "bmp",
        "TGA": "tga",
        "JPEG2000": "jp2",
        "PPM": "ppm",
        "PCX": "pcx",
        "SGI": "sgi",
        "QOI": "qoi",
    }.items():
        yield Case(name=f"rgb.{name}", data=pillow(image, form), pixels=rgb)
    for form, name in {"ICO": "ico", "TGA": "tga", "JPEG2000": "j2k", "DDS": "dds"}.items():
        options = {"sizes": [(W, H)]} if form == "ICO" else {}
        data = pillow(transparent, form, **options)
        yield Case(name=f"rgba.{name}", data=data, pixels=rgba[..., :3], alpha=rgba[..., 3])
    yield Case(name="grey.pgm", data=pillow(light, "PPM"), pixels=grey)
    yield Case(name="bits.pbm", data=pillow(Image.fromarray(bits), "PPM"), pixels=bits.astype(np.uint8) * 255)
    data = f"P6 {W} {H} 65535\n".encode() + deep.astype(">u2").tobytes()
    yield Case(name="rgb16.ppm", data=data, pixels=deep)
    data = f"P5 {W} {H} 65535\n".encode() + deep1.astype(">u2").tobytes()
    yield Case(name="grey16.pgm", data=data, pixels=deep1[..., 0])
    yield from _palettes(image)
    yield from _tiffs(rgb, grey, deep, deep4)
    still = image.quantize(64)
    pixels = np.asarray(still.convert("RGB"))
    yield Case(name="still.gif", data=pillow(still, "GIF"), pixels=pixels)
    yield Case(name="interlaced.gif", data=pillow(still, "GIF", interlace=1), pixels=pixels)


def _palettes(image: Image.Image) -> Iterator[Case]:
    paletted = image.quantize(16)
    seen = np.asarray(paletted)
    colour = np.asarray(paletted.convert("RGB"))
    alpha = np.where(seen == 3, 0, 255).astype(np.uint8)
    data = pillow(paletted, "PNG", transparency=3)
    yield Case(name="palette-one-transparent.png", data=data, pixels=colour, alpha=alpha)
    table = bytes(range(0, 256, 16))
    data = pillow(paletted, "PNG", transparency=table)
    yield Case(name="palette-alpha.png", data=data, pixels=colour, alpha=np.array(list(table), np.uint8)[seen])
    array = np.asarray(image)
    key = tuple(int(v) for v in array[2, 3])
    alpha = np.where((array == key).all(2), 0, 255).astype(np.uint8)
    yield Case(name="colour-key.png", data=pillow(image, "PNG", transparency=key), pixels=array, alpha=alpha)


def _tiffs(rgb: NDArray[Any], grey: NDArray[Any], deep: NDArray[Any], deep4: NDArray[Any]) -> Iterator[Case]:
    plain: dict[str, Any] = {"photometric": "rgb"}
    yield Case(name="rgb16.tif", data=tiff(deep, **plain), pixels=deep)
    yield Case(name="rgb16-big-endian.tif", data=tiff(deep, byteorder=">", **plain), pixels=deep)
    yield Case(name="bigtiff.tif", data=tiff(rgb, bigtiff=True, **plain), pixels=rgb)
    data = tiff(deep4, extrasamples=["unassalpha"], **plain)
    yield Case(name="rgba16.tif", data=data, pixels=deep4[..., :3], alpha=deep4[..., 3])
    data = tiff(np.moveaxis(deep, 2, 0), planarconfig="separate", **plain)
    yield Case(name="planes.tif", data=data, pixels=deep)
    large = smooth(3, height=70, width=90)
    yield Case(name="tiles.tif", data=tiff(large, tile=(16, 16), **plain), pixels=large)
    # MINISWHITE: 0 is white, so what is shown is the inverse.
    yield Case(name="white-is-0.tif", data=tiff(grey, photometric="miniswhite"), pixels=255 - grey)
    first = deep[..., 0]
    yield Case(name="white-is-0-16.tif", data=tiff(first, photometric="miniswhite"), pixels=65535 - first)


def lossy() -> Iterator[Case]:
    """Files whose decoders may differ by a few levels."""
    rgb, grey = smooth(3, height=40, width=50), smooth(1, height=40, width=50)[..., 0]
    image = Image.fromarray(rgb)
    for name, options in {
        "q95.jpg": {"quality": 95, "subsampling": 0},
        "q3.jpg": {"quality": 3},
        "progressive.jpg": {"quality": 90, "progressive": True, "subsampling": 0},
        "rgb.avif": {"quality": 90, "subsampling": "4:4:4"},
        "lossy.webp": {"quality": 90},
    }.items():
        data = pillow(image, {"jpg": "JPEG", "avif": "AVIF", "webp": "WebP"}[name.split(".")[1]], **options)
        seen = np.asarray(Image.open(io.BytesIO(data)))
        yield Case(name=name, data=data, pixels=seen, tolerance=4)
    data = pillow(Image.fromarray(grey), "JPEG", quality=95)
    yield Case(name="grey.jpg", data=data, pixels=np.asarray(Image.open(io.BytesIO(data))), tolerance=2)


def refused() -> Iterator[tuple[str, bytes, str]]:
    """Names, bytes, and words that the refusal must hold."""
    image, other = Image.fromarray(smooth(3)), Image.fromarray(255 - smooth(3))
    whole = {form: pillow(image.resize((200, 150)), form) for form in ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "GIF")}
    for form, data in whole.items():
        yield f"truncated.{form.lower()}", data[: len(data) // 2], "damaged"
        yield f"head-only.{form.lower()}", data[:20], "damaged"
    for form, name in (("GIF", "gif"), ("WebP", "webp"), ("PNG", "png"), ("AVIF", "avif"), ("TIFF", "tif")):
        data = pillow(image, form, save_all=True, append_images=[other])
        yield f"two-images.{name}", data, "several pages or frames"
    yield "text.png", b"This is not an image.", "whatever its name says"
    yield "page.jpg", b"<!DOCTYPE html><html></html>", "whatever its name says"
    yield ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "whatever its name")
    yield "float.ppm", pillow(Image.fromarray(np.ones((9, 9), np.float32)), "PPM"), "type float"
    yield "cut.jp2", pillow(image, "JPEG2000")[:200], "damaged or unusual JPEG2000"
    yield "cut.png", pillow(image, "BMP")[:40], "damaged or unusual BMP"
    yield "zero.png", b"", "empty"
    yield (
        "zero-sides.png",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)),
        "damaged",
    )
    huge = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    yield ("huge-header.png", b"\x89PNG\r\n\x1a\n" + huge + chunk(b"IDAT", zlib.compress(b"\0" * 999)), "the limit is")
    yield "float.tif", tiff(np.ones((9, 9), np.float32)), "type float"
    yield "float-rgb.tif", tiff(np.ones((9, 9, 3), np.float32), photometric="rgb"), "type float"
    yield "double.tif", tiff(np.ones((9, 9))), "channels of 64 bits"
    eight, twelve = (struct.pack("<HHIH", 258, 3, 1, bits) for bits in (8, 12))
    yield "packed.tif", tiff(np.ones((9, 9), np.uint8)).replace(eight, twelve), "channels of 12 bits"
    yield "lzma.tif", pillow(image, "TIFF", compression="lzma"), r"a way that srgan does not read \(LZMA\)"
    pcx = pillow(image.convert("P", palette=Image.Palette.ADAPTIVE), "PCX")
    yield "cut.pcx", pcx[:-1], "its palette is missing"
    yield "signed.tif", tiff(np.ones((9, 9), np.int16)), "type short"
    yield "unsigned32.tif", tiff(np.ones((9, 9), np.uint32)), "type uint"
    yield ("five.tif", tiff(np.ones((9, 9, 5), np.uint8), photometric="minisblack", planarconfig="contig"), "5 ")
