"""Formats that libvips does not read here, through Pillow and pi-heif: HEIC, BMP, ICO, TGA, JPEG 2000, PPM and others."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.image.colour import srgb_from_lab
from srgan.image.source import Limits, Source, boxes, colour_boxes, name_of, open_bytes, reason

log = logging.getLogger("srgan")

_JP2_UUIDS = {
    bytes.fromhex("be7acfcb97a942e89c71999491e3afac"): "xmp-data",
    b"JpgTiffExif->JP2": "exif-data",
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"): "iptc-data",
}
"""UUID of a box of a JP2 -> libvips' field. XMP specification, part 3, section 1.1.4."""


@contextlib.contextmanager
def opened(source: Source, kind: str, limits: Limits) -> Iterator[Any]:
    """Pillow's image of the file (pi-heif's of a HEIC), its header read, its size within `limits`.

    Raises ImageError, for errors inside the block too.
    """
    try:
        with open_bytes(source) as file:
            image = _open(file, kind)
            limits.check(source, image.size[1], image.size[0])
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever Python does
        raise ImageError(f"{name_of(source)} is a damaged or unusual {kind}: {reason(error)}.") from None


def _open(file: BinaryIO, kind: str) -> Any:
    """As `Image.open`, with one decoder and without Pillow's own limit of pixels: the caller checks ours."""
    if kind == "HEIC":
        import pi_heif  # type: ignore[import-untyped]

        return pi_heif.open_heif(file.read(), convert_hdr_to_8bit=False)  # the primary image's size, mode and pixels
    from PIL import Image

    importlib.import_module(f"PIL.{'Jpeg2K' if kind == 'JPEG2000' else kind.capitalize()}ImagePlugin")
    factory, _ = Image.OPEN[kind.upper()]
    image: Any = factory(file, "")
    if kind in ("ICO", "ICNS"):  # its largest image, with the tags that Pillow drops
        return image.ico.getimage(image.size) if kind == "ICO" else image.icns.getimage(image.best_size)
    return image


def load(source: Source, kind: str, limits: Limits, *, warn: bool, page: int = 0) -> Any:
    """The decoded image as a libvips image, with its profile, EXIF, XMP and density as libvips' fields.

    `warn`: log what of the file is not read.
    """
    with opened(source, kind, limits) as image:
        if page:
            image.seek(page)
            limits.check(source, image.size[1], image.size[0])
        array = _heif_array(image) if kind == "HEIC" else _array(image, kind, source)
        if warn and kind == "HEIC" and len(image) > 1:
            log.warning("%s holds %d images; the primary one is read.", name_of(source), len(image))
        bits = _bits(source, kind, image) if array.dtype == np.uint8 else 8
        if kind == "JPEG2000" and bits > 8 and not array.all():
            array = _with_white(array, source, bits)
        if warn and bits > 8:
            log.warning("%s: 8 of its %d bits are read.", name_of(source), bits)
        count = getattr(image, "n_frames", 1)
        info = {} if image.mode == "LAB" else dict(image.info)  # Lab's profile is of Lab too
    fields = {"icc-profile-data": info.get("icc_profile"), "exif-data": info.get("exif"), "xmp-data": info.get("xmp")}
    if kind == "JPEG2000":
        fields |= _jp2_fields(source)
    elif kind == "BMP":
        fields["icc-profile-data"] = _bmp_profile(source)
    vips = pyvips.Image.new_from_array(np.ascontiguousarray(array))
    if kind == "TIFF":
        vips.set_type(pyvips.GValue.gint_type, "n-pages", count)
    deep, bands = array.dtype == np.uint16, 1 if array.ndim == 2 else array.shape[2]
    names = ("grey16", "rgb16") if deep else ("b-w", "cmyk" if image.mode == "CMYK" else "srgb")
    vips = vips.copy(interpretation=names[bands >= 3])
    for name, block in fields.items():
        if isinstance(block, bytes) and block:
            vips.set_type(pyvips.GValue.blob_type, name, block)
    if kind == "HEIC":  # turned by its decoder; EXIF repeats by how much
        vips.set_type(pyvips.GValue.gint_type, "orientation", 1)
    dpi = info.get("dpi")
    if isinstance(dpi, tuple) and len(dpi) == 2 and all(0 < float(value) < 1e6 for value in dpi):
        vips = vips.copy(xres=float(dpi[0]) / 25.4, yres=float(dpi[1]) / 25.4)
    return vips


def _with_white(array: NDArray[Any], source: Source, bits: int) -> NDArray[Any]:
    """A JPEG 2000 of more than 8 bits: Pillow rounds its highest values up to 256, which becomes 0.

    With a header that states one bit more, the values of a lossless one are the same, about the middle of the range: black
    becomes 64 and white 192. ITU-T T.800, A.5.1, A.6.1. Raises ImageError for a lossy one.
    """
    with open_bytes(source) as file:
        data = bytearray(file.read())
    size = data.find(b"\xff\x4f\xff\x51") + 42
    style = data.find(b"\xff\x52", size) + 13
    if data[style : style + 1] != b"\1":
        raise ImageError(f"{name_of(source)} holds {bits} bits, of which white is not read. Convert it first.")
    for at in range(size, size + 3 * int.from_bytes(data[size - 2 : size], "big"), 3):
        data[at] += 1
    shifted = _array(_open(io.BytesIO(data), "JPEG2000"), "JPEG2000", source)
    return np.where((array == 0) & (shifted > 128), np.uint8(255), array)


def _heif_array(image: Any) -> NDArray[Any]:
    size = image.size
    array = np.array(image)  # a copy: the pixels end with `image`
    if array.shape[1::-1] != size:
        raise ValueError("its header states another size")
    if array.dtype == np.uint16:
        array = array | (array >> int(image.info["bit_depth"]))  # 10 or 12 bits, shifted up: full range
    return np.squeeze(array, 2) if array.ndim == 3 and array.shape[2] == 1 else array


def _array(image: Any, kind: str, source: Source) -> NDArray[Any]:
    """(H, W[, 2..4]), uint8 or uint16; CMYK stays. Raises ImageError for other types of numbers."""
    if kind == "PPM" and image.mode == "RGB" and (values := _deep_ppm(image)) is not None:
        return values
    if kind == "PCX" and image.mode == "L":  # or with a palette that is not there
        with open_bytes(source) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 769, 0))
            if size < 769 or file.read(1) != b"\x0c":
                raise ValueError("its palette is missing")
    if image.mode == "LAB":
        scaled = np.asarray(image).astype(np.float32) * np.array([100 / 255, 1, 1], np.float32)
        scaled[..., 1:] = np.asarray(image)[..., 1:].view(np.int8)
        lab = pyvips.Image.new_from_array(scaled, interpretation="lab")
        return np.asarray(srgb_from_lab(lab).numpy())
    if image.mode == "F":
        raise ImageError(f"{name_of(source)} holds numbers of type float; srgan takes 8 or 16 bits. Convert it first.")
    if image.mode.startswith("I"):
        deep: NDArray[Any] = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return deep
    transparent = image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if transparent else "L") if grey else ("RGBA" if transparent else "RGB")
    array: NDArray[Any] = np.asarray(image if image.mode == "CMYK" else image.convert(mode))
    if kind in ("BMP", "TGA") and transparent and not array[..., -1].any():  # as viewers do: the byte is unused
        array = array[..., 0] if grey else array[..., :3]
    return array


def _deep_ppm(image: Any) -> NDArray[np.uint16] | None:
    """A binary PPM of more than 8 bits, of which Pillow would keep 8."""
    place = image.tile[0] if image.tile else None
    top = place.args[-1] if place is not None and isinstance(place.args, tuple) else getattr(place, "args", None)
    if place is None or not isinstance(top, int) or top <= 255 or place.codec_name != "ppm" or image.fp is None:
        return None
    image.fp.seek(place.offset)
    count = image.width * image.height * 3
    values = np.frombuffer(image.fp.read(2 * count), ">u2")
    if len(values) < count:
        raise ValueError("it ends too early")
    table = ((np.arange(65536, dtype=np.uint64) * 65535 + top // 2) // top).clip(0, 65535).astype(np.uint16)
    return np.take(table, values).reshape(image.height, image.width, 3)


def _bits(source: Source, kind: str, image: Any) -> int:
    """Bits per channel of a JPEG 2000 (ITU-T T.800, A.5.1), an SGI and a TIFF, of which Pillow may decode 8."""
    if kind == "TIFF":
        return int(image.tag_v2.get(0x0102, (8,))[0])
    with open_bytes(source) as file:
        data = file.read(1 << 20 if kind == "JPEG2000" else 4)
    match = re.search(rb"\xff\x4f\xff\x51.{38}(.)", data, re.DOTALL)
    return (match[1][0] & 0x7F) + 1 if match else 16 if kind == "SGI" and data[3] == 2 else 8


def _jp2_fields(source: Source) -> dict[str, bytes]:
    """ICC profile, XMP, EXIF and IPTC of a JP2. ITU-T T.800, I.5.3.3."""
    with open_bytes(source) as file:
        data = file.read(1 << 24)
    profiles = [box[3:] for box in colour_boxes(data) if box[:1] == b"\x02"]
    fields = {"icc-profile-data": profiles[0]} if profiles else {}
    for kind, start, end in boxes(data):
        if kind == b"uuid" and (name := _JP2_UUIDS.get(data[start : start + 16])):
            fields[name] = data[start + 16 : end]
    return fields


def _bmp_profile(source: Source) -> bytes | None:
    """The profile that a BMP holds, by its BITMAPV5HEADER."""
    with open_bytes(source) as file:
        head = file.read(138)
        if head[14:18] != b"\x7c\0\0\0" or head[70:74] != b"DEBM":
            return None
        start, length = struct.unpack("<II", head[126:134])
        file.seek(14 + start)
        return file.read(min(length, 1 << 24))
