"""What a picture file carries beside its pixels, and the provenance that srgan adds to it as XMP."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax import saxutils

from srgan.image.decode import ImageBytes, field, open_bytes, shown
from srgan.image.tiff_exif import exif_in_tiff

NAMESPACE = "urn:srgan:provenance:1#"

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
_OURS = re.compile(rb'<rdf:Description rdf:about="" xmlns:srgan="urn:srgan:provenance:1#"([^<>]{0,20000})/>')
_PAIR = re.compile(rb'srgan:([A-Za-z_][A-Za-z0-9_]{0,63})="([^"]*)"')
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8](?=[\"'<])")
_ENTITIES = {"&quot;": '"', "&apos;": "'", "&#10;": "\n", "&#13;": "\r", "&#9;": "\t"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """Kept byte for byte from file to file, but for an orientation, which is 1 once it has been applied."""

    icc: bytes | None = None
    """The embedded colour profile."""
    exif: bytes | None = None
    """A TIFF stream: it starts with the byte order, II or MM."""
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    """Pixels per millimetre, horizontal and vertical."""


def metadata_of(image: Any, source: Path | ImageBytes) -> Metadata:
    """The metadata of an upright picture, from the libvips image of its file."""
    if str(field(image, "vips-loader")).startswith("tiffload"):
        with open_bytes(source) as file:
            exif = exif_in_tiff(file)
    elif exif := field(image, "exif-data"):
        exif = upright_exif(exif, field(image, "orientation") or 1)
    xmp = field(image, "xmp-data")
    density = (float(image.xres), float(image.yres))
    return Metadata(
        icc=sound_profile(field(image, "icc-profile-data")),
        exif=exif,
        xmp=_XMP_ORIENTATION.sub(rb"\g<1>1", xmp) if xmp else None,
        iptc=field(image, "iptc-data"),
        density=None if density == (1.0, 1.0) else density,
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


def upright_exif(exif: bytes, orientation: int) -> bytes | None:
    """The block with its orientation set to 1 in place, and a thumbnail that stood otherwise unlinked.

    None when the block cannot be followed although it turned the picture: it would turn it again.
    """
    blob = bytearray(exif.removeprefix(b"Exif\0\0"))
    order = {b"II": "<", b"MM": ">"}.get(bytes(blob[:2]))
    found = False
    try:
        if order is None:
            raise struct.error
        (first,) = struct.unpack_from(f"{order}I", blob, 4)
        (count,) = struct.unpack_from(f"{order}H", blob, first)
        for place in range(first + 2, first + 2 + 12 * count, 12):
            if struct.unpack_from(f"{order}HHI", blob, place) == (0x0112, 3, 1):
                struct.pack_into(f"{order}H", blob, place + 8, 1)
                found = True
        if found and orientation != 1:
            struct.pack_into(f"{order}I", blob, first + 2 + 12 * count, 0)
    except struct.error:
        found = False
    return bytes(blob) if found or orientation == 1 else None


def with_provenance(xmp: bytes | None, provenance: Mapping[str, str]) -> bytes:
    """An XMP packet that says `provenance` (keys: letters, digits, _) besides all that it said before.

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
    return '"' + saxutils.escape(shown(value), {'"': "&quot;"}) + '"'


def provenance_in(xmp: bytes | None) -> dict[str, str] | None:
    """What `with_provenance` put into a packet, or None; reads no other XML."""
    match = _OURS.search(xmp) if xmp else None
    if match is None:
        return None
    pairs = _PAIR.findall(match.group(1))
    return {k.decode(): saxutils.unescape(v.decode("utf-8", "replace"), _ENTITIES) for k, v in pairs}
