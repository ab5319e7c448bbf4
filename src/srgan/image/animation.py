"""Animations, frame by frame: out of GIF, PNG, WebP and AVIF files, into WebP and GIF files."""

import abc
import io
import logging
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.fs import printable
from srgan.image import compose, pillow
from srgan.image.decode import has_end_mark, open_image, symmetry_of
from srgan.image.encode import encode
from srgan.image.metadata import Metadata, metadata_of
from srgan.image.source import (
    DEFAULT_LIMITS,
    Limits,
    Source,
    format_of,
    gif_blocks,
    gif_colours_end,
    name_of,
    open_bytes,
    webp_chunks,
)
from srgan.image.symmetry import apply_symmetry

log = logging.getLogger("srgan")

_ENDLESS = b"\x21\xff\x0bNETSCAPE2.0\x03\x01"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The whole image at one moment."""

    pixels: NDArray[np.uint8]
    """(H, W, 3)."""
    alpha: NDArray[np.uint8] | None
    """(H, W), not premultiplied; None where all is opaque."""
    milliseconds: int


class Animation:
    """The frames of a file, to be read once in order, each composed from what came before. Raises ImageError."""

    def __init__(self, source: Source, limits: Limits = DEFAULT_LIMITS) -> None:
        first = open_image(source, limits)
        self._symmetry = symmetry_of(first)
        self._stored = int(first.height), int(first.width)
        self.height, self.width = self._stored[::-1] if self._symmetry & 4 else self._stored
        self.metadata = metadata_of(first, source)
        self._source, self._limits, self._kind = source, limits, format_of(source)
        self._cut: int | None = None
        if first.format == "ushort":
            log.warning("%s: 8 of its frames' 16 bits are read.", name_of(source))
        if self._kind != "AVIF":
            with open_bytes(source) as file:
                self.count = sum(1 for _ in compose.stored_frames(file, self._kind))
                self.plays = compose.plays(file, self._kind)
            if not has_end_mark(source, self._kind):
                self._cut = self.count - 1 or None
                log.warning("%s ends without its end mark; the file may be cut.", name_of(source))
        else:
            with pillow.opened(self._source, self._kind, self._limits) as image:
                self.count = int(image.n_frames)
                self.plays = 0  # AVIF
        if self.count < 1:
            raise ImageError(f"{name_of(source)} is a damaged {self._kind}: it has no frames.")

    def __iter__(self) -> Iterator[Frame]:
        for stored, duration in self._composed():
            array = apply_symmetry(stored, self._symmetry)
            alpha = None if (array[..., 3] == 255).all() else array[..., 3].copy()
            milliseconds = round(duration) if math.isfinite(duration) and duration > 0 else 0
            yield Frame(pixels=array[..., :3].copy(), alpha=alpha, milliseconds=min(milliseconds, (1 << 24) - 1))

    def _composed(self) -> Iterator[tuple[compose.Rgba, float]]:
        """The stored image, not upright, at each frame, and its milliseconds."""
        if self._kind != "AVIF":
            yield from compose.composed(self._source, self._kind, self._limits, *self._stored, cut=self._cut)
            return
        with pillow.opened(self._source, self._kind, self._limits) as image:
            for number in range(self.count):
                image.seek(number)
                yield np.asarray(image.convert("RGBA")), float(image.info.get("duration") or 0)


class AnimationWriter(abc.ABC):
    """An animated file, put together from frames that are encoded one by one: WebpWriter or GifWriter.

    Memory does not grow with the frames. Files that libvips writes for single frames give the encoded pixels; the first
    one's give the metadata too, which the format must be able to hold. `name`: as ImageWriter's. Raises ImageError.
    """

    _needs_alpha = False

    def __init__(
        self,
        path: Path,
        *,
        name: Path,
        height: int,
        width: int,
        plays: int,
        metadata: Metadata,
        quality: int | None,
        lossless: bool,
    ) -> None:
        self._path, self._name, self._height, self._width, self._plays = path, name, height, width, plays
        self._metadata, self._quality, self._lossless = metadata, quality, lossless
        self._frames: list[tuple[int, int]] = []  # offset and length of each encoded frame
        self._file: BinaryIO = path.open("w+b")
        self._alpha = False

    def add(self, frame: Frame, provenance: dict[str, str] | None = None) -> int:
        """Encode and append a frame; returns its number, for `repeat`. The first one's `provenance` is the file's."""
        alpha = frame.alpha
        if alpha is None and self._needs_alpha:
            alpha = np.full(frame.pixels.shape[:2], 255, np.uint8)
        single = self._path.with_suffix(".frame.tmp")
        first = not self._frames
        try:
            encode(
                pyvips.Image.new_from_array(np.dstack([frame.pixels] if alpha is None else [frame.pixels, alpha])),
                single,
                self._name,
                metadata=self._metadata if first else Metadata(icc=self._metadata.icc),
                provenance=provenance if first else None,
                quality=self._quality,
                lossless=self._lossless,
            )
            data = single.read_bytes()
        finally:
            single.unlink(missing_ok=True)
        self._alpha = self._alpha or frame.alpha is not None
        encoded = self._frame(data, first=first)
        self._frames.append((self._file.tell(), len(encoded)))
        self._file.write(self._timed(encoded, frame.milliseconds))
        return len(self._frames) - 1

    def repeat(self, number: int, milliseconds: int) -> None:
        """Append frame `number` again."""
        end, (start, length) = self._file.tell(), self._frames[number]
        self._file.seek(start)
        encoded = self._file.read(length)
        self._file.seek(end)
        self._file.write(self._timed(encoded, milliseconds))

    def finish(self) -> None:
        """Write what stands at the end, and close the file."""
        self._write_end()
        self._file.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._file.close()

    @abc.abstractmethod
    def _frame(self, data: bytes, *, first: bool) -> bytes:
        """A still file's pixels as a frame. The first one's call writes the file's header and metadata."""

    @abc.abstractmethod
    def _timed(self, encoded: bytes, milliseconds: int) -> bytes:
        """The encoded frame with its duration."""

    @abc.abstractmethod
    def _write_end(self) -> None: ...


class WebpWriter(AnimationWriter):
    """An animated WebP: a header, a chunk for each frame, then EXIF and XMP. RFC 9649, section 2.7."""

    _ends = b""

    def _frame(self, data: bytes, *, first: bool) -> bytes:
        places = webp_chunks(io.BytesIO(data))
        chunks = {name: data[start - 8 : start + length + length % 2] for name, start, length in places}
        size = (self._width - 1).to_bytes(3, "little") + (self._height - 1).to_bytes(3, "little")
        if first:
            icc, exif, xmp = (chunks.get(name, b"") for name in (b"ICCP", b"EXIF", b"XMP "))
            flags = 0x02 | 0x20 * bool(icc) | 0x08 * bool(exif) | 0x04 * bool(xmp)
            self._file.write(b"RIFF\0\0\0\0WEBP" + struct.pack("<4sII", b"VP8X", 10, flags) + size + icc)
            self._file.write(struct.pack("<4sIIH", b"ANIM", 6, 0, min(self._plays, 65535)))
            self._ends = exif + xmp
        pixels = b"".join(chunks.get(name, b"") for name in (b"ALPH", b"VP8 ", b"VP8L"))
        # At (0, 0); 2: neither blended nor disposed of, since each frame is the whole image.
        return struct.pack("<4sI", b"ANMF", 16 + len(pixels)) + bytes(6) + size + b"\0\0\0\2" + pixels

    def _timed(self, encoded: bytes, milliseconds: int) -> bytes:
        return encoded[:20] + milliseconds.to_bytes(3, "little") + encoded[23:]

    def _write_end(self) -> None:
        self._file.write(self._ends)
        size = self._file.tell() - 8
        if size >= 1 << 32:
            raise ImageError(f"{printable(self._name)}: the animation takes more than 4 GB, which no WebP holds.")
        self._file.seek(4)
        self._file.write(struct.pack("<I", size))
        self._file.seek(20)
        flags = self._file.read(1)[0] | 0x10 * self._alpha
        self._file.seek(20)
        self._file.write(bytes([flags]))


class GifWriter(AnimationWriter):
    """An animated GIF: a header with XMP, comments and the number of plays, then each frame with its colours. GIF89a, sections 17 to 26."""

    _needs_alpha = True  # a colour that is transparent: without it, some readers clear the canvas with an opaque one

    def _frame(self, data: bytes, *, first: bool) -> bytes:
        transparent, extensions, at, colours_end = b"", b"", 0, gif_colours_end(data)
        for kind, start, end in gif_blocks(io.BytesIO(data)):
            at = start - 1
            if kind == b"\x2c":
                break
            if data[start] == 0xF9 and data[at + 3] & 1:
                transparent = data[at + 6 : at + 7]
            elif data[start] == 0xFE or data[at + 3 : at + 11] == b"XMP Data":
                extensions += data[at:end]
        if first:
            repeats = b"" if self._plays == 1 else _ENDLESS + struct.pack("<HB", min(max(self._plays - 1, 0), 65535), 0)
            self._file.write(b"GIF89a" + data[6:10] + b"\0\0\0" + extensions + repeats)
        # 8: the canvas is cleared after each frame, since each is the whole image.
        control = b"\x21\xf9\4" + bytes([8 | bool(transparent)]) + b"\0\0" + (transparent or b"\0") + b"\0"
        descriptor = data[at : at + 9] + bytes([data[at + 9] & 0x40 | 0x80 | data[10] & 7])
        return control + descriptor + data[13:colours_end] + data[at + 10 : -1]

    def _timed(self, encoded: bytes, milliseconds: int) -> bytes:
        """In hundredths of a second."""
        return encoded[:4] + struct.pack("<H", min(round(milliseconds / 10), 65535)) + encoded[6:]

    def _write_end(self) -> None:
        self._file.write(b"\x3b")


WRITERS: dict[str, type[AnimationWriter]] = {".webp": WebpWriter, ".gif": GifWriter}
"""By the suffix of the file that an animation is written to."""
