"""Image in, larger picture out: the Python API of this package."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgan import __version__
from srgan.errors import UsageError
from srgan.image.tiles import Grid
from srgan.model import weights as weights_module
from srgan.model.config import ReceptiveField, receptive_field
from srgan.model.weights import Weights
from srgan.upscale import colour
from srgan.upscale.array import ArraySource, array_put
from srgan.upscale.choose import choose
from srgan.upscale.engine import EngineName, Precision
from srgan.upscale.job import Job, Pixels, Progress, Put, Source, Work
from srgan.upscale.seam import seam_error
from srgan.upscale.tile_plan import Plan, bytes_from_text, free_memory, plan

if TYPE_CHECKING:
    from srgan.image.files import Image

_MARGIN = 2
"""LR pixels around a tile that the bicubic from x4 to x3 or x2 sees (it reaches 1)."""
_FAST = ReceptiveField(total=16, body=13, tail=3)
"""The halo of `fast`."""
_OF_FREE = 0.8
"""The part of the free memory that is used at most."""


class Upscaler:
    """Makes pictures larger with one model; safe to call from several threads.

    model: "srgan", "srresnet", the path of a weights file, or `Weights`; texture: 0 (srresnet) to 1 (srgan)
    in place of the model; memory: of the activations held at once ("1GB"); self_ensemble: the mean over eight
    flips and rotations; fast: tiles overlap less than the network sees, and the error is measured; threads:
    of OpenVINO's (default: one for each core); notify: takes sentences that a user should see (default: a
    warning). Raises SrganError.
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
        fast: bool = False,
        threads: int | None = None,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.weights = _weights(model, texture)
        self.texture = texture
        self.memory = bytes_from_text(memory) if isinstance(memory, str) else memory
        self.self_ensemble = self_ensemble
        self.fast = fast
        self.notify = notify or _warn
        self._halo = _FAST if fast else receptive_field(self.weights.config)
        path = _own_file(model) if texture is None else None
        self._engine = choose(self.weights, engine, precision, self.notify, path, threads)

    def describe(self) -> dict[str, str]:
        """What makes the pictures: model, sha256, version, engine, precision, and texture where given."""
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
        if self.fast:
            described["halo"] = str(self._halo.total)
        return described

    def provenance(self, grid: Grid, *, scale: int = 4) -> dict[str, str]:
        """`describe`, the scale and the tiles: what is written into a picture; no time, path or command."""
        return {**self.describe(), "scale": str(scale), "tiles": f"{grid.rows}x{grid.columns}"}

    def plan(self, height: int, width: int, *, scale: int = 4, alpha: bool = False) -> Plan:
        """The tiles of a picture of this size; free memory may only make them smaller."""
        return self._plan(height, width, scale, alpha, self.memory)

    def upscale(
        self, picture: Pixels | str | os.PathLike[str], *, scale: int = 4, progress: Progress | None = None
    ) -> Pixels:
        """(H, W), (H, W, 3) or (H, W, 4) -> the same kind, `scale` times larger; or the picture of a file.

        uint8 and uint16 (rounded once) or float32 in 0..1; a fourth channel is alpha, not premultiplied.
        """
        pixels = _read(picture) if isinstance(picture, (str, os.PathLike)) else picture
        colour.check_pixels(pixels)
        transparent = pixels.ndim == 3 and pixels.shape[2] == 4
        output = np.empty((scale * pixels.shape[0], scale * pixels.shape[1], *pixels.shape[2:]), pixels.dtype)
        if transparent:
            source, put = (
                ArraySource(pixels[..., :3], pixels[..., 3]),
                array_put(output[..., :3], output[..., 3]),
            )
        else:
            source, put = ArraySource(pixels), array_put(output)
        self.deliver(source, put, scale=scale, progress=progress)
        return output

    def upscale_picture(self, picture: Image, *, scale: int = 4, progress: Progress | None = None) -> Image:
        """A decoded picture with its metadata -> the same, `scale` times larger."""
        height, width = (scale * side for side in picture.pixels.shape[:2])
        pixels = np.empty((height, width, *picture.pixels.shape[2:]), picture.pixels.dtype)
        alpha = None if picture.alpha is None else np.empty((height, width), picture.alpha.dtype)
        source = ArraySource(picture.pixels, picture.alpha)
        self.deliver(source, array_put(pixels, alpha), scale=scale, progress=progress)
        return dataclasses.replace(picture, pixels=pixels, alpha=alpha)

    def upscale_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        scale: int = 4,
        overwrite: bool = False,
        provenance: bool = True,
        quality: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """The picture of one file, `scale` times larger, as another file of any size. Raises ImageError."""
        from srgan.upscale.onefile import FileOptions, upscale_file

        options = FileOptions(scale=scale, overwrite=overwrite, provenance=provenance, quality=quality)
        upscale_file(self, Path(source), Path(target), options, progress)

    def deliver(self, source: Source, put: Put, *, scale: int = 4, progress: Progress | None = None) -> Plan:
        """Upscale `source` tile by tile into `put`, in rows of tiles and in constant memory; the tiles used."""
        most = self.weights.config.scale
        if scale not in range(2, most + 1):
            raise UsageError(f"{self.weights.name} makes pictures 2 to {most} times larger, got a scale of {scale}.")
        work = Work(
            engine=self._engine,
            halo=self._halo,
            scale=scale,
            margin=self._margin(scale),
            self_ensemble=self.self_ensemble,
            notify=self.notify,
        )
        made = self._plan_now(source.height, source.width, scale, source.has_alpha)
        job = Job(work, source, put, progress or _no_progress)
        job.run(made)
        if self.fast and job.seam is not None:
            self.notify(seam_error(job, dataclasses.replace(work, halo=receptive_field(self.weights.config))))
        return made

    def _plan(self, height: int, width: int, scale: int, alpha: bool, memory: int) -> Plan:
        copies = 1 + alpha + 2 * self.self_ensemble
        return plan(height, width, self._engine, self._halo, memory, margin=self._margin(scale), copies=copies)

    def _plan_now(self, height: int, width: int, scale: int, alpha: bool) -> Plan:
        """The plan, with smaller tiles where less memory is free than it takes."""
        planned = self._plan(height, width, scale, alpha, self.memory)
        free = free_memory()
        if free is None or free * _OF_FREE >= self.memory:
            return planned
        smaller = self._plan(height, width, scale, alpha, int(free * _OF_FREE))
        if smaller != planned:
            self.notify(f"only {free / 1e6:.0f} MB of memory are free: smaller tiles than --memory allows.")
        return smaller

    def _margin(self, scale: int) -> int:
        return 0 if scale == self.weights.config.scale else _MARGIN


def _weights(model: str | os.PathLike[str] | Weights, texture: float | None) -> Weights:
    if texture is not None:
        gentle, strong = weights_module.read("srresnet"), weights_module.read("srgan")
        return weights_module.interpolate(gentle, strong, texture)
    if isinstance(model, Weights):
        return model
    return weights_module.read(model if isinstance(model, str) else Path(model))


def _own_file(model: str | os.PathLike[str] | Weights) -> Path | None:
    """The path of a model that is neither packaged nor in memory."""
    if isinstance(model, Weights) or str(model) in weights_module.packaged():
        return None
    return Path(model)


def _read(path: str | os.PathLike[str]) -> Pixels:
    """A file as (H, W), (H, W, 3) or, where it has alpha, (H, W, 4)."""
    from srgan.image.files import read_image

    picture = read_image(path)
    if picture.alpha is None:
        return picture.pixels
    grey = picture.pixels.ndim == 2
    coloured = np.repeat(picture.pixels[..., None], 3, axis=2) if grey else picture.pixels
    return np.concatenate([coloured, picture.alpha[..., None]], axis=2)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)


def _no_progress(done: int, total: int) -> None:
    pass
