"""One picture on its way through an engine, tile by tile: depth, grey, alpha, scale, out-of-memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from srgan.errors import SrganError
from srgan.image.alpha import local_range
from srgan.image.resize import bicubic
from srgan.image.tiles import Box, whole
from srgan.model.config import ReceptiveField
from srgan.upscale import colour
from srgan.upscale.engine import Engine, OutOfMemory, Planes
from srgan.upscale.tile_plan import SMALLEST_CORE, Plan
from srgan.upscale.tiling import ensemble_pieces, pieces

Pixels = NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with (LR pixels done, LR pixels in all) after each tile; whatever it raises stops the work."""


class Source(Protocol):
    """A picture that gives its regions: uint8, uint16, or float32 in 0..1."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def has_alpha(self) -> bool: ...

    def region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w) grey or (h, w, 3), with colour spread under transparency."""

    def alpha_region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w); only where `has_alpha`."""


Put = Callable[[int, int, Pixels, Pixels | None], None]
"""Takes a finished rectangle of the output, in any order: top, left, colour or grey, alpha."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How a picture is upscaled."""

    engine: Engine
    halo: ReceptiveField
    scale: int
    margin: int
    """LR pixels that a tile computes beyond its core, for the resize from the model's scale to `scale`."""
    self_ensemble: bool
    notify: Callable[[str], None]

    def pieces(self, planes: Planes, core: Box, tail_pixels: int) -> Iterator[tuple[Box, Planes]]:
        """Parts of `core` in a window of the picture, with their sr_signed."""
        run = ensemble_pieces if self.self_ensemble else pieces
        return run(self.engine, planes, core, self.halo, tail_pixels, self.margin)


class Job:
    """The way of one picture."""

    def __init__(self, work: Work, source: Source, put: Put, progress: Progress) -> None:
        self.work, self.source, self.put, self.progress = work, source, put, progress
        self.bounds = whole(source.height, source.width)
        self.done = 0
        self.seam: tuple[Box, Pixels] | None = None
        """A part at an inner edge of a tile, with what was delivered there."""

    def run(self, plan: Plan) -> None:
        """Deliver all tiles of `plan`, row by row."""
        self._report(0)
        for core in plan.grid.tiles(self.bounds):
            self._deliver(core, plan.tail_pixels)

    def parts(self, core: Box, tail_pixels: int) -> Iterator[tuple[Box, Pixels, Pixels | None]]:
        """Parts of `core` (LR), each with its output pixels and alpha."""
        window = core.padded(self.work.halo.total + self.work.margin, self.bounds)
        pixels = self.source.region(*window)
        alphas = self._alphas(window, core, tail_pixels)
        planes = colour.planes_from_pixels(pixels)
        for part, sr_signed in self.work.pieces(planes, core.relative_to(window), tail_pixels):
            unit = self._to_scale(colour.unit_from_signed(sr_signed, grey=pixels.ndim == 2), part, window)
            alpha = next(alphas) if self.source.has_alpha else None
            yield part.absolute_in(window), colour.pixels_from_unit(unit, pixels.dtype), alpha

    def _deliver(self, core: Box, tail_pixels: int) -> None:
        """Deliver `core`; where memory runs out, its halves, from the start."""
        done, scale = self.done, self.work.scale
        try:
            for part, sr, alpha in self.parts(core, tail_pixels):
                self.put(part.top * scale, part.left * scale, sr, alpha)
                if self.seam is None and _touches(part, core, self.bounds):
                    self.seam = (part, sr)
                self._report(part.pixels)
            return
        except (OutOfMemory, MemoryError) as error:
            self.done = done
            if max(core.height, core.width) < 2 * SMALLEST_CORE:
                raise SrganError(
                    f"no memory is left, even for a tile of {core.height} x {core.width} pixels ({error})."
                ) from error
            self.work.notify(f"out of memory at a tile of {core.height} x {core.width}: going on with its halves.")
        self.work.engine.release()
        least = (SMALLEST_CORE + 2 * (self.work.halo.tail + self.work.margin)) ** 2
        for half in core.halves():
            self._deliver(half, max(tail_pixels // 2, least))

    def _report(self, pixels: int) -> None:
        self.done += pixels
        self.progress(self.done, self.bounds.pixels)

    def _alphas(self, window: Box, core: Box, tail_pixels: int) -> Iterator[Pixels]:
        """Alpha of the same parts: as grey, held within the range of its 3 x 3 neighbours.

        So what is fully opaque or fully transparent stays so. A window of one value needs no network.
        """
        if not self.source.has_alpha:
            return
        alpha, scale = self.source.alpha_region(*window), self.work.scale
        planes, bounds = colour.planes_from_pixels(alpha), whole(window.height, window.width)
        for part, sr_signed in self.work.pieces(planes, core.relative_to(window), tail_pixels):
            unit = self._to_scale(colour.unit_from_signed(sr_signed, grey=True), part, window)
            near = part.padded(1, bounds)
            low, high = local_range(alpha[near.slices()], scale)
            inner = part.relative_to(near).scaled(scale).slices()
            yield np.clip(colour.pixels_from_unit(unit, alpha.dtype), low[inner], high[inner])

    def _to_scale(self, unit: Planes, part: Box, window: Box) -> Planes:
        """From the model's scale, margin included, to the output's, without the margin."""
        if not self.work.margin:
            return unit
        wide, scale = part.padded(self.work.margin, whole(window.height, window.width)), self.work.scale
        smaller = np.clip(bicubic(unit, wide.height * scale, wide.width * scale), 0.0, 1.0)
        resized: Planes = smaller[part.relative_to(wide).scaled(scale).slices()]
        return resized


def _touches(part: Box, core: Box, bounds: Box) -> bool:
    """Whether a part lies at an edge of its tile that is not an edge of the picture."""
    right = part.right == core.right < bounds.right
    return right or part.bottom == core.bottom < bounds.bottom
