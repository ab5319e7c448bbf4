"""Tiles: rectangles, halos, grids, and how large tiles may be for an image, an engine and the memory allowed."""

from __future__ import annotations

import contextlib
import itertools
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from srgan.errors import UsageError
from srgan.model.config import ReceptiveField, multiply_adds
from srgan.upscale.engine import Engine


class Box(NamedTuple):
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def slices(self) -> tuple[slice, slice]:
        """Index of this rectangle in an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def relative_to(self, outer: Box) -> Box:
        """The same rectangle in the coordinates of `outer`."""
        return Box(self.top - outer.top, self.left - outer.left, self.height, self.width)

    def absolute_in(self, outer: Box) -> Box:
        """The inverse of `relative_to`: a rectangle inside `outer` in the coordinates of the image."""
        return Box(self.top + outer.top, self.left + outer.left, self.height, self.width)

    def scaled(self, factor: int) -> Box:
        """The same rectangle on an image `factor` times larger."""
        return Box(self.top * factor, self.left * factor, self.height * factor, self.width * factor)

    def padded(self, halo: int, bounds: Box) -> Box:
        """The rectangle with `halo` more pixels on each side, cut at `bounds`."""
        top, left = max(self.top - halo, bounds.top), max(self.left - halo, bounds.left)
        bottom, right = min(self.bottom + halo, bounds.bottom), min(self.right + halo, bounds.right)
        return Box(top, left, bottom - top, right - left)

    def grown(self, border: int) -> Box:
        """The rectangle with `border` more pixels on each side."""
        return Box(self.top - border, self.left - border, self.height + 2 * border, self.width + 2 * border)

    def halves(self) -> tuple[Box, Box]:
        """The two halves along the longer side."""
        first, second = (Grid(2, 1) if self.height >= self.width else Grid(1, 2)).tiles(self)
        return first, second


def whole(height: int, width: int) -> Box:
    """The rectangle of an image."""
    return Box(0, 0, height, width)


class Grid(NamedTuple):
    """Rows x columns of even tiles: sizes differ by one pixel at most."""

    rows: int
    columns: int

    def tiles(self, box: Box) -> Iterator[Box]:
        """The tiles of `box`, row by row: each pixel is in exactly one."""
        tops = [box.top + box.height * row // self.rows for row in range(self.rows + 1)]
        lefts = [box.left + box.width * column // self.columns for column in range(self.columns + 1)]
        for (top, bottom), (left, right) in itertools.product(itertools.pairwise(tops), itertools.pairwise(lefts)):
            yield Box(top, left, bottom - top, right - left)


@lru_cache(maxsize=256)
def cheapest_grid(
    height: int, width: int, halo: int, window_pixels: int, smallest: int = 16, margin: int = 0
) -> Grid | None:
    """The grid that computes the fewest pixels, halos included, with no window larger than `window_pixels`.

    A tile is at least `smallest` pixels high and wide, unless the image is smaller; None where no grid fits. `margin`:
    what the halo has more on the left and on the right.
    """
    best: tuple[int, int, Grid] | None = None
    for rows in range(1, max(height // smallest, 1) + 1):
        if best is not None and covered(height, rows, halo) * width > best[0]:
            break
        tallest = _window(height, rows, halo)
        columns = _fewest(width, halo + margin, window_pixels // tallest, smallest)
        if columns is None:
            continue
        cost = covered(height, rows, halo) * covered(width, columns, halo + margin)
        if best is None or (cost, rows) < best[:2]:
            best = (cost, rows, Grid(rows, columns))
    return best[2] if best else None


def _window(size: int, count: int, halo: int) -> int:
    """The longest window of `count` even parts of `size`."""
    return min(-(-size // count) + halo * min(count - 1, 2), size)


def covered(size: int, count: int, halo: int) -> int:
    """Pixels of all windows along one side (a few less where a window is cut at the second border)."""
    return min(size + 2 * halo * (count - 1), size * count)


def _fewest(size: int, halo: int, limit: int, smallest: int) -> int | None:
    """The fewest even parts of `size` whose windows are at most `limit` long."""
    counts = range(1, max(size // smallest, 1) + 1)
    if _window(size, counts[-1], halo) > limit:
        return None
    fits = bisect_left(counts, True, hi=len(counts) - 1, key=lambda count: _window(size, count, halo) <= limit)
    return counts[fits]


SMALLEST_TILE = 16
"""Side in LR pixels, without its halo."""
BORDER = 8
"""LR pixels beyond the image's edges that are computed, mirrored: more change no pixel by more than a level or two."""
BODY_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85)
"""Parts of the memory that the network's body may take; the tail takes the rest."""
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True, kw_only=True)
class TilePlan:
    """Tiles of an image for the network's body, and the largest input (LR pixels) of its tail inside each."""

    grid: Grid
    tail_pixels: int


def bytes_from_text(text: str) -> int:
    """ "1GB", "500 MB", "1.5GiB", "800000000" -> bytes. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"memory is a size like 1GB or 500MB, got '{text}'.")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** _UNITS[unit.upper()])


def plan_tiles(
    height: int, width: int, engine: Engine, halo: ReceptiveField, memory: int, *, margin: int = 0, copies: int = 1
) -> TilePlan:
    """The cheapest tiles of a `height` x `width` image that hold at most `memory` bytes of activations.

    `margin`: LR pixels that each tile computes beyond its edges; `copies`: sets of features held at once (1 is
    counted in `engine.body_bytes`). Raises UsageError where not even a tile of 16 pixels fits.
    """
    height, width = height + 2 * BORDER, width + 2 * BORDER
    # One piece, if it fits.
    if copies == 1 and height * width * engine.tail_bytes <= memory:
        return TilePlan(grid=Grid(1, 1), tail_pixels=height * width)
    # Otherwise the share of the body's memory that gives the fewest multiply-adds, halos counted.
    padding = halo.total + margin
    body_bytes = engine.body_bytes + 4 * engine.config.width * (copies - 1)
    body_work, tail_work = multiply_adds(engine.config)
    best: tuple[float, TilePlan] | None = None
    for share in BODY_SHARES:
        region_pixels = int(memory * share / body_bytes)
        tail_pixels = int(memory * (1 - share) / engine.tail_bytes)
        grid = cheapest_grid(height, width, padding, region_pixels, SMALLEST_TILE)
        if grid is None or tail_pixels < (SMALLEST_TILE + 2 * (halo.tail + margin)) ** 2:
            continue
        body_pixels = covered(height, grid.rows, padding) * covered(width, grid.columns, padding)
        # One tile's strips, with their halos, stand for all.
        high, wide = -(-height // grid.rows), -(-width // grid.columns)
        strips = cheapest_grid(high + 2 * margin, wide, halo.tail, tail_pixels, 1, margin)
        assert strips is not None, "the smallest tile fits"
        rows, columns = high + 2 * (margin + halo.tail * strips.rows), wide + 2 * (margin + halo.tail) * strips.columns
        cost = body_work * body_pixels / (height * width) + tail_work * rows * columns / (high * wide)
        if best is None or cost < best[0]:
            best = (cost, TilePlan(grid=grid, tail_pixels=tail_pixels))
    if best is None:
        # What a tile of 16 pixels certainly fits into.
        body = (2 * SMALLEST_TILE + 2 * padding) ** 2 * body_bytes
        tail = (SMALLEST_TILE + 2 * (halo.tail + margin) + 1) ** 2 * engine.tail_bytes
        least = min(max(body / share, tail / (1 - share)) for share in BODY_SHARES)
        raise UsageError(
            f"memory {memory / 1e6:g}MB is too little for the smallest tile; allow at least {least / 1e6:.0f}MB."
        )
    return best[1]


def free_memory() -> int | None:
    """Bytes that this process may still take, of the machine's or its control group's memory, where known."""
    known = [value for value in (_meminfo(), _control_group()) if value is not None]
    return min(known) if known else None


def _meminfo() -> int | None:
    with contextlib.suppress(OSError):
        if match := re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text()):
            return int(match[1]) * 1024
    return None


def _control_group() -> int | None:
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        return max(limit - used, 0)
    return None
