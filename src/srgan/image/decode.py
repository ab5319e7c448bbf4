"""Open an image file with the one decoder that its first bytes ask for; its colour as 8 or 16 bits, upright."""

import contextlib
import functools
import io
import logging
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.image import pillow
from srgan.image import tiff_tags as tiff
from srgan.image.colour import nclx_of, srgb_from_lab
from srgan.image.png import check_text, has_frames, png_chunks, unread_metadata
from srgan.image.source import (
    ImageBytes,
    Limits,
    Source,
    format_of,
    gif_blocks,
    jpeg_segments,
    name_of,
    open_bytes,
    reason,
    webp_chunks,
)
from srgan.image.symmetry import OF_ORIENTATION

log = logging.getLogger("srgan")

_LOADERS = {kind: f"{kind.lower()}load" for kind in ("PNG", "JPEG", "WebP", "TIFF", "GIF")} | {"AVIF": "heifload"}
_COLOURS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb16": 3, "rgb": 3, "cmyk": 4}
"""Channels of colour of libvips' interpretations."""
_TAKEN = "srgan takes grey, RGB and CMYK with 8 or 16 bits. Convert it first."
_SCREEN_COPIES = (0x010001, 0x010002)
"""Types of smaller copies in a JPEG's index. CIPA DC-007, table 4."""
_KNOWN_VALUES = {tag: [bytes([value, 0]) for value in range(1, most)] for tag, most in ((0x0112, 9), (0x0128, 4))}
"""Values of a TIFF's Orientation and ResolutionUnit; some programs write 0."""
_error_lock = threading.Lock()
"""libvips has one buffer of errors for all threads."""


def decode_error(source: Source, error: Exception, limits: Limits) -> ImageError:
    """The error for pixels that cannot be decoded: too slow, or damaged."""
    if "killed" in str(error):
        return ImageError(f"{name_of(source)} takes longer than {limits.seconds:g} s to decode (Limits.seconds).")
    if match := re.search(
        r"(\w+) compression support is not|Compression (scheme \d+)|data (precision \d+)", str(error)
    ):
        method = match[match.lastindex or 0]
        return ImageError(
            f"{name_of(source)} is compressed in a way that srgan does not read ({method}). Convert it first."
        )
    return ImageError(f"{name_of(source)} is damaged: {reason(error)}.")


@functools.cache
def set_up_libvips() -> None:
    """Once per process: no operation cache (memory stays flat in a loop), no unfuzzed loaders.

    libvips' warnings go to the logger "pyvips", and to stderr only where a handler is attached to it.
    """
    logging.getLogger("pyvips").addHandler(logging.NullHandler())
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)


def field(image: Any, name: str) -> Any:
    """A metadata field of a libvips image; None where it is missing or empty."""
    try:
        return image.get(name) if image.get_typeof(name) else None
    except RuntimeError:  # pyvips raises it for an empty block
        return None


def is_fallback(kind: str) -> bool:
    """Whether Pillow or pi-heif reads the format, which nothing here writes."""
    return kind not in _LOADERS


def open_image(source: Source, limits: Limits, page: int = 0, *, warn: bool = False) -> Any:
    """The file as a lazy libvips image of one page, decoded from top to bottom on demand; of an animation the first frame.

    Formats that libvips does not read are decoded at once. `warn`: log what is odd about the file, which the one that
    decodes it for the result does. Raises ImageError for a damaged file and more pixels than `limits`.
    """
    set_up_libvips()
    kind = format_of(source)
    if is_fallback(kind):
        return pillow.load(source, kind, limits, warn=warn)
    if kind == "TIFF":
        with open_bytes(source) as file:
            tags = tiff.page_tags(file, page)
        if tags.get(tiff.PLANAR) == b"\2\0" and tiff.TILE_WIDTH in tags:  # libvips reads no tiles of one channel
            return pillow.load(source, kind, limits, warn=warn, page=page)
        bits = int.from_bytes(tags.get(tiff.BITS, b"\1")[:2], "little")
        if bits not in (1, 2, 4, 8, 16, 32):
            raise ImageError(f"{name_of(source)} holds channels of {bits} bits; {_TAKEN}")
    if kind == "PNG":
        check_text(source)
    if warn and not has_end_mark(source, kind):
        log.warning("%s ends without its end mark; the file may be cut.", name_of(source))
    if warn and kind == "JPEG" and (count := 1 + _further_images(source)) > 1:
        log.warning("%s holds %d images; the first one is read.", name_of(source), count)
    options = {"access": "sequential", "fail_on": "error"} | ({"page": page} if page else {})
    if kind == "TIFF" and any(tags.get(tag, b"\1\0") not in known for tag, known in _KNOWN_VALUES.items()):
        options["fail_on"] = "none"  # libtiff calls it an error: `watched_pixels` finds the others
    complete = _with_end_mark(source, warn) if kind == "JPEG" else source
    if complete is not source:
        options["fail_on"] = "warning"  # which is all that libjpeg says of data that end before the mark
    try:
        if isinstance(complete, ImageBytes):
            image = getattr(pyvips.Image, f"{_LOADERS[kind]}_buffer")(complete.data, **options)
        else:
            image = getattr(pyvips.Image, _LOADERS[kind])(os.fsencode(complete), **options)  # names need not be UTF-8
    except pyvips.Error as error:
        if "bad labq format" in str(error):  # libvips fails on CIE Lab of 8 bits
            return pillow.load(source, kind, limits, warn=warn, page=page)
        raise ImageError(f"{name_of(source)} is a damaged or unusual {kind}: {reason(error)}.") from None
    limits.check(source, image.height, image.width)
    if kind == "PNG":
        held = {name for name in ("exif-data", "xmp-data") if field(image, name) is not None}
        image = image.copy()
        for name, block in unread_metadata(source, held).items():
            image.set_type(pyvips.GValue.blob_type, name, block)  # with EXIF libvips sets "orientation" too
        return image
    if kind == "GIF" and not image.hasalpha():
        return _transparent_around_its_frame(image, source)
    colours = _COLOURS.get(image.interpretation, 0) if kind == "TIFF" else 0
    extra = tags.get(tiff.EXTRA_SAMPLES, b"")[:1] if colours else b""
    of_two = image.bands == 2 and extra == b"\0"  # grey and something; grey and more is no picture
    if (colours > 1 or of_two) and image.bands - (extra != b"\0") > colours:  # 0: anything but alpha
        most = colours + (extra in (b"\1", b"\2"))  # the first one is alpha
        if warn:
            log.warning("%s: %d of its %d channels are read.", name_of(source), most, image.bands)
        return image.extract_band(0, n=most)
    if kind == "TIFF" and image.interpretation in ("multiband", "srgb") and image.bands in (3, 4):
        if tags.get(tiff.PHOTOMETRIC) == b"\6\0" and tags.get(tiff.COMPRESSION) not in (b"\6\0", b"\7\0"):  # JPEG
            return _from_ycbcr(image)
        if tags.get(tiff.PHOTOMETRIC) == b"\t\0":
            return _from_icc_lab(image)
    if isinstance(complete, ImageBytes) and complete is not source and warn and _lacks_pixels(complete.data[:-2]):
        raise ImageError(f"{name_of(source)} is a damaged or unusual JPEG: its last pixels are missing.")
    return image


def _transparent_around_its_frame(image: Any, source: Source) -> Any:
    """A GIF whose first frame leaves a part of the image empty, as browsers show it."""
    with open_bytes(source) as file:
        file.seek(next((start for kind, start, _ in gif_blocks(file) if kind == b"\x2c"), 0))
        left, top, width, height = struct.unpack("<4H", file.read(8))
    if left == top == 0 and width >= image.width and height >= image.height:
        return image
    empty = pyvips.Image.black(image.width, image.height)
    return image.bandjoin(empty.draw_rect(255, left, top, width, height, fill=True))


def _from_icc_lab(image: Any) -> Any:
    """16-bit sRGB. Of 8 bits L is 0..255 and a, b are 128 + value; of 16 bits 256 times as much. Adobe Photoshop TIFF notes."""
    unit = 256 if image.format == "ushort" else 1
    lab = image.extract_band(0, n=3).linear([100 / 255 / unit, 1 / unit, 1 / unit], [0, -128, -128])
    alpha = [image[3] if unit == 256 else (image[3] * 257).cast("ushort")] if image.bands == 4 else []
    return srgb_from_lab(lab.copy(interpretation="lab")).bandjoin(alpha)


def _from_ycbcr(image: Any) -> Any:
    """RGB of full-range YCbCr; libvips itself converts subsampled ones, and adds alpha. ITU-T T.871, section 7."""
    if image.bands == 4:
        return image.extract_band(0, n=3)
    matrix = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
    return image.linear(1, [0, -128, -128]).recomb(matrix).rint().cast("uchar").copy(interpretation="srgb")


def only_page(source: Source, limits: Limits) -> int:
    """The number of the file's one page. Raises ImageError for an animation or several pages."""
    numbers = pages(source, limits)
    if len(numbers) > 1 or is_animated(source, limits):
        raise ImageError(f"{name_of(source)} has several pages or frames; one was expected. Split it first.")
    return numbers[0]


def has_end_mark(source: Source, kind: str) -> bool:
    """Whether a PNG or a GIF is there up to its end; of other formats it is not asked."""
    with open_bytes(source) as file:
        if kind == "PNG":
            return any(name == b"IEND" for name, _, _ in png_chunks(file, to_the_end=True, most=1_000_000))
        return kind != "GIF" or list(gif_blocks(file))[-1][0] == b"\x3b"


def _with_end_mark(source: Source, warn: bool) -> Source:
    """A JPEG without its end mark, completed in memory: it then decodes if that is all that is missing."""
    with open_bytes(source) as file:
        file.seek(-min(2, file.seek(0, os.SEEK_END)), os.SEEK_END)
        if file.read() == b"\xff\xd9":
            return source
        scans = [offset for marker, offset, _ in jpeg_segments(file) if marker == 0xDA]
        file.seek(0)
        data = file.read()
    if not scans or data.find(b"\xff\xd9", scans[0]) >= 0:
        return source
    if warn:
        log.warning("%s ends without its end mark; the file may be cut.", name_of(source))
    return ImageBytes(data=data + b"\xff\xd9", name=name_of(source))


def _further_images(source: Source) -> int:
    """How many images follow a JPEG's first in the file, by its index (MPO), without copies for a screen. CIPA DC-007, 5.2.3."""
    with open_bytes(source) as file:
        for marker, offset, body in jpeg_segments(file):
            if marker == 0xE2 and body.startswith(b"MPF\0"):
                index = body[4:]
                table = tiff.page_tags(io.BytesIO(index)).get(tiff.IMAGES_OF_MPO, b"")
                order = "<" if index[:1] == b"I" else ">"
                entries = struct.iter_unpack(f"{order}I4xI4x", table[: len(table) // 16 * 16])
                places = [place for kind, place in entries if place and kind & 0xFFFFFF not in _SCREEN_COPIES]
                return sum(file.seek(offset + 4 + place) > 0 and file.read(2) == b"\xff\xd8" for place in places)
    return 0


def _lacks_pixels(data: bytes) -> bool:
    """Whether the pixels of a JPEG depend on what follows its data. libvips takes rows without data where they are the last."""
    ends = b"\xff\xd9", b"\x5a" * 64 + b"\xff\xd9"
    try:
        images = [pyvips.Image.jpegload_buffer(data + end, access="sequential", fail_on="none") for end in ends]
        return bool((images[0] != images[1]).max())
    except pyvips.Error:  # a progressive one that is cut in a table
        return True
    finally:
        pyvips.vips_lib.vips_error_clear()  # or the next image's error says this one's warnings


@contextlib.contextmanager
def watched_pixels(image: Any, source: Source) -> Iterator[None]:
    """For the block that decodes: pyvips.Error for parts of a TIFF that libvips paints black, a warning for a damaged JPEG."""
    if not str(field(image, "vips-loader")).startswith(("jpegload", "tiffload")):
        yield
        return
    with _error_lock:
        pyvips.vips_lib.vips_error_clear()
        yield
        text = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode("utf-8", "replace")
        pyvips.vips_lib.vips_error_clear()
        if any("tiff2vips: " in line and "Bad value" not in line for line in text.splitlines()):
            raise pyvips.Error(text)
        if damage := re.search(r"Corrupt JPEG data: (?!\d+ extraneous)(.+)", text):
            log.warning("%s is damaged (%s); some of its pixels may be wrong.", name_of(source), damage[1])


def pages(source: Source, limits: Limits) -> list[int]:
    """Numbers of a TIFF's pages, without those marked as thumbnails or masks; of other files [0].

    Raises ImageError where only thumbnails are left.
    """
    if format_of(source) != "TIFF":
        return [0]
    with open_bytes(source) as file:
        numbers = list(tiff.full_pages(file))
    if numbers != [0]:
        count = field(open_image(source, limits), "n-pages") or 1  # that libvips can open
        numbers = [page for page in numbers if page < count]
    if not numbers:
        raise ImageError(
            f"{name_of(source)} shows nothing but a thumbnail, as a camera's raw file does; convert it first."
        )
    return numbers


def is_animated(source: Source, limits: Limits) -> bool:
    """Whether the file is a GIF, WebP, PNG or AVIF of several frames; or a PNG whose one frame is not its image."""
    kind = format_of(source)
    if kind in ("GIF", "WebP"):
        return (field(open_image(source, limits), "n-pages") or 1) > 1
    with open_bytes(source) as file:
        if kind == "PNG":
            return has_frames(file)
        if kind != "AVIF" or file.read(12)[8:] not in (b"avis", b"msf1"):
            return False
    with pillow.opened(source, kind, limits) as image:
        return int(image.n_frames) > 1


def is_lossless(source: Source) -> bool:
    """Whether the file says that its pixels were stored without loss: PNG, TIFF, GIF, and some WebP (RFC 9649, section 2.5) and AVIF."""
    kind = format_of(source)
    with open_bytes(source) as file:
        if kind == "AVIF":
            nclx = nclx_of(file)
            return nclx is not None and nclx[2] == 0  # RGB as such
        if kind == "WebP":
            return next((name for name, _, _ in webp_chunks(file) if name in (b"VP8L", b"VP8 ")), b"") == b"VP8L"
    return kind in ("PNG", "TIFF", "GIF")


def with_timeout(image: Any, seconds: float) -> Any:
    """The same lazy image; its evaluation fails once `seconds` have passed since this call."""
    deadline = time.monotonic() + seconds
    watched = image.copy()
    watched.set_progress(True)
    watched.signal_connect(
        "eval", lambda evaluated, _: evaluated.set_kill(True) if time.monotonic() > deadline else None
    )
    return watched


def to_grey_or_rgb(image: Any, source: Source) -> Any:
    """A lazy image of 1 (grey), 2 (grey, alpha), 3 or 4 bands, uchar or ushort, at the file's own depth.

    CMYK goes through its embedded profile (else a built-in one) to sRGB, with an sRGB profile; CIE Lab becomes
    16-bit sRGB. Raises ImageError for values that are not 8 or 16 bits unsigned.
    """
    bands = image.bands - (1 if image.hasalpha() else 0)
    if image.interpretation == "cmyk" and bands == 4 and image.format in ("uchar", "ushort"):
        return to_srgb(image)
    if image.interpretation in ("lab", "labs") and bands == 3:
        alpha = [image[3].cast("short").copy(format="ushort")] if image.bands == 4 else []
        image = srgb_from_lab(image.extract_band(0, n=3).colourspace("lab")).bandjoin(alpha)
    if _COLOURS.get(image.interpretation) != bands or image.format not in ("uchar", "ushort"):
        raise ImageError(
            f"{name_of(source)} holds {image.bands} {image.interpretation} channels of type {image.format}; {_TAKEN}"
        )
    return image


def to_srgb(image: Any) -> Any:
    """Colour through its embedded profile (else libvips' own of CMYK) to sRGB of the same depth."""
    bands = image.bands - (1 if image.hasalpha() else 0)
    converted = image.extract_band(0, n=bands).icc_transform(
        "srgb", embedded=True, input_profile="cmyk", intent="relative", depth=16 if image.format == "ushort" else 8
    )
    if bands == image.bands:
        return converted
    return converted.bandjoin(image.extract_band(bands))  # icc_transform would scale a 16-bit alpha by 257


def symmetry_of(image: Any) -> int:
    """The symmetry that makes the stored image upright, by EXIF; 0 where there is no orientation or a wrong one."""
    return OF_ORIENTATION.get(field(image, "orientation"), 0)


def uint8_from_uint16(array: NDArray[Any]) -> NDArray[np.uint8]:
    """uint16 divided by 257 and rounded; uint8 unchanged."""
    if array.dtype == np.uint8:
        return array
    table = ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)
    return np.take(table, array)
