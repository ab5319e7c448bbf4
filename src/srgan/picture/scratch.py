"""An array in a file, for pictures larger than memory."""

from __future__ import annotations

import contextlib
import secrets
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """An array (H, W, C) in a file of raw numbers that is gone when closed.

    Read and written through the file, not mapped: mapped pages count as the process's memory, and a full
    disk would end the process instead of raising OSError.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], dtype: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.path = folder / f".srgan-{secrets.token_hex(6)}.raw"
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
        pixel = channels * self.dtype.itemsize
        if left == 0 and array.shape[1] == width:
            return [(array, top * width * pixel)] if array.size else []
        return [(row, ((top + y) * width + left) * pixel) for y, row in enumerate(array) if row.size]

    def close(self) -> None:
        """Close and remove the file; may be called again."""
        self._file.close()
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
