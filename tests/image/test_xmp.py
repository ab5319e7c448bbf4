"""XMP of a larger image: sizes grow, marks of what stays behind go, all else stays byte for byte."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.image.xmp import enlarged, in_utf8

HEAD = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
NAMES = {
    "pano": "http://ns.google.com/photos/1.0/panorama/",
    "camera": "http://ns.google.com/photos/1.0/camera/",
    "c": "http://ns.google.com/photos/1.0/container/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "d": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
    "note": "http://ns.adobe.com/xmp/note/",
    "dc": "http://purl.org/dc/elements/1.1/",
}


def packet(attributes: str, elements: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMES.items())
    return f'{HEAD}<rdf:Description rdf:about="" {spaces}{attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (' pano:FullPanoWidthPixels="32"', ' pano:FullPanoWidthPixels="128"'),
        (" pano:CroppedAreaTopPixels = '7'", " pano:CroppedAreaTopPixels = '28'"),
        (' pano:ProjectionType="equirectangular"', ' pano:ProjectionType="equirectangular"'),
        (' camera:MotionPhoto="1" camera:BurstID="2"', ' camera:BurstID="2"'),
        (' hdrgm:Version="1.0" dc:format="a>b"', ' dc:format="a>b"'),
        (' note:HasExtendedXMP="AB"', ""),
        (' tiff:ImageWidth="32" tiff:ImageLength="24"', ' tiff:ImageWidth="128" tiff:ImageLength="96"'),
        (' d:w="32" d:h="24" d:unit="pixel"', ' d:w="128" d:h="96" d:unit="pixel"'),
        (' exif:FocalPlaneXResolution="3000/2"', ' exif:FocalPlaneXResolution="12000/2"'),
    ],
)
def test_attributes(before, after):
    assert enlarged(packet(before), 4, 96, 128) == packet(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "<pano:FullPanoHeightPixels>24</pano:FullPanoHeightPixels>",
            "<pano:FullPanoHeightPixels>96</pano:FullPanoHeightPixels>",
        ),
        ("<camera:MicroVideo>1</camera:MicroVideo>\n<dc:x>1</dc:x>", "\n<dc:x>1</dc:x>"),
        ('<c:Directory><rdf:Seq><rdf:li c:a="1"/></rdf:Seq></c:Directory>', ""),
        ("<hdrgm:GainMapMax/>", ""),
        ("<exif:PixelXDimension>32</exif:PixelXDimension>", "<exif:PixelXDimension>128</exif:PixelXDimension>"),
        ("<exif:SubjectArea><rdf:Seq><rdf:li>3</rdf:li></rdf:Seq></exif:SubjectArea>", ""),
        (
            '<dc:title>MotionPhoto pano:FullPanoWidthPixels="3" é</dc:title>',
            '<dc:title>MotionPhoto pano:FullPanoWidthPixels="3" é</dc:title>',
        ),
    ],
)
def test_elements(before, after):
    assert enlarged(packet("", before), 4, 96, 128) == packet("", after)


def test_other_prefixes_mean_the_same():
    xmp = packet(' q:FullPanoWidthPixels="3"').replace(b"xmlns:pano", b"xmlns:q")
    assert b'q:FullPanoWidthPixels="12"' in enlarged(xmp, 4, 96, 128)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32-le", "utf-32"])
def test_packet_in_another_encoding(encoding):
    text = packet("", "<dc:title>é🎉</dc:title>").decode()
    assert in_utf8(text.encode(encoding)) == text.encode()


@given(st.binary(max_size=300))
def test_nonsense_stays(xmp):
    assert enlarged(xmp, 4, 96, 128) == xmp.rstrip(b"\0")


def test_packets_made_to_be_slow():
    bomb = b'<!DOCTYPE a [<!ENTITY b "' + b"x" * 1000 + b'">]><a>' + b"&b;" * 10_000 + b"</a>"
    deep = packet("", "<hdrgm:a>" * 20_000 + "</hdrgm:a>" * 20_000)
    wide = packet("", "<hdrgm:a/>" * 20_000)
    start = time.process_time()
    assert enlarged(bomb, 4, 96, 128) == bomb
    assert enlarged(deep, 4, 96, 128) == enlarged(wide, 4, 96, 128) == packet("")
    assert time.process_time() - start < 2
