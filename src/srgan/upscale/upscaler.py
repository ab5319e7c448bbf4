"""Image in, larger image out: the Python API of this package."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import get_args

import numpy as np

from srgan import __version__
from srgan.errors import UsageError
from srgan.image.alpha import AlphaMode
from srgan.image.tiles import Grid
from srgan.model import weights as weights_module
from srgan.model.config import receptive_field
from srgan.model.weights import Weights
from srgan.upscale.choose import choose_engine
from srgan.upscale.engine import EngineName, Precision
from srgan.upscale.tile_plan import TilePlan, bytes_from_text, free_memory, plan_tiles
from srgan.upscale.tiled import (
    ArrayRegions,
    ImageRegions,
    Pixels,
    Progress,
    TileJob,
    WriteBox,
    check_pixels,
    upscale_tiles,
    write_to_array,
)

log = logging.getLogger("srgan")

_MARGIN = 2
"""LR pixels around a tile that the bicubic from x4 to x3 or x2 reads (it reaches 1)."""
_MAX_OF_FREE_MEMORY = 0.8


class Upscaler:
    """Upscales images with one model; safe to call from several threads.

    model: "srgan" (the default), "srresnet", the path of a weights file, or `Weights`; or instead of a model
    texture: 0 (srresnet) to 1 (srgan); memory: of the activations held at once ("1GB"); threads: of OpenVINO's
    (default: one for each core); self_ensemble: the mean over eight flips and turns. Raises SrganError for a wrong
    value. Warnings go to the logger "srgan".
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Weights | None = None,
        *,
        engine: EngineName = "auto",
        precision: Precision = "auto",
        texture: float | None = None,
        memory: str | int = "1GB",
        threads: int | None = None,
        self_ensemble: bool = False,
    ) -> None:
        _check_choice("engine", engine, get_args(EngineName))
        _check_choice("precision", precision, get_args(Precision))
        _check_whole("threads", threads)
        self.memory = bytes_from_text(memory) if isinstance(memory, str) else memory
        _check_whole("memory", self.memory)
        self.texture = texture
        self.self_ensemble = self_ensemble
        self.weights = _load(model, texture)
        self._halo = receptive_field(self.weights.config)
        self._engine = choose_engine(self.weights, engine, precision, _own_file(model), threads)

    def describe(self) -> dict[str, str]:
        """What decides the pixels: model, sha256, version, engine, precision; texture and self_ensemble if set."""
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

    def provenance(self, grid: Grid, *, scale: int = 4) -> dict[str, str]:
        """`describe`, the scale and the tiles: what is written into an image; no time, path or command."""
        return {**self.describe(), "scale": str(scale), "tiles": f"{grid.rows}x{grid.columns}"}

    def tile_plan(self, height: int, width: int, *, scale: int = 4, alpha: bool = False) -> TilePlan:
        """The tiles of an image of this size; little free memory may make them smaller."""
        return self._plan(height, width, scale, alpha, self.memory)

    def upscale(
        self,
        image: Pixels | str | os.PathLike[str],
        *,
        scale: int = 4,
        alpha: AlphaMode = "bleed",
        progress: Progress | None = None,
    ) -> Pixels:
        """(H, W), (H, W, 3) or (H, W, 4), or the image of a file -> the same kind, `scale` times larger.

        uint8 and uint16 (rounded once) or float32 in 0..1; a fourth channel is alpha, not premultiplied: `alpha`
        "bleed" fills the colours under transparent pixels from their neighbours, "separate" replaces nothing. Raises
        ImageError for other arrays.
        """
        self._check_scale(scale)
        _check_choice("alpha", alpha, get_args(AlphaMode))
        pixels = _read(image) if isinstance(image, (str, os.PathLike)) else image
        check_pixels(pixels)
        sr = np.empty((scale * pixels.shape[0], scale * pixels.shape[1], *pixels.shape[2:]), pixels.dtype)
        if pixels.shape[2:] == (4,):
            source = ArrayRegions(pixels[..., :3], pixels[..., 3], bleed=alpha == "bleed")
            write = write_to_array(sr[..., :3], sr[..., 3])
        else:
            source, write = ArrayRegions(pixels), write_to_array(sr)
        self.upscale_into(source, write, scale=scale, progress=progress)
        return sr

    def upscale_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        scale: int = 4,
        overwrite: bool = False,
        provenance: bool = True,
        quality: int | None = None,
        alpha: AlphaMode = "bleed",
        progress: Progress | None = None,
    ) -> None:
        """The image of one file (animations and pages too), `scale` times larger, as another file. Raises ImageError."""
        from srgan.upscale.batch import FileOptions, upscale_file

        self._check_scale(scale)
        _check_choice("alpha", alpha, get_args(AlphaMode))
        options = FileOptions(scale=scale, overwrite=overwrite, provenance=provenance, quality=quality, alpha=alpha)
        upscale_file(self, Path(source), Path(target), options, progress)

    def upscale_into(
        self, source: ImageRegions, write: WriteBox, *, scale: int = 4, progress: Progress | None = None
    ) -> TilePlan:
        """Upscale `source` tile by tile into `write`, in bounded memory; returns the tiles used."""
        self._check_scale(scale)
        plan = self._plan_for_free_memory(source.height, source.width, scale, source.has_alpha)
        job = TileJob(
            engine=self._engine,
            halo=self._halo,
            scale=scale,
            margin=self._margin(scale),
            self_ensemble=self.self_ensemble,
            progress=progress or _no_progress,
        )
        upscale_tiles(job, source, write, plan)
        return plan

    def _plan(self, height: int, width: int, scale: int, alpha: bool, memory: int) -> TilePlan:
        copies = 1 + alpha + 2 * self.self_ensemble
        return plan_tiles(height, width, self._engine, self._halo, memory, margin=self._margin(scale), copies=copies)

    def _plan_for_free_memory(self, height: int, width: int, scale: int, alpha: bool) -> TilePlan:
        """The plan, with smaller tiles where less memory is free than `memory`."""
        plan = self._plan(height, width, scale, alpha, self.memory)
        free = free_memory()
        if free is None or free * _MAX_OF_FREE_MEMORY >= self.memory:
            return plan
        smaller = self._plan(height, width, scale, alpha, int(free * _MAX_OF_FREE_MEMORY))
        if smaller != plan:
            log.warning("only %.0f MB of memory are free: using smaller tiles than --memory allows.", free / 1e6)
        return smaller

    def _margin(self, scale: int) -> int:
        return 0 if scale == self.weights.config.scale else _MARGIN

    def _check_scale(self, scale: int) -> None:
        largest = self.weights.config.scale
        if scale not in range(2, largest + 1):
            raise UsageError(f"{self.weights.name} makes images 2 to {largest} times larger, got a scale of {scale!r}.")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{name} is one of {', '.join(choices)}; got {value!r}.")


def _check_whole(name: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{name} is a whole number from 1, got {value!r}.")


def _load(model: str | os.PathLike[str] | Weights | None, texture: float | None) -> Weights:
    if texture is not None:
        if model is not None:
            raise UsageError("texture mixes srresnet and srgan, so it cannot be combined with a model.")
        if isinstance(texture, bool) or not isinstance(texture, (int, float)):
            raise UsageError(f"texture is a number from 0 to 1, got {texture!r}.")
        gentle, strong = weights_module.read("srresnet"), weights_module.read("srgan")
        return weights_module.interpolate(gentle, strong, texture)
    if isinstance(model, Weights):
        return model
    return weights_module.read("srgan" if model is None else model if isinstance(model, str) else Path(model))


def _own_file(model: str | os.PathLike[str] | Weights | None) -> Path | None:
    """The path of a model that is neither packaged nor in memory."""
    if model is None or isinstance(model, Weights) or str(model) in weights_module.packaged():
        return None
    return Path(model)


def _read(path: str | os.PathLike[str]) -> Pixels:
    """A file as (H, W), (H, W, 3) or, where it has alpha, (H, W, 4)."""
    from srgan.image.files import read_image

    image = read_image(path)
    if image.alpha is None:
        return image.pixels
    colour = image.pixels if image.pixels.ndim == 3 else np.repeat(image.pixels[..., None], 3, axis=2)
    return np.concatenate([colour, image.alpha[..., None]], axis=2)


def _no_progress(done: int, total: int) -> None:
    pass
