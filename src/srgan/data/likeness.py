"""Is this the same picture? By content: mirrored, turned, rescaled, re-compressed or cropped all the same.

Two stages. Low-resolution signatures of whole pictures and of windows in them give candidates by one matrix
product; each candidate is then aligned (shift and stretch of both axes, by Gauss-Newton) and must agree in detail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srgan.image.metrics import y_from_image

Grid = NDArray[np.float32]

SIDE = 64
"""Height and width of a thumbnail."""
_SIGNATURE = 16
_LIKELY = 0.5
_SAME = 0.8
_BLOCK = 4096
_WINDOWS = (1.0, 0.9, 0.8, 0.7)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Picture `left` of the one list and `right` of the other show the same; `agreement` is 0.8 to 1."""

    left: int
    right: int
    agreement: float


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of a picture (H, W[, 3]) as SIDE x SIDE area means."""
    height, width = picture.shape[:2]
    channels = np.atleast_3d(picture)
    rows = _averaging(0, height, SIDE, height) @ channels.reshape(height, -1).astype(np.float32)
    cells = _averaging(0, width, SIDE, width) @ rows.reshape(SIDE, width, -1)
    return np.rint(y_from_image(cells[..., 0] if picture.ndim == 2 else cells)).astype(np.uint8)


def area_means(grid: Grid, top: float, bottom: float, left: float, right: float, side: int) -> Grid:
    """The window of a grid (..., H, W), bounds in pixels and fractions, as exact means of side x side cells."""
    rows = _averaging(top, bottom, side, grid.shape[-2])
    columns = _averaging(left, right, side, grid.shape[-1])
    return np.asarray(rows @ grid @ columns.T, np.float32)


def _averaging(start: float, stop: float, cells: int, length: int) -> Grid:
    """The matrix (cells, length) that takes means of equal cells between two positions."""
    edges = np.linspace(start, stop, cells + 1)[:, None]
    pixels = np.arange(length)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    means: Grid = (np.maximum(shared, 0) * (cells / (stop - start))).astype(np.float32)
    return means


def same_pictures(left: Sequence[NDArray[np.uint8]], right: Sequence[NDArray[np.uint8]]) -> list[Likeness]:
    """Every pair of thumbnails, one of each list, that show the same picture."""
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(right) if left else 0, _BLOCK):
        others = np.stack(right[start : start + _BLOCK]).astype(np.float32)
        signed = _Signed(grids=others)
        for turn in range(8):
            ones = _turned(np.stack(left).astype(np.float32), turn)
            for i, j, window, inner in _candidates(_Signed(grids=ones), signed):
                pair = (others[j], ones[i]) if inner else (ones[i], others[j])
                agreement = aligned_agreement(*pair, window)
                if agreement >= _SAME:
                    found[i, start + j] = max(agreement, found.get((i, start + j), 0.0))
    return [Likeness(left=i, right=j, agreement=a) for (i, j), a in sorted(found.items())]


def _turned(grids: Grid, turn: int) -> Grid:
    """One of the square's eight symmetries: 1 mirrored, + 2 upside down, + 4 transposed."""
    grids = grids[:, :, ::-1] if turn & 1 else grids
    grids = grids[:, ::-1] if turn & 2 else grids
    return np.ascontiguousarray(grids.swapaxes(1, 2) if turn & 4 else grids)


def _windows() -> Iterator[tuple[float, float, float]]:
    """(top, left, side) of windows in a thumbnail, in pixels: the whole, and smaller ones half overlapping."""
    for share in _WINDOWS:
        side = share * SIDE
        steps = 1 if share == 1 else 3
        for top in np.linspace(0, SIDE - side, steps):
            for left in np.linspace(0, SIDE - side, steps):
                yield float(top), float(left), side


class _Signed:
    """Thumbnails (N, SIDE, SIDE) with the signatures of their windows, (windows, N, _SIGNATURE**2)."""

    def __init__(self, grids: Grid) -> None:
        self.windows = np.stack([_signatures(grids, *window) for window in _windows()])


def _candidates(ones: _Signed, others: _Signed) -> Iterator[tuple[int, int, tuple[float, float, float], bool]]:
    """(i, j, window, inner): likely pairs; the window is in the other j, or, where that is inner, in the one i."""
    windows = list(_windows())
    for inner in (False, True):
        many, few = (ones, others) if inner else (others, ones)
        flat = many.windows.reshape(-1, _SIGNATURE**2) @ few.windows[0].T
        scores = flat.reshape(len(windows), -1, flat.shape[1])
        scores = scores if inner else scores.swapaxes(1, 2)
        best, score = scores.argmax(axis=0), scores.max(axis=0)
        for i, j in np.argwhere(score > _LIKELY).tolist():
            yield i, j, windows[best[i, j]], inner


def _signatures(grids: Grid, top: float, left: float, side: float) -> Grid:
    """Unit vectors (N, _SIGNATURE**2) of a window's middle frequencies."""
    cells = area_means(grids, top, top + side, left, left + side, _SIGNATURE)
    detail = (cells - _blurred(cells, 2)).reshape(len(cells), -1)
    unit: Grid = detail / (np.linalg.norm(detail, axis=1, keepdims=True) + np.float32(1e-6))
    return unit


def _blurred(grid: Grid, reach: int) -> Grid:
    """Box means of (2 reach + 1)^2 cells over the last two axes, edges replicated."""
    pad = [(0, 0)] * (grid.ndim - 2) + [(reach, reach)] * 2
    width = 2 * reach + 1
    padded = np.pad(grid, pad, mode="edge").astype(np.float64)
    sums = np.pad(padded.cumsum(-2).cumsum(-1), [(0, 0)] * (grid.ndim - 2) + [(1, 0)] * 2)
    boxes = sums[..., width:, width:] - sums[..., :-width, width:]
    boxes += sums[..., :-width, :-width] - sums[..., width:, :-width]
    means: Grid = (boxes / width**2).astype(np.float32)
    return means


def aligned_agreement(inner: Grid, outer: Grid, window: tuple[float, float, float]) -> float:
    """Correlation of the details of `inner` and of the part of `outer` that fits it best, near a window.

    Both are SIDE x SIDE. The place (top, left, height, width) is improved by Gauss-Newton, coarse to fine.
    """
    top, left, side = window
    place = np.array([top, left, side, side])
    agreement = -1.0
    for reach, rounds, enough in ((4, 8, 0.3), (2, 6, 0.5), (1, 6, _SAME)):
        target = _normal(_detail(inner, reach))
        there = _detail(outer, reach)
        for _ in range(rounds):
            seen, slopes = _sampled(there, place)
            steepness = slopes.reshape(4, -1)
            residual = (target - _normal(seen)) * np.linalg.norm(seen - seen.mean())
            curvature = steepness @ steepness.T + 1e-6 * np.eye(4)
            place = place + np.clip(np.linalg.solve(curvature, steepness @ residual.ravel()), -4, 4)
            if not (0.5 * SIDE < place[2] < 1.2 * SIDE and 0.5 * SIDE < place[3] < 1.2 * SIDE):
                return -1.0
        agreement = float((target * _normal(_sampled(there, place)[0])).sum())
        if agreement < enough:
            return agreement
    return agreement


def _detail(grid: Grid, reach: int) -> Grid:
    """A band of frequencies: lightly smoothed minus heavily smoothed."""
    return _blurred(grid, reach // 2) - _blurred(grid, 4 * reach)


def _normal(grid: Grid) -> Grid:
    centred = grid - grid.mean()
    unit: Grid = centred / (np.linalg.norm(centred) + np.float32(1e-6))
    return unit


def _sampled(grid: Grid, place: NDArray[np.float64]) -> tuple[Grid, Grid]:
    """A grid read bilinearly at SIDE x SIDE points of a place, and its slopes in (top, left, height, width)."""
    share = (np.arange(SIDE) + 0.5) / SIDE
    y = np.clip(place[0] + share * place[2] - 0.5, 0, SIDE - 1.001)
    x = np.clip(place[1] + share * place[3] - 0.5, 0, SIDE - 1.001)
    rows, columns = y.astype(np.intp), x.astype(np.intp)
    fy, fx = (y - rows).astype(np.float32)[:, None], (x - columns).astype(np.float32)
    a, b = grid[np.ix_(rows, columns)], grid[np.ix_(rows, columns + 1)]
    c, d = grid[np.ix_(rows + 1, columns)], grid[np.ix_(rows + 1, columns + 1)]
    upper, lower = a + fx * (b - a), c + fx * (d - c)
    dy, dx = lower - upper, (b - a) + fy * ((d - c) - (b - a))
    grow = share.astype(np.float32)
    slopes = np.stack([dy, dx, dy * grow[:, None], dx * grow])
    return upper + fy * lower - fy * upper, slopes
