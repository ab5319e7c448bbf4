"""One tile through an engine: the body in one go, the tail in pieces, as the whole picture would be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from srgan.image.tiles import Box, Grid, cheapest_grid, whole
from srgan.model.config import ReceptiveField
from srgan.upscale.engine import Engine, Planes


def pieces(
    engine: Engine, lr_unit: Planes, core: Box, halo: ReceptiveField, tail_pixels: int, margin: int = 0
) -> Iterator[tuple[Box, Planes]]:
    """The parts of `core` with their sr_signed (1, 3, s*h, s*w), `margin` LR pixels wider on each side.

    `lr_unit` is a window of the picture, `core` lies in it: at least `halo.total + margin` from each edge of
    the window that is not an edge of the picture.
    """
    window = whole(*lr_unit.shape[2:])
    if core == window and window.pixels <= tail_pixels:
        yield core, engine.run(lr_unit)
        return
    features = engine.body(lr_unit)
    for part in tail_grid(core, halo, tail_pixels, margin).tiles(core):
        delivered = part.padded(margin, window)
        seen = delivered.padded(halo.tail, window)
        rows, columns = seen.slices()
        sr_signed = engine.tail(features[:, :, rows, columns])
        rows, columns = delivered.relative_to(seen).scaled(engine.config.scale).slices()
        yield part, sr_signed[:, :, rows, columns]


def tail_grid(core: Box, halo: ReceptiveField, tail_pixels: int, margin: int = 0) -> Grid:
    """How a core is cut for the tail."""
    grid = cheapest_grid(core.height, core.width, halo.tail + margin, tail_pixels, 1)
    if grid is None:  # a window of a single pixel's halo is larger than allowed: the plan forbids it
        raise AssertionError(f"no tail tile of {tail_pixels} pixels for {core}")
    return grid


def ensemble_pieces(
    engine: Engine, lr_unit: Planes, core: Box, halo: ReceptiveField, tail_pixels: int, margin: int = 0
) -> Iterator[tuple[Box, Planes]]:
    """As `pieces`, in one part: the mean over the eight flips and rotations of the window (self-ensemble)."""
    scale, bounds = engine.config.scale, whole(*lr_unit.shape[2:])
    delivered = core.padded(margin, bounds)
    total = np.zeros((1, 3, scale * delivered.height, scale * delivered.width), np.float32)
    for flips in range(8):
        turned, turned_core = _turned(lr_unit, flips), _turned_box(delivered, bounds, flips)
        for part, sr_signed in pieces(engine, turned, turned_core, halo, tail_pixels):
            back = _turned_back_box(part, bounds, flips).relative_to(delivered).scaled(scale)
            rows, columns = back.slices()
            total[:, :, rows, columns] += _turned_back(sr_signed, flips)
    total /= 8
    yield core, total


def _turned(planes: Planes, flips: int) -> Planes:
    """Bit 0 flips rows, bit 1 columns, bit 2 then swaps them."""
    planes = planes[:, :, :: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]
    return planes.swapaxes(2, 3) if flips & 4 else planes


def _turned_back(planes: Planes, flips: int) -> Planes:
    planes = planes.swapaxes(2, 3) if flips & 4 else planes
    return planes[:, :, :: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


def _turned_box(box: Box, bounds: Box, flips: int) -> Box:
    top = bounds.height - box.bottom if flips & 1 else box.top
    left = bounds.width - box.right if flips & 2 else box.left
    return Box(left, top, box.width, box.height) if flips & 4 else Box(top, left, box.height, box.width)


def _turned_back_box(box: Box, bounds: Box, flips: int) -> Box:
    if flips & 4:
        box = Box(box.left, box.top, box.width, box.height)
    return _turned_box(box, bounds, flips & 3)
