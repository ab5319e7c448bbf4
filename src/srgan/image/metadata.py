"""What an image file carries beside its pixels: ICC, EXIF, XMP, IPTC, density, text; and srgan's provenance as XMP."""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyvips

from srgan.fs import printable
from srgan.image.decode import Source, field, name_of, open_bytes, png_chunks
from srgan.image.tiff_exif import exif_in_tiff

NAMESPACE = "urn:srgan:provenance:1#"

log = logging.getLogger("srgan")

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
_OURS = re.compile(rb'<rdf:Description rdf:about="" xmlns:srgan="urn:srgan:provenance:1#"([^<>]{0,20000})/>')
_PAIR = re.compile(rb'srgan:([A-Za-z_][A-Za-z0-9_]{0,63})="([^"]*)"')
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8](?=[\"'<])")
_ENTITIES = {
    "&quot;": '"',
    "&apos;": "'",
    "&#10;": "\n",
    "&#13;": "\r",
    "&#9;": "\t",
    "&gt;": ">",
    "&lt;": "<",
    "&amp;": "&",  # last, so that "&amp;lt;" gives "&lt;"
}
_MAX_TEXT = 1 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is carried from file to file; the orientation is 1, since it has been applied to the pixels."""

    icc: bytes | None = None
    """The embedded colour profile."""
    exif: bytes | None = None
    """A TIFF stream: it starts with the byte order, II or MM."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    """Pixels per millimetre, horizontal and vertical."""
    png_text: bytes | None = None
    """A PNG's tEXt, zTXt and iTXt chunks, byte for byte."""
    jpeg_comments: bytes | None = None
    """A JPEG's COM segments, byte for byte."""


def metadata_of(image: Any, source: Source) -> Metadata:
    """The metadata of a file, from its libvips image; text and a TIFF's EXIF from the file itself."""
    loader = str(field(image, "vips-loader"))
    exif, text, comments = field(image, "exif-data"), None, None
    with open_bytes(source) as file:
        if loader.startswith("tiffload"):
            exif = exif_in_tiff(file)
        elif loader.startswith("pngload"):
            text = _png_text(file)
        elif loader.startswith("jpegload"):
            comments = _jpeg_comments(file)
    if len(text or comments or b"") > _MAX_TEXT:
        log.warning("%s: text of more than 1 MB beside the pixels is left out.", name_of(source))
        text = comments = None
    xmp = field(image, "xmp-data")
    density = (float(image.xres), float(image.yres))
    return Metadata(
        icc=sound_profile(field(image, "icc-profile-data")),
        exif=upright_exif(exif) if exif else None,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
        iptc=field(image, "iptc-data"),
        density=None if density == (1.0, 1.0) else density,
        png_text=text,
        jpeg_comments=comments,
    )


def sound_profile(icc: bytes | None) -> bytes | None:
    """The profile, or None where its header or table of tags is wrong: no reader uses it, some writers fail.

    ICC.1:2022, sections 7.2 and 7.3.
    """
    if icc is None or len(icc) < 132 or icc[36:40] != b"acsp" or len(icc) != int.from_bytes(icc[:4], "big"):
        return None
    table = icc[132 : 132 + 12 * int.from_bytes(icc[128:132], "big")]
    if len(table) != 12 * int.from_bytes(icc[128:132], "big"):
        return None
    places = [struct.unpack(">II", table[at + 4 : at + 12]) for at in range(0, len(table), 12)]
    return icc if all(offset + length <= len(icc) for offset, length in places) else None


def upright_exif(exif: bytes) -> bytes | None:
    """The EXIF block with orientation 1 and without its thumbnail; None where its directory cannot be read."""
    block = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(block[:4]))
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for offset in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}HHI", block, offset) == (0x0112, 3, 1):
                struct.pack_into(f"{order}H", block, offset + 8, 1)
        # The next directory is the thumbnail's.
        struct.pack_into(f"{order}I", block, start + 2 + 12 * count, 0)
    except struct.error:
        return None
    return bytes(block)


def _png_text(file: BinaryIO) -> bytes | None:
    """The text chunks before the pixels, without XMP and without ImageMagick's copies of EXIF and IPTC."""
    text = b""
    for name, offset, length in png_chunks(file):
        if name in (b"tEXt", b"zTXt", b"iTXt") and len(text) <= _MAX_TEXT:
            file.seek(offset - 8)
            chunk = file.read(min(length, _MAX_TEXT) + 12)
            checksum = struct.pack(">I", zlib.crc32(chunk[4:-4]))
            if not chunk[8:].startswith((b"XML:com.adobe.xmp\0", b"Raw profile type ")) and chunk[-4:] == checksum:
                text += chunk
    return text or None


def _jpeg_comments(file: BinaryIO) -> bytes | None:
    """The COM segments before the pixels. ITU-T T.81, B.2.4.5."""
    comments = b""
    file.seek(2)
    while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
        length = int.from_bytes(head[2:], "big") - 2
        if length < 0 or len(comments) > _MAX_TEXT:
            break
        body = file.read(length)
        if head[1] == 0xFE and len(body) == length:
            comments += head + body
    return comments or None


def attach_metadata(image: Any, metadata: Metadata, provenance: Mapping[str, str] | None) -> Any:
    """The lazy image with the fields of libvips from which a saver writes `metadata` and `provenance`.

    libvips writes EXIF anew: the tags that libexif knows, with the new size in pixels.
    """
    density = metadata.density or (1.0, 1.0)
    image = image.copy(xres=density[0], yres=density[1])
    xmp = metadata.xmp if provenance is None else with_provenance(metadata.xmp, provenance)
    blocks = {"icc-profile-data": metadata.icc, "xmp-data": xmp, "iptc-data": metadata.iptc}
    if metadata.exif:
        blocks["exif-data"] = b"Exif\0\0" + metadata.exif
    for name, block in blocks.items():
        if block:  # libvips ends the process over an empty one
            image.set_type(pyvips.GValue.blob_type, name, block)
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def insert_text(source: Path, target: Path, metadata: Metadata) -> None:
    """Copy a finished PNG or JPEG with what libvips does not write: text, and a JPEG's density without EXIF."""
    with source.open("rb") as file, target.open("wb") as copy:
        head = file.read(33)
        if head.startswith(b"\x89PNG"):
            # After IHDR.
            offset, extra = 33, metadata.png_text or b""
        else:
            # After the EXIF segment, which comes first; else the first of all.
            exif_first = head[2:4] == b"\xff\xe1" and head[6:10] == b"Exif"
            offset = 4 + int.from_bytes(head[4:6], "big") if exif_first else 2
            extra = (b"" if exif_first else _jfif(metadata.density)) + (metadata.jpeg_comments or b"")
        file.seek(0)
        copy.write(file.read(offset) + extra)
        shutil.copyfileobj(file, copy, 1 << 20)


def _jfif(density: tuple[float, float] | None) -> bytes:
    """The APP0 segment with a density in dots per inch. ITU-T T.871, 10.1."""
    if density is None:
        return b""
    dpi = (min(max(round(value * 25.4), 1), 65535) for value in density)
    return struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF\0", 0x0102, 1, *dpi, 0, 0)


def with_provenance(xmp: bytes | None, provenance: Mapping[str, str]) -> bytes:
    """An XMP packet that says `provenance` (keys: letters, digits, _) after what it held before.

    A packet that is not UTF-8 RDF cannot be added to and gives way to a new one.
    """
    packet = _OURS.sub(b"", xmp) if xmp else _PACKET
    head, end, tail = packet.rpartition(b"</rdf:RDF>")
    if not end:
        head, end, tail = _PACKET.rpartition(b"</rdf:RDF>")
    pairs = "".join(f" srgan:{key}={_quoted(value)}" for key, value in provenance.items())
    ours = f'<rdf:Description rdf:about="" xmlns:srgan="{NAMESPACE}"{pairs}/>'
    return head + ours.encode() + end + tail


def _quoted(value: str) -> str:
    text = printable(value, limit=20_000)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return f'"{text}"'


def _unquoted(value: bytes) -> str:
    """The inverse of `_quoted`, for other writers' entities too; xml.sax would take as long to import as NumPy."""
    text = value.decode("utf-8", "replace")
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return text


def provenance_in(xmp: bytes | None) -> dict[str, str] | None:
    """What `with_provenance` put into a packet, or None; reads no other XML."""
    match = _OURS.search(xmp) if xmp else None
    if match is None:
        return None
    pairs = _PAIR.findall(match.group(1))
    return {k.decode(): _unquoted(v) for k, v in pairs}
