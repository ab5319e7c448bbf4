"""Whether two images show the same, by content: mirrored, turned, rescaled, compressed again, darker or cropped.

Each image becomes a thumbnail; each window of a thumbnail becomes a signature, a unit vector of its middle
frequencies. Two images show the same where a window of the one and the whole of the other agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srgan.data.crops import apply_symmetry
from srgan.image.metrics import y_from_image

Grid = NDArray[np.float32]

SIDE = 64
"""Height and width of a thumbnail."""
SAME = 0.7
"""Agreement from which two images show the same.

Measured with 143 test and validation images against 592 training images: different images reach 0.676. Found are all
143 after JPEG 50, halved and mirrored, a quarter turn, darker, or cut to 95, 90 or 85 % of a side; 122 at 80 %; 43 at
72 % and mirrored.
"""
WINDOWS = (0.9, 0.8, 0.7)
"""Sides of the windows as parts of the whole, each at 4 x 4 places."""
_CELLS = 16
_BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Image `left` of one list shows the same as image `right` of the other; `agreement` is SAME to 1."""

    left: int
    right: int
    agreement: float


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of an image (H, W[, 3]) as SIDE x SIDE area means."""
    height, width = image.shape[:2]
    rows = _averaging(0, height, SIDE, height) @ np.atleast_3d(image).reshape(height, -1).astype(np.float32)
    cells = _averaging(0, width, SIDE, width) @ rows.reshape(SIDE, width, -1)
    return np.rint(y_from_image(cells[..., 0] if image.ndim == 2 else cells)).astype(np.uint8)


def same_images(left: Sequence[NDArray[np.uint8]], right: Sequence[NDArray[np.uint8]]) -> list[Likeness]:
    """Every pair of thumbnails, one of each list, that show the same."""
    matches = []
    for start in range(0, len(right) if left else 0, _BLOCK):
        agreement = _agreement(np.stack(left), np.stack(right[start : start + _BLOCK]))
        for i, j in np.argwhere(agreement >= SAME).tolist():
            matches.append(Likeness(left=i, right=start + j, agreement=float(agreement[i, j])))
    return sorted(matches, key=lambda match: (match.left, match.right))


def _agreement(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Grid:
    """The highest correlation of each pair (L, R) over windows and the eight symmetries of the left ones."""
    best = np.full((len(left), len(right)), -1, np.float32)
    of_right = _signatures(right.astype(np.float32))
    for symmetry in range(8):
        of_left = _signatures(_transformed(left, symmetry).astype(np.float32))
        for window in range(len(of_left)):
            np.maximum(best, of_left[window] @ of_right[0].T, out=best)
            np.maximum(best, of_left[0] @ of_right[window].T, out=best)
    return best


def _transformed(grids: NDArray[np.uint8], symmetry: int) -> NDArray[np.uint8]:
    """All grids (N, SIDE, SIDE) after one of the square's symmetries."""
    return np.moveaxis(apply_symmetry(np.moveaxis(grids, 0, -1), symmetry), -1, 0)


def _signatures(grids: Grid) -> Grid:
    """(windows, N, _CELLS**2): unit vectors of what is finer than 5 x 5 cells in each window of (N, SIDE, SIDE)."""
    offsets = np.arange(_CELLS)[:, None] + np.arange(-2, 3)
    blur = (np.clip(offsets, 0, _CELLS - 1)[..., None] == np.arange(_CELLS)).mean(axis=1, dtype=np.float32)
    signatures = []
    for top, left, side in _windows():
        rows = _averaging(top, top + side, _CELLS, SIDE)
        columns = _averaging(left, left + side, _CELLS, SIDE)
        cells = rows @ grids @ columns.T
        detail = (cells - blur @ cells @ blur.T).reshape(len(grids), -1)
        signatures.append(detail / (np.linalg.norm(detail, axis=1, keepdims=True) + np.float32(1e-6)))
    return np.stack(signatures)


def _windows() -> Iterator[tuple[float, float, float]]:
    """(top, left, side) of the windows of a thumbnail, in its pixels; the first is the whole."""
    yield 0.0, 0.0, float(SIDE)
    for part in WINDOWS:
        places = np.linspace(0, SIDE - part * SIDE, 4).tolist()
        yield from ((top, left, part * SIDE) for top in places for left in places)


def _averaging(start: float, stop: float, cells: int, length: int) -> Grid:
    """The matrix (cells, length) that takes the means of equal cells between two positions."""
    edges = np.linspace(start, stop, cells + 1)[:, None]
    pixels = np.arange(length)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    means: Grid = (np.maximum(shared, 0) * (cells / (stop - start))).astype(np.float32)
    return means
