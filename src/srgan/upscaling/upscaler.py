"""Picture in, larger picture out: depth, grey, transparency, exact tiles within a memory bound."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from srgan import __version__
from srgan import weights as weights_module
from srgan.architecture import reach
from srgan.errors import PictureError, SrganError, UsageError
from srgan.picture.resize import bicubic
from srgan.picture.tiles import Box, whole
from srgan.upscaling import colour
from srgan.upscaling.engine import EngineName, OutOfMemory, Planes, Precision, choose
from srgan.upscaling.memory import SMALLEST_CORE, Plan, bytes_from_text, free_memory, plan
from srgan.upscaling.tiling import ensemble_pieces, pieces
from srgan.weights import Weights

if TYPE_CHECKING:
    from srgan.picture.files import Picture

Pixels = NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with (LR pixels done, LR pixels in all) after each tile; whatever it raises stops the work."""


class Source(Protocol):
    """A picture that gives its regions."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    def region(self, box: Box) -> tuple[Pixels, Pixels | None]:
        """(h, w) or (h, w, 3) of uint8, uint16 or float32, and alpha (h, w) of the same type or None."""


class ArraySource(NamedTuple):
    """A picture in memory."""

    pixels: Pixels
    alpha: Pixels | None

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def region(self, box: Box) -> tuple[Pixels, Pixels | None]:
        rows, columns = box.slices()
        return self.pixels[rows, columns], None if self.alpha is None else self.alpha[rows, columns]


Put = Callable[[Box, Pixels, Pixels | None], None]
"""Takes a finished rectangle of the output: where, colour or grey, alpha."""


class Upscaler:
    """Makes pictures larger with one model; safe to call from several threads.

    model: "srgan", "srresnet", the path of a weights file, or `Weights`; texture: 0 (srresnet) to 1 (srgan)
    in place of the model; memory: of the activations held at once. Raises SrganError.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Weights = "srgan",
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        texture: float | None = None,
        memory: str | int = "1GB",
        self_ensemble: bool = False,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.weights = _weights(model, texture)
        self.texture = texture
        self.memory = bytes_from_text(memory) if isinstance(memory, str) else memory
        self.self_ensemble = self_ensemble
        self._notify = notify or _warn
        self._engine = choose(self.weights, engine, precision)
        self._halo = reach(self.weights.config)

    def describe(self) -> dict[str, str]:
        """What made a picture: model, sha256, version, engine, precision, texture."""
        described = {
            "model": self.weights.name,
            "sha256": self.weights.sha256,
            "version": __version__,
            "engine": self._engine.name,
            "precision": self._engine.precision,
        }
        if self.texture is not None:
            described["texture"] = f"{self.texture:g}"
        if self.self_ensemble:
            described["self_ensemble"] = "8"
        return described

    def upscale(
        self, picture: Pixels | str | os.PathLike[str], *, scale: int = 4, progress: Progress | None = None
    ) -> Pixels:
        """(H, W), (H, W, 3) or (H, W, 4) -> the same kind, `scale` times larger; or the picture of a file.

        uint8, uint16 (rounded once) or float32 in 0..1; a fourth channel is alpha, not premultiplied.
        """
        pixels = _read(picture) if isinstance(picture, (str, os.PathLike)) else picture
        colour.check_pixels(pixels)
        deep = pixels.ndim == 3 and pixels.shape[2] == 4
        source = ArraySource(pixels[..., :3] if deep else pixels, pixels[..., 3] if deep else None)
        output = np.empty((scale * source.height, scale * source.width, *pixels.shape[2:]), pixels.dtype)

        def put(box: Box, sr: Pixels, alpha: Pixels | None) -> None:
            rows, columns = box.slices()
            if alpha is None:
                output[rows, columns] = sr
            else:
                output[rows, columns, :3] = sr
                output[rows, columns, 3] = alpha

        self.deliver(source, put, scale=scale, progress=progress)
        return output

    def upscale_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        scale: int = 4,
        overwrite: bool = False,
        provenance: bool = True,
        progress: Progress | None = None,
    ) -> None:
        """The picture of one file, `scale` times larger, as another file. Raises PictureError."""
        from srgan.picture import files

        if Path(target).exists() and not overwrite:
            raise PictureError(f"{target} exists; --overwrite (overwrite=True) replaces it.")
        picture = files.read(source)
        upscaled = self._picture(picture, scale, progress)
        files.write(target, upscaled, provenance=self.describe() if provenance else None)

    def _picture(self, picture: Picture, scale: int, progress: Progress | None) -> Picture:
        height, width = (scale * side for side in picture.pixels.shape[:2])
        pixels = np.empty((height, width, *picture.pixels.shape[2:]), picture.pixels.dtype)
        alpha = None if picture.alpha is None else np.empty((height, width), picture.alpha.dtype)

        def put(box: Box, sr: Pixels, sr_alpha: Pixels | None) -> None:
            pixels[box.slices()] = sr
            if alpha is not None:
                alpha[box.slices()] = sr_alpha

        self.deliver(ArraySource(picture.pixels, picture.alpha), put, scale=scale, progress=progress)
        return dataclasses.replace(picture, pixels=pixels, alpha=alpha)

    def plan(self, height: int, width: int, *, scale: int = 4, alpha: bool = False) -> Plan:
        """The tiles of a picture of this size, before free memory has its say."""
        return self._plan(height, width, scale, alpha, self.memory)

    def deliver(self, source: Source, put: Put, *, scale: int = 4, progress: Progress | None = None) -> None:
        """Upscale `source` tile by tile into `put`, in the order of rows of tiles; constant memory."""
        self._check_scale(scale)
        alpha = source.region(Box(0, 0, 1, 1))[1] is not None
        made = self._plan(source.height, source.width, scale, alpha, self._memory_now(source, scale, alpha))
        job = _Job(self, source, put, scale, progress or _no_progress, made.tail_pixels)
        job.report(0)
        for core in made.grid.cores(job.bounds):
            job.do(core, made.tail_pixels)

    def _plan(self, height: int, width: int, scale: int, alpha: bool, memory: int) -> Plan:
        margin = self._margin(scale)
        copies = 1 + alpha + 2 * self.self_ensemble
        return plan(height, width, self._engine, self._halo, memory, margin=margin, copies=copies)

    def _memory_now(self, source: Source, scale: int, alpha: bool) -> int:
        """`memory`, or less where less is free and it matters."""
        free = free_memory()
        if free is None or free * 0.8 >= self.memory:
            return self.memory
        usable = int(free * 0.8)
        if self._plan(source.height, source.width, scale, alpha, usable) != self.plan(
            source.height, source.width, scale=scale, alpha=alpha
        ):
            self._notify(
                f"only {free / 1e6:.0f} MB of memory are free: using smaller tiles than --memory allows."
            )
        return usable

    def _margin(self, scale: int) -> int:
        return 0 if scale == self.weights.config.scale else 2

    def _check_scale(self, scale: int) -> None:
        most = self.weights.config.scale
        if scale not in range(2, most + 1):
            raise UsageError(
                f"{self.weights.name} makes pictures 2 to {most} times larger, got --scale {scale}."
            )


class _Job:
    """One picture on its way through."""

    def __init__(
        self, upscaler: Upscaler, source: Source, put: Put, scale: int, progress: Progress, tail_pixels: int
    ) -> None:
        self.engine, self.halo = upscaler._engine, upscaler._halo
        self.margin = upscaler._margin(scale)
        self.pieces = ensemble_pieces if upscaler.self_ensemble else pieces
        self.notify = upscaler._notify
        self.source, self.put, self.scale, self.progress = source, put, scale, progress
        self.bounds = whole(source.height, source.width)
        self.done = 0

    def report(self, pixels: int) -> None:
        self.done += pixels
        self.progress(self.done, self.bounds.pixels)

    def do(self, core: Box, tail_pixels: int) -> None:
        """Deliver `core`; where memory runs out, its halves, from the start."""
        done = self.done
        try:
            for part, sr, alpha in self._parts(core, tail_pixels):
                self.put(part.times(self.scale), sr, alpha)
                self.report(part.pixels)
            return
        except (OutOfMemory, MemoryError) as error:
            self.done = done
            if max(core.height, core.width) < 2 * SMALLEST_CORE:
                raise SrganError(
                    f"no memory is left, even for a tile of {core.height} x {core.width} pixels ({error})."
                ) from error
            self.notify(f"out of memory at a tile of {core.height} x {core.width}: going on with its halves.")
        self.engine.release()
        for half in core.halves():
            self.do(half, max(tail_pixels // 2, (SMALLEST_CORE + 2 * (self.halo.tail + self.margin)) ** 2))

    def _parts(self, core: Box, tail_pixels: int) -> Iterator[tuple[Box, Pixels, Pixels | None]]:
        reading = core.widened(self.halo.total + self.margin + colour.BLEED, self.bounds)
        pixels, alpha = self.source.region(reading)
        if alpha is not None:
            pixels = colour.bled(pixels, alpha)
        window = core.widened(self.halo.total + self.margin, self.bounds)
        rows, columns = window.within(reading).slices()
        pixels, alpha = pixels[rows, columns], None if alpha is None else alpha[rows, columns]
        alphas = self._alphas(window, core, alpha, tail_pixels)
        planes = colour.planes_from_pixels(pixels)
        for part, sr_signed in self.pieces(
            self.engine, planes, core.within(window), self.halo, tail_pixels, self.margin
        ):
            unit = self._to_scale(colour.unit_from_signed(sr_signed, grey=pixels.ndim == 2), part, window)
            made = next(alphas) if alpha is not None else None
            yield part.placed(window), colour.pixels_from_unit(unit, pixels.dtype), made

    def _alphas(self, window: Box, core: Box, alpha: Pixels | None, tail_pixels: int) -> Iterator[Pixels]:
        """Alpha of the same parts: as grey, held within the range of its 3 x 3 neighbours."""
        if alpha is None:
            return
        planes = colour.planes_from_pixels(alpha)
        bounds = whole(window.height, window.width)
        for part, sr_signed in self.pieces(
            self.engine, planes, core.within(window), self.halo, tail_pixels, self.margin
        ):
            unit = self._to_scale(colour.unit_from_signed(sr_signed, grey=True), part, window)
            near = part.widened(1, bounds)
            rows, columns = near.slices()
            low, high = colour.local_range(alpha[rows, columns], self.scale)
            rows, columns = part.within(near).times(self.scale).slices()
            yield np.clip(colour.pixels_from_unit(unit, alpha.dtype), low[rows, columns], high[rows, columns])

    def _to_scale(self, unit: Planes, part: Box, window: Box) -> Planes:
        """From the model's scale, margin included, to the output's, without the margin."""
        if not self.margin:
            return unit
        wide = part.widened(self.margin, whole(window.height, window.width))
        smaller = np.clip(bicubic(unit, wide.height * self.scale, wide.width * self.scale), 0.0, 1.0)
        rows, columns = part.within(wide).times(self.scale).slices()
        return smaller[rows, columns]


def _weights(model: str | os.PathLike[str] | Weights, texture: float | None) -> Weights:
    if texture is not None:
        return weights_module.interpolate(
            weights_module.read("srresnet"), weights_module.read("srgan"), texture
        )
    return (
        model
        if isinstance(model, Weights)
        else weights_module.read(Path(model) if not isinstance(model, str) else model)
    )


def _read(path: str | os.PathLike[str]) -> Pixels:
    from srgan.picture.files import read

    picture = read(path)
    if picture.alpha is None:
        return picture.pixels
    coloured = picture.pixels if picture.pixels.ndim == 3 else np.repeat(picture.pixels[..., None], 3, axis=2)
    return np.concatenate([coloured, picture.alpha[..., None]], axis=2)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=3)


def _no_progress(done: int, total: int) -> None:
    pass
