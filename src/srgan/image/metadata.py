"""What an image file carries beside its pixels: ICC, EXIF, XMP, IPTC, density, text, HDR's colour tag."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyvips

from srgan.image import xmp as xmp_packets
from srgan.image.colour import colour_tag
from srgan.image.decode import field, symmetry_of
from srgan.image.exif import edited_exif, put_exif, stand_in
from srgan.image.png import png_chunk, png_density, png_text
from srgan.image.source import Source, format_of, gif_blocks, gif_colours_end, jpeg_segments, name_of, open_bytes
from srgan.image.tiff_tags import IPTC, ON_A_MAP, RESOLUTION_UNIT, exif_in_tiff, page_tags, set_tags

log = logging.getLogger("srgan")

_MAX_TEXT, _MOST_COMMENTS = 1 << 20, 10_000
_DEFAULT_DENSITY = (72 / 25.4, 72 / 25.4)
"""EXIF's for an unknown one. EXIF 2.32, XResolution."""
_PHOTOSHOP, _IPTC_RESOURCE = b"Photoshop 3.0\0", 0x0404
_GIF_XMP = b"\x21\xff\x0bXMP DataXMP"
_GIF_XMP_END = b"\1" + bytes(range(255, -1, -1)) + b"\0"
_XMP_LIMIT_OF_LIBVIPS = 60_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is carried from file to file; the orientation is 1, since it has been applied to the pixels."""

    icc: bytes | None = None
    """The embedded colour profile."""
    exif: bytes | None = None
    """A TIFF stream: it starts with the byte order, II or MM."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    """IIM records, without Photoshop's wrapping."""
    density: tuple[float, float] | None = None
    """Pixels per millimetre, horizontal and vertical."""
    png_text: bytes | None = None
    """A PNG's tEXt, zTXt and iTXt chunks, byte for byte."""
    comments: tuple[bytes, ...] = ()
    """A JPEG's, a GIF's or a PPM's."""
    cicp: bytes | None = None
    """An HDR image's primaries, transfer, matrix and range by ITU-T H.273; a PNG's cICP."""

    def enlarged(self, scale: int, height: int, width: int) -> Metadata:
        """For an image `scale` times larger, of height x width: sizes in pixels grow, what no longer holds is dropped."""
        return dataclasses.replace(
            self,
            xmp=xmp_packets.enlarged(self.xmp, scale, height, width) if self.xmp else None,
            exif=edited_exif(self.exif, scale=scale, size=(height, width)) if self.exif else None,
        )


def metadata_of(image: Any, source: Source, page: int = 0) -> Metadata:
    """The metadata of a file, from its libvips image; text, colour tags and a TIFF's EXIF from the file."""
    exif, iptc, text = field(image, "exif-data"), field(image, "iptc-data"), None
    comments: tuple[bytes, ...] = ()
    has_density = (image.xres, image.yres) != (1.0, 1.0)
    kind, xmp = format_of(source), xmp_packets.in_utf8(field(image, "xmp-data") or b"") or None
    if kind == "JPEG" and b"HasExtendedXMP" in (xmp or b""):
        log.warning("%s: the part of its XMP beyond 64 kB is left out.", name_of(source))
    icc, heif = sound_profile(field(image, "icc-profile-data")), kind in ("HEIC", "AVIF")
    with open_bytes(source) as file:
        if kind == "TIFF":
            tags = page_tags(file, page)
            exif, iptc = exif_in_tiff(file, page), tags.get(IPTC, b"").rstrip(b"\0")
            has_density = has_density and tags.get(RESOLUTION_UNIT) != b"\1\0"  # else only a pixel's shape
            if ON_A_MAP & tags.keys():
                log.warning("%s: the place on a map (GeoTIFF) is left out.", name_of(source))
        elif kind == "PNG":
            text = png_text(file, _MAX_TEXT)
            has_density = png_density(file) is not None
        elif kind == "GIF":
            xmp, comments = _gif_texts(file)
        elif kind == "JPEG":
            bodies = (body for marker, _, body in jpeg_segments(file) if marker == 0xFE)
            comments = tuple(itertools.islice(bodies, _MOST_COMMENTS))
            has_density = exif is not None or _jfif_has_density(file)
        elif kind == "PPM":
            comments = _ppm_comments(file.read(1 << 16))
        tag = colour_tag(file, kind)
    if len(text or b"".join(comments)) > _MAX_TEXT:
        log.warning("%s: text of more than 1 MB beside the pixels is left out.", name_of(source))
        text, comments = None, ()
    return Metadata(
        icc=icc or (tag.profile(grey=image.bands < 3) if tag else None),
        exif=edited_exif(exif, turned=heif) if exif else None,
        xmp=xmp_packets.upright(xmp) if xmp and (symmetry_of(image) or heif) else xmp,
        iptc=iptc_records(iptc) if iptc else None,
        density=(float(image.xres), float(image.yres)) if has_density else None,
        png_text=text,
        comments=comments,
        cicp=tag.cicp if tag else None,
    )


def sound_profile(icc: bytes | None) -> bytes | None:
    """The profile, without what follows it, or None where its header or table of tags is wrong: no reader uses it.

    ICC.1:2022, sections 7.2 and 7.3.
    """
    if icc is None or len(icc) < 132 or icc[36:40] != b"acsp" or len(icc) < int.from_bytes(icc[:4], "big"):
        return None
    icc = icc[: int.from_bytes(icc[:4], "big")]
    table = icc[132 : 132 + 12 * int.from_bytes(icc[128:132], "big")]
    if len(table) != 12 * int.from_bytes(icc[128:132], "big"):
        return None
    places = [struct.unpack(">II", table[at + 4 : at + 12]) for at in range(0, len(table), 12)]
    return icc if all(offset + length <= len(icc) for offset, length in places) else None


def iptc_records(block: bytes) -> bytes | None:
    """IIM records out of Photoshop's image resources, or the block itself where it starts with a record."""
    if block.startswith(b"\x1c"):
        return block
    at = len(_PHOTOSHOP) if block.startswith(_PHOTOSHOP) else 0
    while block[at : at + 4] == b"8BIM" and at + 12 < len(block):
        name = 1 + block[at + 6]
        start = at + 6 + name + name % 2 + 4
        length = int.from_bytes(block[start - 4 : start], "big")
        if int.from_bytes(block[at + 4 : at + 6], "big") == _IPTC_RESOURCE:
            return block[start : start + length] or None
        at = start + length + length % 2
    return None


def _gif_texts(file: BinaryIO) -> tuple[bytes | None, tuple[bytes, ...]]:
    """A GIF's XMP (XMP specification, part 3, section 1.1.2) and its comments, if they come first."""
    xmp, comments = None, list[bytes]()
    for kind, start, end in gif_blocks(file):
        if kind != b"\x21" or len(comments) == _MOST_COMMENTS:
            break
        file.seek(start - 1)
        block = file.read(min(end - start + 1, 2 * _MAX_TEXT))
        if block[1] == 0xFE:
            comments.append(b"".join(_sub_blocks(block[2:])))
        elif block.startswith(_GIF_XMP):
            xmp = block[len(_GIF_XMP) :].partition(_GIF_XMP_END[:4])[0] or None
    return xmp, tuple(comments)


def _ppm_comments(head: bytes) -> tuple[bytes, ...]:
    """The comments between the numbers of a PPM's header."""
    header = re.match(rb"P.(?:(?:\s|#[^\n]*\n)+\d+){2,3}", head)
    return tuple(re.findall(rb"#[ \t]*([^\r\n]+)", header[0] if header else b""))


def _gif_comment(text: bytes) -> bytes:
    """GIF89a, section 24."""
    parts = [text[i : i + 255] for i in range(0, len(text), 255)]
    return b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def _png_comment(text: bytes) -> bytes:
    """As UTF-8 in iTXt, else as Latin-1 in tEXt. PNG 3rd edition, 11.3.3."""
    text = text.replace(b"\0", b"")
    is_utf8 = text.decode("utf-8", "ignore").encode() == text
    return png_chunk(*((b"iTXt", b"Comment\0\0\0\0\0" + text) if is_utf8 else (b"tEXt", b"Comment\0" + text)))


def _sub_blocks(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data) and data[at] and at < 60_000:
        yield data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]


def _jfif_has_density(file: BinaryIO) -> bool:
    """Whether a JPEG's JFIF segment names a unit. ITU-T T.871, 10.1."""
    jfif = (body for marker, _, body in jpeg_segments(file) if marker == 0xE0 and body.startswith(b"JFIF\0"))
    return next(jfif, b"")[7:8] in (b"\1", b"\2")


def attach_metadata(image: Any, metadata: Metadata) -> Any:
    """The lazy image with the fields of libvips from which a saver writes `metadata`.

    Of EXIF libvips would keep the tags that libexif knows: a stand-in keeps the room, for `complete`.
    """
    density = metadata.density or _DEFAULT_DENSITY
    image = image.copy(xres=density[0], yres=density[1])
    blocks = {"icc-profile-data": metadata.icc, "xmp-data": metadata.xmp}
    if metadata.iptc:
        # In Photoshop's wrapping, as a JPEG holds them.
        head = b"8BIM" + struct.pack(">HHI", _IPTC_RESOURCE, 0, len(metadata.iptc))
        blocks["iptc-data"] = _PHOTOSHOP + head + metadata.iptc + b"\0" * (len(metadata.iptc) % 2)
    if metadata.exif:
        blocks["exif-data"] = b"Exif\0\0" + stand_in(metadata.exif)
    for name, block in blocks.items():
        if block:  # libvips ends the process over an empty one
            image.set_type(pyvips.GValue.blob_type, name, block)
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    image.set_type(pyvips.GValue.gint_type, "loop", 1)  # else a GIF gets a block that repeats it without end
    return image


def complete(path: Path, metadata: Metadata) -> None:
    """Add to a file what libvips does not write: a TIFF's tags, text, cICP, density, a JPEG's long XMP, a GIF's.

    A PNG loses the density that libvips invents. What goes between, or away, takes a copy of the file.
    """
    with path.open("rb+") as file:
        head = file.read(13)
        if metadata.exif and not head.startswith((b"II*\0", b"\x89PNG")):
            put_exif(file, metadata.exif)
        at, inserted, removed = 0, b"", range(0)
        if head.startswith(b"\x89PNG"):
            # After IHDR.
            at = 33
            inserted = (png_chunk(b"cICP", metadata.cicp) if metadata.cicp else b"") + (metadata.png_text or b"")
            inserted += b"".join(map(_png_comment, metadata.comments))
            inserted += png_chunk(b"eXIf", metadata.exif) if metadata.exif else b""
            if metadata.density is None and (offset := png_density(file)):
                removed = range(offset - 8, offset + 13)
        elif head.startswith(b"GIF89a"):
            at = gif_colours_end(head)
            inserted = b"".join(map(_gif_comment, metadata.comments))
            inserted += _GIF_XMP + metadata.xmp + _GIF_XMP_END if metadata.xmp else b""
        elif head.startswith(b"\xff\xd8"):
            # The density first of all, the others after EXIF.
            at = 2
            if head[2:4] == b"\xff\xe1" and head[6:10] == b"Exif":
                removed = range(2, 4 + int.from_bytes(head[4:6], "big"))
            file.seek(2)
            inserted = _jfif(metadata.density) + file.read(len(removed))
            if metadata.xmp and len(metadata.xmp) > _XMP_LIMIT_OF_LIBVIPS:  # which it leaves out
                inserted += _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp)
            inserted += b"".join(_segment(0xFE, comment) for comment in metadata.comments)
        elif head.startswith(b"II*\0"):
            set_tags(file, metadata.exif, metadata.iptc, density=metadata.density is not None)
    if not inserted and not removed:
        return
    copy = path.with_suffix(".copy.tmp")
    try:
        with path.open("rb") as file, copy.open("xb") as target:
            target.write(file.read(at) + inserted)
            if removed:
                target.write(file.read(removed.start - at))
                file.seek(removed.stop)
            shutil.copyfileobj(file, target, 1 << 20)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _jfif(density: tuple[float, float] | None) -> bytes:
    """The APP0 segment with a density in dots per inch. ITU-T T.871, 10.1."""
    if density is None:
        return b""
    dpi = (min(max(round(value * 25.4), 1), 65535) for value in density)
    return struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF\0", 0x0102, 1, *dpi, 0, 0)
