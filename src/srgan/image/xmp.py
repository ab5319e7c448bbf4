"""XMP packets: srgan's provenance in and out, sizes in pixels grown, fields removed that are wrong after enlarging."""

import html
import re
from collections.abc import Mapping

from srgan.fs import printable

NAMESPACE = "urn:srgan:provenance:1#"

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
_OURS = re.compile(rb'<rdf:Description rdf:about="" xmlns:srgan="urn:srgan:provenance:1#"([^<>]{0,20000})/>')
_PAIR = re.compile(rb'srgan:([A-Za-z_][A-Za-z0-9_]{0,63})="([^"]*)"')
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8](?=[\"'<])")
_GOOGLE = "http://ns.google.com/photos/"
_PANORAMA = f"{_GOOGLE}1.0/panorama/"
_EXIF, _TIFF = "http://ns.adobe.com/exif/1.0/", "http://ns.adobe.com/tiff/1.0/"
_STALE_NAMESPACES = (
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/pixeldatainfo/",
    *(
        f"{_GOOGLE}{what}/"
        for what in ("1.0/container", "1.0/depthmap", "1.0/image", "1.0/audio", "1.0/focus", "dd/1.0")
    ),
)
"""Namespaces of parts of a file that stay behind: gain maps, videos, depth, originals, sound."""
_STALE = re.compile(
    rf"{_GOOGLE}1.0/camera/ (Motion|Micro).*|.* HasExtendedXMP|.*/xap/1.0/ Thumbnails|{_EXIF} Subject(Area|Location)"
)
_WIDTH = (f"{_TIFF} ImageWidth", f"{_EXIF} PixelXDimension")
_HEIGHT = (f"{_TIFF} ImageLength", f"{_EXIF} PixelYDimension")
_TIMES = re.compile(rf"{_PANORAMA} .*Pixels|.*/sType/Dimensions# [wh]|{_EXIF} FocalPlane[XY]Resolution")
_TAG = re.compile(rb"<(?:[^\"'>]|\"[^\"]*\"|'[^']*')*>")
_ATTRIBUTE = re.compile(rb"(\s+)([\w.-]+):([\w.-]+)(\s*=\s*)(\"[^\"]*\"|'[^']*')")


def in_utf8(xmp: bytes) -> bytes:
    """The packet in UTF-8, of one in UTF-16 or UTF-32. XMP specification, part 1, section 7.1."""
    for name in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be") if b"\0" in xmp[:8] else ():
        text = xmp.decode(name, "ignore").lstrip("\ufeff")
        if text.startswith(("<?x", "<x:", "<rdf:")):
            return text.rstrip("\0").encode()
    return xmp


def upright(xmp: bytes) -> bytes:
    """The packet with an orientation of 1 where it states another."""
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def enlarged(xmp: bytes, scale: int, height: int, width: int) -> bytes:
    """The packet for an image `scale` times larger, of height x width: sizes in pixels grow, stale marks are dropped.

    All else stays byte for byte. A packet that is not well-formed or not UTF-8 stays as it is.
    """
    from xml.parsers import expat

    xmp = xmp.rstrip(b"\0")
    if b"\0" in xmp:
        return xmp
    cuts: list[tuple[int, int, bytes]] = []  # start, end, what comes there instead
    begins: list[int] = []
    stale_depth = 0  # of open elements, those from the first stale one on
    prefixes: dict[bytes, str] = {}
    parser = expat.ParserCreate(namespace_separator=" ")

    def value(name: str, text: bytes) -> bytes:
        if name in _WIDTH or name in _HEIGHT:
            return str(width if name in _WIDTH else height).encode()
        number = re.fullmatch(rb"(\s*)(\d{1,9})((?:\.0*)?(?:/\d+)?\s*)", text)
        return text if number is None else number[1] + str(int(number[2]) * scale).encode() + number[3]

    def attribute(match: re.Match[bytes]) -> bytes:
        name = f"{prefixes.get(match[2], '')} {match[3].decode('utf-8', 'replace')}"
        if _is_stale(name) or not _is_edited(name):
            return b"" if _is_stale(name) else match[0]
        quote = match[5][:1]
        return match[1] + match[2] + b":" + match[3] + match[4] + quote + value(name, match[5][1:-1]) + quote

    def declare(prefix: str | None, uri: str | None) -> None:
        prefixes[(prefix or "").encode()] = uri or ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal stale_depth
        begins.append(parser.CurrentByteIndex)
        if stale_depth or _is_stale(name):
            stale_depth += 1
        elif any(_is_edited(key) for key in attributes) and (tag := _TAG.match(xmp, begins[-1])):
            cuts.append((begins[-1], tag.end(), _ATTRIBUTE.sub(attribute, tag[0])))

    def end(name: str) -> None:
        nonlocal stale_depth
        begin = begins.pop()
        first = _TAG.match(xmp, begin)
        last = first if first and first[0].endswith(b"/>") else _TAG.match(xmp, parser.CurrentByteIndex)
        if stale_depth:
            stale_depth -= 1
            if not stale_depth and last:
                cuts.append((begin, last.end(), b""))
        elif _is_edited(name) and first and last and first.end() <= last.start():
            cuts.append((first.end(), last.start(), value(name, xmp[first.end() : last.start()])))

    def refuse(*_: object) -> None:
        raise ValueError("an XMP packet declares no entities")

    parser.StartNamespaceDeclHandler, parser.EntityDeclHandler = declare, refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(xmp, True)
    except (expat.ExpatError, ValueError):
        return xmp
    parts, done = [], 0
    for begin, finish, text in sorted(cuts):
        parts += [xmp[done:begin], text]
        done = finish
    return b"".join([*parts, xmp[done:]])


def _is_stale(name: str) -> bool:
    return name.startswith(_STALE_NAMESPACES) or _STALE.fullmatch(name) is not None


def _is_edited(name: str) -> bool:
    return _is_stale(name) or name in _WIDTH or name in _HEIGHT or _TIMES.fullmatch(name) is not None


def with_provenance(xmp: bytes | None, provenance: Mapping[str, str]) -> bytes:
    """An XMP packet that says `provenance` (keys: letters, digits, _) after what it held before.

    A packet that is no RDF cannot be added to and gives way to a new one.
    """
    packet = _OURS.sub(b"", xmp) if xmp else _PACKET
    head, end, tail = packet.rpartition(b"</rdf:RDF>")
    if not end:
        head, end, tail = _PACKET.rpartition(b"</rdf:RDF>")
    pairs = "".join(
        f' srgan:{key}="{html.escape(printable(value, limit=20_000))}"' for key, value in provenance.items()
    )
    ours = f'<rdf:Description rdf:about="" xmlns:srgan="{NAMESPACE}"{pairs}/>'
    return head + ours.encode() + end + tail


def provenance_in(xmp: bytes | None) -> dict[str, str] | None:
    """What `with_provenance` put into a packet, or None; reads no other XML."""
    match = _OURS.search(xmp) if xmp else None
    if match is None:
        return None
    pairs = _PAIR.findall(match.group(1))
    return {k.decode(): html.unescape(v.decode("utf-8", "replace")) for k, v in pairs}
