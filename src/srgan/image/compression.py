"""How strongly a file was compressed, as its header says: the quality of a JPEG, the quantiser of a lossy WebP."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srgan.image.source import Source, jpeg_segments, open_bytes, webp_chunks

LUMINANCE = {
    (0, 1): 11,
    (1, 0): 12,
    (2, 0): 14,
    (1, 1): 12,
    (0, 2): 10,
    (0, 3): 16,
    (1, 2): 14,
    (2, 1): 13,
    (3, 0): 14,
}
"""The nine lowest frequencies of the luminance table at quality 50, in a JPEG's zigzag order: (vertical, horizontal) -> step.

ITU-T T.81, table K.1.
"""


def jpeg_quality(source: Source) -> float | None:
    """libjpeg's quality, 1 to 100, whose luminance table is closest to the file's; None without readable tables."""
    try:
        with open_bytes(source) as file:
            if file.read(2) != b"\xff\xd8":
                return None
            for marker, start, length in jpeg_segments(file):
                file.seek(start)
                tables = file.read(length) if marker == 0xDB else b""
                while tables:
                    size = 2 if tables[0] >> 4 else 1
                    steps = [
                        int.from_bytes(tables[at : at + size], "big") for at in range(1 + size, 1 + 10 * size, size)
                    ]
                    if tables[0] & 15 == 0 and all(steps):
                        return quality([step / k1 for step, k1 in zip(steps, LUMINANCE.values(), strict=True)])
                    tables = tables[1 + 64 * size :]
    except OSError:
        pass
    return None


def webp_quantiser(source: Source) -> int | None:
    """The index of the quantiser, 0 (best) to 127, of a lossy WebP (RFC 6386, section 9); None for others."""
    try:
        with open_bytes(source) as file:
            starts = [start for name, start, _ in webp_chunks(file) if name == b"VP8 "]
            file.seek(starts[0] if starts else 0)
            frame = file.read(512)
    except OSError:
        return None
    if not starts or frame[3:6] != b"\x9d\x01\x2a":
        return None
    bits = _BoolDecoder(frame[10:])
    bits.skip(2)
    if bits.flag():  # segments
        update_map, update_data = bits.flag(), bits.flag()
        if update_data:
            bits.skip(1)
            for width in (7,) * 4 + (6,) * 4:
                if bits.flag():
                    bits.skip(width + 1)
        if update_map:
            for _ in range(3):
                if bits.flag():
                    bits.skip(8)
    bits.skip(10)
    if bits.flag() and bits.flag():  # changes of the loop filter
        for _ in range(8):
            if bits.flag():
                bits.skip(7)
    bits.skip(2)
    return bits.number(7)


def quality(ratios: Sequence[float]) -> float:
    """libjpeg's quality from steps divided by those of quality 50."""
    scale = float(np.median(ratios))
    return 50 / scale if scale > 1 else 100 - 50 * scale


class _BoolDecoder:
    """Reads VP8's arithmetic code with even odds (RFC 6386, section 7); after the end it reads zeros."""

    def __init__(self, data: bytes) -> None:
        self._data, self._next = data + bytes(8), 2
        self._value, self._range, self._bits = int.from_bytes(data[:2].ljust(2, b"\0"), "big"), 255, 0

    def flag(self) -> int:
        """One bit."""
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = int(self._value >= split << 8)
        self._range, self._value = (self._range - split, self._value - (split << 8)) if bit else (split, self._value)
        while self._range < 128:
            self._value, self._range, self._bits = self._value << 1, self._range << 1, self._bits + 1
            if self._bits == 8:
                self._bits = 0
                self._value |= self._data[self._next] if self._next < len(self._data) else 0
                self._next += 1
        return bit

    def number(self, bits: int) -> int:
        """A number, its highest bit first."""
        value = 0
        for _ in range(bits):
            value = 2 * value + self.flag()
        return value

    def skip(self, bits: int) -> None:
        """Read past some bits."""
        self.number(bits)
