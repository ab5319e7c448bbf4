"""An array in a file, for pictures larger than memory."""

from __future__ import annotations

import contextlib
import secrets
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """An array (H, W, C), uint8 or uint16, in a file of raw numbers that is gone when closed.

    The numbers start after `margin` bytes. Read and written through the file, not mapped: mapped pages
    count as the process's memory, and a full disk would end the process instead of raising OSError.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], dtype: Any, *, margin: int = 0) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.path = folder / f".srgan-{secrets.token_hex(6)}.raw"
        self._margin = margin
        self._lock = threading.Lock()
        self._file = self.path.open("x+b", buffering=0)

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """A copy of the rectangle."""
        array = np.empty((height, width, self.shape[2]), self.dtype)
        with self._lock:
            for part, place in self._runs(top, left, array):
                self._file.seek(place)
                view = part.data.cast("B")
                while view and (count := self._file.readinto(view)):
                    view = view[count:]
        return array

    def write(self, top: int, left: int, array: NDArray[Any]) -> None:
        """Put a rectangle (h, w, C) at its place; OSError when the disk is full."""
        array = np.ascontiguousarray(array, self.dtype)
        with self._lock:
            for part, place in self._runs(top, left, array):
                self._file.seek(place)
                view = part.data.cast("B")
                while view:
                    view = view[self._file.write(view) :]

    def _runs(self, top: int, left: int, array: NDArray[Any]) -> list[tuple[NDArray[Any], int]]:
        """Contiguous parts of an array and where in the file they lie."""
        _, width, channels = self.shape
        pixel, margin = channels * self.dtype.itemsize, self._margin
        if left == 0 and array.shape[1] == width:
            return [(array, margin + top * width * pixel)] if array.size else []
        return [(row, margin + ((top + y) * width + left) * pixel) for y, row in enumerate(array) if row.size]

    def seal(self) -> None:
        """Make the file an uncompressed BigTIFF round the numbers, for libvips to read strip by strip.

        libvips maps raw files into memory as a whole; TIFF it reads. Needs a margin of 16 bytes.
        """
        assert self._margin == 16
        height, width, channels = self.shape
        line = width * channels * self.dtype.itemsize
        rows = max(1, (1 << 20) // line)
        starts = range(0, height, rows)
        end = self._margin + height * line
        end += end % 2
        offsets = struct.pack(f"<{len(starts)}Q", *(self._margin + y * line for y in starts))
        counts = struct.pack(f"<{len(starts)}Q", *((min(y + rows, height) - y) * line for y in starts))
        values = [
            (256, 4, struct.pack("<I", width)),
            (257, 4, struct.pack("<I", height)),
            (258, 3, struct.pack("<H", 8 * self.dtype.itemsize) * channels),
            (259, 3, struct.pack("<H", 1)),
            (262, 3, struct.pack("<H", 1 if channels < 3 else 2)),
            (273, 16, offsets),
            (277, 3, struct.pack("<H", channels)),
            (278, 4, struct.pack("<I", rows)),
            (279, 16, counts),
            (284, 3, struct.pack("<H", 1)),
        ]
        if channels in (2, 4):
            values.append((338, 3, struct.pack("<H", 2)))
        table, tail = struct.pack("<Q", len(values)), b""
        after = end + 8 + 20 * len(values) + 8
        for tag, kind, value in values:
            size = {3: 2, 4: 4, 16: 8}[kind]
            inline = value.ljust(8, b"\0") if len(value) <= 8 else struct.pack("<Q", after + len(tail))
            tail += value if len(value) > 8 else b""
            table += struct.pack("<HHQ", tag, kind, len(value) // size) + inline
        with self.path.open("r+b") as file:
            file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, end))
            file.seek(end)
            file.write(table + b"\0" * 8 + tail)

    def close(self) -> None:
        """Close and remove the file; may be called again."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
