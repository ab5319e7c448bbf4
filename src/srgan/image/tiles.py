"""Geometry of tiles: rectangles, halos and grids."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple


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
        for row in range(self.rows):
            top, bottom = _edge(box.height, row, self.rows), _edge(box.height, row + 1, self.rows)
            for column in range(self.columns):
                left, right = (
                    _edge(box.width, column, self.columns),
                    _edge(box.width, column + 1, self.columns),
                )
                yield Box(box.top + top, box.left + left, bottom - top, right - left)


@lru_cache(maxsize=256)
def cheapest_grid(height: int, width: int, halo: int, window_pixels: int, smallest: int = 16) -> Grid | None:
    """The grid that computes the fewest pixels, halos included, with no window larger than `window_pixels`.

    A tile is at least `smallest` pixels high and wide, unless the image is smaller; None where no grid fits.
    """
    best: tuple[int, int, Grid] | None = None
    for rows in range(1, max(height // smallest, 1) + 1):
        tallest = _window(height, rows, halo)
        columns = _fewest(width, halo, window_pixels // tallest, smallest)
        if columns is None:
            continue
        cost = covered(height, rows, halo) * covered(width, columns, halo)
        if best is None or (cost, rows) < best[:2]:
            best = (cost, rows, Grid(rows, columns))
    return best[2] if best else None


def _edge(size: int, index: int, count: int) -> int:
    return size * index // count


def _window(size: int, count: int, halo: int) -> int:
    """The longest window of `count` even parts of `size`."""
    return min(-(-size // count) + halo * min(count - 1, 2), size)


def covered(size: int, count: int, halo: int) -> int:
    """Pixels of all windows along one side (a few less where a window is cut at the second border)."""
    return min(size + 2 * halo * (count - 1), size * count)


def _fewest(size: int, halo: int, limit: int, smallest: int) -> int | None:
    """The fewest even parts of `size` whose windows are at most `limit` long."""
    most = max(size // smallest, 1)
    if _window(size, most, halo) > limit:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if _window(size, middle, halo) <= limit:
            high = middle
        else:
            low = middle + 1
    return low
