"""Pictures decoded once: one memory-mapped file of uint8 pixels, each HR followed by its LR.

Layout: a prelude of 64 bytes (magic, offset and length of the header, its SHA-256), the pixels (each picture
starts at a multiple of 64), and the header, JSON: names, sizes, sources, digests, and what was left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError

MAGIC = b"SRGANPK1"
ALIGNMENT = 64
_PRELUDE = struct.Struct("<8sQQ32s8x")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture of a pack: where it came from, and either its place or the reason it was left out.

    `source`: size in bytes and mtime in ns of the HR file, then of the LR file where one was given.
    `height`, `width`: pixels of the HR. `offset`: bytes from the first pixel of the pack. `digest`: SHA-256
    of the HR's and the LR's bytes.
    """

    name: str
    source: tuple[int, ...]
    height: int = 0
    width: int = 0
    offset: int = 0
    digest: str = ""
    left_out: str = ""

    @property
    def length(self) -> int:
        """Bytes of HR and LR together."""
        return self.height * self.width * 3 // 16 * 17

    @property
    def end(self) -> int:
        """Where the next picture may start."""
        return -(-(self.offset + self.length) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """A pack opened for reading; indices run over the pictures, in the order of their names.

    `pixels`: uint8, 1-D, memory-mapped, read-only: every HR (H, W, 3), then its LR (H/4, W/4, 3).
    `heights`, `widths`: of the HRs, int64 (P,). `hr_offsets`, `lr_offsets`: into `pixels`, int64 (P,).
    `fingerprint`: SHA-256 over names, sizes and pixels. `left_out`: a sentence for each picture not taken.
    """

    path: Path
    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    hr_offsets: NDArray[np.int64]
    lr_offsets: NDArray[np.int64]
    fingerprint: str
    left_out: tuple[str, ...]
    entries: tuple[Entry, ...] = field(repr=False)
    minimum: int

    def __len__(self) -> int:
        return len(self.names)

    @property
    def megapixels(self) -> float:
        """Of all HRs together."""
        return float((self.heights * self.widths).sum()) / 1e6

    def hr(self, index: int) -> NDArray[np.uint8]:
        """The HR of a picture, (H, W, 3), a view."""
        return self._view(self.hr_offsets[index], self.heights[index], self.widths[index])

    def lr(self, index: int) -> NDArray[np.uint8]:
        """The LR of a picture, (H/4, W/4, 3), a view."""
        return self._view(self.lr_offsets[index], self.heights[index] // 4, self.widths[index] // 4)

    def _view(self, offset: np.int64, height: np.int64, width: np.int64) -> NDArray[np.uint8]:
        start = int(offset)
        shape = (int(height), int(width), 3)
        return self.pixels[start : start + shape[0] * shape[1] * 3].reshape(shape)


def open_pack(path: Path) -> Pack:
    """A pack, memory-mapped. Errors: DataError where the file is missing, is no pack, or is cut off."""
    header, length = _read_header(Path(path))
    entries = tuple(Entry(**{**e, "source": tuple(e["source"])}) for e in header["entries"])
    taken = [e for e in entries if not e.left_out]
    offsets = np.array([e.offset for e in taken], dtype=np.int64)
    heights = np.array([e.height for e in taken], dtype=np.int64)
    widths = np.array([e.width for e in taken], dtype=np.int64)
    return Pack(
        path=Path(path),
        pixels=np.memmap(path, dtype=np.uint8, mode="r", offset=_PRELUDE.size, shape=(length,)),
        names=tuple(e.name for e in taken),
        heights=heights,
        widths=widths,
        hr_offsets=offsets,
        lr_offsets=offsets + heights * widths * 3,
        fingerprint=fingerprint(taken),
        left_out=tuple(e.left_out for e in entries if e.left_out),
        entries=entries,
        minimum=header["minimum"],
    )


def fingerprint(entries: Iterable[Entry]) -> str:
    """SHA-256 over the names, sizes and pixels of the pictures taken: the same for the same training set."""
    total = hashlib.sha256()
    for entry in entries:
        total.update(json.dumps([entry.name, entry.height, entry.width, entry.digest]).encode() + b"\n")
    return total.hexdigest()


def is_pack(path: Path) -> bool:
    """Whether a file starts like a pack."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def prelude(header_offset: int = 0, header: bytes = b"") -> bytes:
    """The first 64 bytes of a pack; without arguments those of one that is still being written."""
    return _PRELUDE.pack(MAGIC, header_offset, len(header), hashlib.sha256(header).digest())


def header_bytes(entries: Sequence[Entry], minimum: int) -> bytes:
    """The JSON at the end of a pack."""
    return json.dumps({"minimum": minimum, "entries": [asdict(e) for e in entries]}).encode()


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header and the count of pixel bytes before it."""
    try:
        with path.open("rb") as file:
            start = file.read(_PRELUDE.size)
            if not start.startswith(MAGIC):
                raise DataError(f"{path} is not a pack of srgan; srgan data pack DIR makes one.")
            if len(start) < _PRELUDE.size:
                raise DataError(f"{path} is cut off at {len(start)} bytes; srgan data pack DIR makes it.")
            _, offset, length, digest = _PRELUDE.unpack(start)
            file.seek(0, os.SEEK_END)
            size = file.tell()
            file.seek(min(offset, size))
            text = file.read(length)
    except OSError as error:
        raise DataError(f"Cannot read the pack {path}: {error.strerror}.") from error
    if not length or hashlib.sha256(text).digest() != digest:
        raise DataError(f"{path} is damaged or cut off ({size} bytes); srgan data pack DIR makes it anew.")
    return json.loads(text), offset - _PRELUDE.size
