"""Training pictures that stay in their files: only the sizes are read at the start, a crop is decoded when due."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.data.folders import Pair
from srgan.errors import DataError, ImageError
from srgan.image import files, resize

REACH = 8
"""HR pixels beyond a crop that the x1/4 bicubic looks at, rounded up to a multiple of 4."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unpacked:
    """A training set in its files, in the order of `names`; the counterpart of a `Pack`.

    `heights`, `widths`: of the HRs after cropping to multiples of 4, int64 (P,). `fingerprint`: SHA-256 over
    names, sizes and lengths of the files, which is another one than that of a pack of the same pictures.
    """

    pairs: tuple[Pair, ...] = field(repr=False)
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    fingerprint: str
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the pictures taken."""
        return tuple(pair.name for pair in self.pairs)

    def crop(self, index: int, top: int, left: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """LR (side, side, 3) and HR (4 side, 4 side, 3) at `top`, `left`; all in LR pixels.

        Raises DataError where a file cannot be read or has another size than at the start.
        """
        pair, size = self.pairs[index], (int(self.heights[index]), int(self.widths[index]))
        try:
            hr = resize.cropped(files.read_rgb8(pair.hr))
            lr = files.read_rgb8(pair.lr) if pair.lr else None
        except ImageError as error:
            raise DataError(f"{error} `srgan data check` finds all such files.") from error
        if hr.shape[:2] != size or (lr is not None and lr.shape[:2] != (size[0] // 4, size[1] // 4)):
            raise DataError(f"{pair.hr} or its LR changed its size while training; start again.")
        place = hr[4 * top : 4 * (top + side), 4 * left : 4 * (left + side)]
        if lr is None:
            return lr_of_region(hr, top, left, side), place
        return lr[top : top + side, left : left + side], place


def unpacked(pairs: list[Pair], *, minimum: int, workers: int = 8) -> Unpacked:
    """Read the sizes of all pictures. Errors: DataError where none is as large as `minimum` HR pixels."""
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(_size, pairs))
    taken: list[int] = []
    left_out: list[str] = []
    for i, (pair, size) in enumerate(zip(pairs, found, strict=True)):
        if isinstance(size, str):
            left_out.append(size)
        elif min(size) < minimum:
            left_out.append(f"{pair.hr} is {size[1]}x{size[0]}, smaller than the crop of {minimum}.")
        else:
            taken.append(i)
    if not taken:
        raise DataError(f"None of the {len(pairs)} pictures can be used; the first: {left_out[0]}")
    sizes = np.array([found[i] for i in taken], dtype=np.int64) // 4 * 4
    about = [(pairs[i].name, *size, *_lengths(pairs[i])) for i, size in zip(taken, sizes.tolist(), strict=True)]
    return Unpacked(
        pairs=tuple(pairs[i] for i in taken),
        heights=sizes[:, 0].copy(),
        widths=sizes[:, 1].copy(),
        fingerprint=hashlib.sha256(json.dumps(["unpacked", about]).encode()).hexdigest(),
        left_out=tuple(left_out),
    )


def lr_of_region(hr: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """The part of `resize.downscaled(hr)` at `top`, `left` (LR pixels), from just the HR pixels that it needs.

    The region starts and ends at multiples of 4 and at least 8 pixels beyond the part, or at the picture's
    border, so the pixels are those of the whole picture's LR, bit for bit.
    """
    rows = slice(max(4 * top - REACH, 0), min(4 * (top + side) + REACH, hr.shape[0]))
    columns = slice(max(4 * left - REACH, 0), min(4 * (left + side) + REACH, hr.shape[1]))
    small = resize.downscaled(hr[rows, columns])
    y, x = top - rows.start // 4, left - columns.start // 4
    return small[y : y + side, x : x + side]


def _size(pair: Pair) -> tuple[int, int] | str:
    try:
        return files.size(pair.hr)
    except ImageError as error:
        return str(error)


def _lengths(pair: Pair) -> list[int]:
    return [Path(path).stat().st_size for path in (pair.hr, pair.lr) if path]
