"""The files that mutations start from: good ones of every kind, and some known nasty ones."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.image import corpus
from tests.support import random_weights

from srgan.image import files
from srgan.model import weights as room
from srgan.model.config import GeneratorConfig

HEICS = [Path(corpus.__file__).with_name(name) for name in ("waves.heic", "turned.heic")]


def images() -> list[bytes]:
    """Every awkward image file of the tests, files of ours with all metadata, other compressions, bombs."""
    known = [case.data for case in [*corpus.exact(), *corpus.lossy()]]
    known += [data for _, data, _ in corpus.refused()]
    metadata = files.Metadata(
        icc=corpus.profile(),
        exif=corpus.exif(6),
        xmp=corpus.XMP,
        iptc=b"\x1c\x02\x50\0\1a",
        density=(9.0, 9.0),
        png_text=corpus.chunk(b"tEXt", b"Title\0x") + corpus.chunk(b"iTXt", b"Author\0\0\0de\0\0Zo\xc3\xab"),
        comments=(b"one",),
    )
    for dtype, channels in ((np.uint8, 3), (np.uint16, 3), (np.uint8, 1)):
        array = corpus.smooth(channels, dtype, 40, 50)
        example = files.Image(pixels=array if channels == 3 else array[..., 0], metadata=metadata)
        known += [files.encode_image(example, suffix, provenance={"model": "x"}) for suffix in files.OUTPUT_SUFFIXES]
    known += _compressed_tiffs() + _nasty() + _several() + [path.read_bytes() for path in HEICS]
    image = Image.fromarray(corpus.smooth(4, height=40, width=50)[..., :3]).convert("CMYK")
    known += [corpus.pillow(image, form) for form in ("JPEG", "TIFF")]
    return known


def _compressed_tiffs() -> list[bytes]:
    image = Image.fromarray(corpus.smooth(3, height=60, width=80))
    made = []
    for compression in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        made.append(corpus.pillow(image, "TIFF", compression=compression))
    made += [corpus.pillow(image.convert("1"), "TIFF", compression=name) for name in ("group3", "group4")]
    made.append(corpus.tiff(np.asarray(image), tile=(16, 16), photometric="rgb", compression="zlib"))
    return made


def _several() -> list[bytes]:
    """Animations, one with a stand-in image, and a TIFF of three pages."""
    first, *others = (Image.fromarray(corpus.smooth(4, height=20, width=30) // (i + 1)) for i in range(3))
    options: dict[str, Any] = {"save_all": True, "append_images": others, "duration": [40, 80, 120], "loop": 3}
    made = [corpus.pillow(first, form, **options) for form in ("GIF", "WebP", "PNG", "AVIF", "TIFF")]
    return [*made, corpus.pillow(first, "PNG", default_image=True, **options)]


def _nasty() -> list[bytes]:
    """Bombs and endless headers."""
    rows = corpus.smooth(3, np.uint16)
    zeros = zlib.compress(bytes(60_000_000), 9)
    note = corpus.chunk(b"tEXt", b"Comment\0x")
    header = struct.pack(">IIBBBBB", 2000, 2000, 16, 6, 0, 0, 1)
    still = corpus.pillow(Image.fromarray(corpus.smooth(3)), "JPEG")
    frames = [Image.fromarray(np.full((8, 8), i % 256, np.uint8)) for i in range(500)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    loop = bytearray(corpus.tiff(corpus.smooth(3), photometric="rgb"))
    (first,) = struct.unpack_from("<I", loop, 4)
    (entries,) = struct.unpack_from("<H", loop, first)
    struct.pack_into("<I", loop, first + 2 + 12 * entries, first)
    return [
        corpus.png(rows, 2, corpus.chunk(b"iCCP", b"x\0\0" + zeros)),
        corpus.png(rows, 2, corpus.chunk(b"zTXt", b"Comment\0\0" + zeros)),
        corpus.png(rows, 2, corpus.chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zeros)),
        corpus.png(rows, 2, *[note] * 30_000),
        b"\x89PNG\r\n\x1a\n"
        + corpus.chunk(b"IHDR", header)
        + corpus.chunk(b"IDAT", zeros)
        + corpus.chunk(b"IEND", b""),
        still[:2] + (b"\xff\xe1\0\x0aExif\0\0ab" + b"\xff\xfe\0\x06abcd") * 20_000 + still[2:],
        still[:2] + b"\xff" * 1_000_000,
        many_scans(),
        stream.getvalue(),
        bytes(loop),
    ]


def many_scans() -> bytes:
    """A progressive JPEG of 2 megapixels that sends the same scan two thousand times."""
    data = corpus.pillow(Image.new("L", (2000, 1000)), "JPEG", progressive=True, quality=50)
    start = data.rindex(b"\xff\xda")
    tables = data.rindex(b"\xff\xc4")
    scan = data[min(start, tables) : -2]
    return data[:-2] + scan * 2000 + data[-2:]


def weights(folder: Path) -> list[bytes]:
    """Small generators, in float32 and float16."""
    made = []
    path = folder / "input"
    for config in (GeneratorConfig(blocks=1, width=4), GeneratorConfig(blocks=2, width=8, scale=2)):
        for dtype in (np.float32, np.float16):
            tensors: dict[str, Any] = {k: v.astype(dtype) for k, v in random_weights(config).tensors.items()}
            room.write(path, tensors, config=config, metadata={"recipe": "fuzz"})
            made.append(path.read_bytes())
    return made


YAML = (
    "null",
    "true",
    "-1",
    "0",
    "1e400",
    "-.inf",
    ".nan",
    "0x" + "f" * 6000,
    "9" * 6000,
    "1" * 4301,
    "1:2:3",
    "2020-13-45",
    "!!python/object/apply:os.system ['touch /tmp/x']",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!timestamp x",
    "<<: {a: 1}",
    "&a [*a]",
    "*nothing",
    "[" * 3000,
    "{" * 3000,
    "- " * 3000,
    "[1, [2, [3]]]",
    "{a: {b: c}}",
    "'\x1b[31m'",
    '"\\0\\e[31m"',
    '"\\ud800"',
    "é漢",
    "'" + "x" * 20_000 + "'",
    "|\n  text",
    "%YAML 9.9",
    "--- a\n--- b",
    "? [a]\n: b",
    "? {a: b}\n: c",
    "~: 1",
    "1: 2",
    "learning-rate: 1e-4",
    "learning_rate: 1e-4\nlearning_rate: 2",
    "no_such_setting: 1",
    "../../etc/passwd",
    "/dev/zero",
    "a: &x [1,1,1,1,1,1,1,1,1]\nb: &y [*x,*x,*x,*x,*x,*x,*x]\nc: [*y,*y,*y,*y,*y,*y,*y]",
)
"""Values and lines that a settings file should not hold."""
