"""Image in, larger image out: the Python API of this package."""

import hashlib
import logging
import math
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from srgan import __version__
from srgan.errors import GpuLost, SrganError, UsageError
from srgan.image.alpha import AlphaMode
from srgan.image.source import ImageBytes, Source
from srgan.model import weights as weights_module
from srgan.model.config import receptive_field
from srgan.model.weights import Weights
from srgan.progress import OnProgress
from srgan.upscale import tiled
from srgan.upscale.back_projection import REACH
from srgan.upscale.choose import choose_engine
from srgan.upscale.engine import DeviceLost, Engine, EngineName, OutOfMemory, Precision
from srgan.upscale.mixture import AUTO_POINTS, AUTO_TEXTURES, check_mixture, mixture
from srgan.upscale.strength import Strength, Window, fitted, strength_of
from srgan.upscale.tile_plan import TilePlan, bytes_from_text, free_memory, plan_tiles

log = logging.getLogger("srgan")

_MARGIN = 2
"""LR pixels around a tile that the bicubic from x4 to x3 or x2 reads (it reaches 1)."""
_MAX_OF_FREE_MEMORY = 0.8
_MAX_THREADS = 1024
"""More are a mistake; OpenVINO has no sentence for it."""


class _Model(NamedTuple):
    weights: Weights
    engine: Engine


class Upscaler:
    """Upscales images; safe to call from several threads.

    Without `model`, a mixture of the packaged weights that fits each image: texture from 0 (exact) to 1 (crisp), and
    restore from 0 (a clean image) to 1 (strong compression or noise); "auto" reads the strength from the file or the
    pixels. model: "srgan", "srresnet", "photo", "photo-gan", the path of a weights file, or `Weights`.
    memory: of the activations held at once ("1GB"); threads: of OpenVINO's (default: one for each core); device: the
    number of a GPU for engine "ncnn" (`srgan info --devices`);
    self_ensemble: the mean over eight flips and turns. Raises SrganError for a wrong value. Warnings go to the logger
    "srgan".
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Weights | None = None,
        *,
        texture: float | Literal["auto"] = "auto",
        restore: float | Literal["auto"] = "auto",
        engine: EngineName = "auto",
        precision: Precision = "auto",
        memory: str | int = "1GB",
        threads: int | None = None,
        device: int | None = None,
        self_ensemble: bool = False,
    ) -> None:
        _check_choice("engine", engine, get_args(EngineName))
        _check_choice("precision", precision, get_args(Precision))
        threads = None if threads is None else _whole("threads", threads, most=_MAX_THREADS)
        device = None if device is None else _whole("device", device, least=0)
        self.memory = _whole("memory", bytes_from_text(memory) if isinstance(memory, str) else memory)
        _check_choice("self_ensemble", self_ensemble, (False, True))
        if isinstance(model, str | os.PathLike):
            _path("model", model)
        elif not isinstance(model, Weights | None):
            known = ", ".join(weights_module.packaged())
            raise UsageError(f"model is {known}, the path of a weights file, or Weights; got {model!r}.")
        check_mixture(model, texture=texture, restore=restore)
        self.texture: float | Literal["auto"] = "auto" if texture == "auto" else float(texture)
        self.restore: float | Literal["auto"] = "auto" if restore == "auto" else float(restore)
        self.self_ensemble = self_ensemble
        self._options: dict[str, Any] = {"engine": engine, "precision": precision, "threads": threads, "device": device}
        self._lock = threading.Lock()
        self._model = model
        self._load_models()
        self._config = self._first.weights.config
        self._halo = receptive_field(self._config)
        margin = 0 if self._named else REACH
        self._plan(self._first.engine, 1000, 1000, margin, False, self.memory)  # refuses too little memory

    def describe(self) -> dict[str, str]:
        """What decides the pixels: model, sha256, version, engine, precision; texture, restore, self_ensemble if set.

        A mixture's `sha256` is that of its parts' hashes.
        """
        described = self._describe(self._first)
        if self._named is None:
            parts = " ".join(mixture(restore, texture).sha256 for restore in (0.0, 1.0) for texture in (0.0, 1.0))
            described["model"], described["sha256"] = "mixture", hashlib.sha256(parts.encode()).hexdigest()
            described |= {"texture": str(self.texture), "restore": str(self.restore)}
        return described

    def upscale(
        self,
        image: tiled.Pixels | str | os.PathLike[str] | ImageBytes,
        *,
        scale: int = 4,
        alpha: AlphaMode = "bleed",
        progress: OnProgress | None = None,
    ) -> tiled.Pixels:
        """(H, W), (H, W, 3) or (H, W, 4), or the image of a file (its path or bytes) -> the same kind, `scale` times larger.

        uint8 and uint16 (rounded once) or float32 in 0..1; a fourth channel is alpha, not premultiplied: `alpha`
        "bleed" fills the colours under transparent pixels from their neighbours, "separate" replaces nothing. Raises
        ImageError for other arrays.
        """
        scale = self._checked_scale(scale, alpha, progress)
        file: Source | None = None
        if isinstance(image, (str, os.PathLike, ImageBytes)):
            file = image if isinstance(image, ImageBytes) else _path("image", image)
            image = _read(file)
        tiled.check_pixels(image)
        sr = np.empty((scale * image.shape[0], scale * image.shape[1], *image.shape[2:]), image.dtype)
        if image.shape[2:] == (4,):
            source = tiled.ArrayRegions(image[..., :3], image[..., 3], bleed=alpha == "bleed")
            write = tiled.write_to_array(sr[..., :3], sr[..., 3])
        else:
            source, write = tiled.ArrayRegions(image), tiled.write_to_array(sr)
        self.upscale_into(source, write, scale=scale, file=file, progress=progress)
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
        progress: OnProgress | None = None,
    ) -> None:
        """The image of one file (animations and pages too), `scale` times larger, as another file. Raises ImageError."""
        from srgan.upscale.batch import FileOptions, upscale_file

        scale = self._checked_scale(scale, alpha, progress)
        for name, value in (("overwrite", overwrite), ("provenance", provenance)):
            _check_choice(name, value, (False, True))
        quality = None if quality is None else _whole("quality", quality, most=100)
        options = FileOptions(scale=scale, overwrite=overwrite, provenance=provenance, quality=quality, alpha=alpha)
        upscale_file(self, _path("source", source), _path("target", target), options, progress)

    def upscale_into(
        self,
        source: tiled.ImageRegions,
        write: tiled.WriteBox,
        *,
        scale: int = 4,
        file: Source | None = None,
        strength: Strength | None = None,
        progress: OnProgress | None = None,
    ) -> dict[str, str]:
        """Upscale `source` tile by tile into `write`, in bounded memory.

        `file`: what the image was decoded from, which knows how it was compressed; `strength`: known already. Returns
        its provenance: `describe`, the mixture and why, the scale and the tiles; no time, path or command.
        """
        scale = self._checked_scale(scale)
        strength = strength or self.strength(source, file)
        model = self._named or self._mixture(strength.restore, strength.texture)
        job = tiled.TileJob(
            engine=model.engine,
            halo=self._halo,
            scale=scale,
            resize_margin=0 if scale == self._config.scale else _MARGIN,
            trust=strength.trust,
            self_ensemble=self.self_ensemble,
            progress=progress or (lambda done, total: None),
        )
        plan = self._plan_for_free_memory(job, source.height, source.width, source.has_alpha)
        try:
            tiled.upscale_tiles(job, source, write, plan)
        except DeviceLost as error:
            self._leave_gpu(error)
            return self.upscale_into(source, write, scale=scale, strength=strength, progress=progress)
        # Engines keep their activations for the next image; those of several mixtures share one memory.
        if len(self._models) > 1 and plan.tail_pixels * model.engine.tail_bytes > self.memory // 2:
            model.engine.release()
        # After the work, in which an engine may have gone on in fp32.
        provenance = self._describe(model) | {"scale": str(scale), "tiles": f"{plan.grid.rows}x{plan.grid.columns}"}
        if self._named is None:
            provenance |= {
                "texture": f"{strength.texture:g}",
                "restore": f"{strength.restore:g}",
                "restore_reason": strength.reason,
                "trust": f"{strength.trust:g}",
            }
        return provenance

    def release(self) -> None:
        """Give back the memory of activations that is kept for the next image."""
        with self._lock:
            models = [self._first, *self._models.values()]
        for model in models:
            model.engine.release()

    def strength(self, source: tiled.ImageRegions, file: Source | None = None) -> Strength:
        """How strongly an image is restored, and why, and its texture; `file`: what it was decoded from."""
        if self._named is not None:
            return Strength(restore=0.0, reason="chosen")
        strength = strength_of(source, file)
        if self.restore != "auto":
            strength = replace(strength, restore=self.restore, reason="chosen")
        if self.texture != "auto":
            strength = replace(strength, texture=self.texture)
        if strength.restore == 0 or "auto" not in (self.restore, self.texture):
            return strength

        def upscale(window: Window, texture: float) -> Window:
            engine = self._mixture(strength.restore, texture).engine
            try:
                sr_signed = engine.run(tiled.lr_unit_from_pixels(window / np.float32(255)))
            except (DeviceLost, OutOfMemory, MemoryError) as error:
                if engine.device_name is None:
                    raise SrganError(f"no memory is left, even for a few pixels ({error}).") from error
                self._leave_gpu(error)
                return upscale(window, texture)
            return tiled.unit_from_signed(sr_signed) * np.float32(255)

        return fitted(strength, source, upscale, restore=self.restore == "auto", texture=self.texture == "auto")

    def _load_models(self) -> None:
        """The named model; or that of a clean image: other mixtures are loaded when an image needs them."""
        self._models: dict[tuple[float, float], _Model] = {}
        self._named = None
        if isinstance(self._model, Weights):
            self._named = self._load(self._model)
        elif self._model is not None:
            weights = weights_module.read(self._model if isinstance(self._model, str) else Path(self._model))
            is_packaged = str(self._model) in weights_module.packaged()
            self._named = self._load(
                weights, path=None if is_packaged else weights_module.find_model(Path(self._model))
            )
        self._first = self._named or self._mixture(
            0.0 if self.restore == "auto" else self.restore,
            AUTO_TEXTURES[0] if self.texture == "auto" else self.texture,
        )

    def _leave_gpu(self, error: Exception) -> None:
        """Go on with the CPU, if the GPU was chosen by itself."""
        if self._options["engine"] == "ncnn":
            raise GpuLost(f"the GPU stopped ({error}); the engine openvino computes on the CPU.") from error
        log.warning("the GPU stopped (%s): computing on the CPU from here on.", error)
        self._options["engine"] = "openvino"
        if self._options["precision"] == "fp16":  # which a CPU has not
            self._options["precision"] = "fp32"
        self._load_models()

    def _mixture(self, restore: float, texture: float) -> _Model:
        """The model of a strength; loaded once."""
        with self._lock:
            if (restore, texture) not in self._models:
                model = self._load(mixture(restore, texture), cache=(restore, texture) in AUTO_POINTS)
                self._models[restore, texture] = model
            return self._models[restore, texture]

    def _load(self, weights: Weights, *, path: Path | None = None, cache: bool = False) -> _Model:
        cache = cache or (path is None and weights.name in weights_module.packaged())
        return _Model(weights, choose_engine(weights, **self._options, path=path, cache=cache))

    def _describe(self, model: _Model) -> dict[str, str]:
        described = {
            "model": model.weights.name,
            "sha256": model.weights.sha256,
            "version": __version__,
            "engine": model.engine.name,
            "precision": model.engine.precision,
        }
        if model.engine.device_name is not None:
            described["device"] = model.engine.device_name
        return described | ({"self_ensemble": "8"} if self.self_ensemble else {})

    def _plan(self, engine: Engine, height: int, width: int, margin: int, alpha: bool, memory: int) -> TilePlan:
        copies = 1 + alpha + 2 * self.self_ensemble
        return plan_tiles(height, width, engine, self._halo, memory, margin=margin, copies=copies)

    def _plan_for_free_memory(self, job: tiled.TileJob, height: int, width: int, alpha: bool) -> TilePlan:
        """The plan, with smaller tiles where less memory is free than `memory`."""
        plan = self._plan(job.engine, height, width, job.margin, alpha, self.memory)
        known = ((free_memory(), "memory"), (job.engine.device_memory, "the GPU's memory"))
        free, where = min((math.inf if size is None else size, name) for size, name in known)
        if free * _MAX_OF_FREE_MEMORY >= self.memory:
            return plan
        smaller = self._plan(job.engine, height, width, job.margin, alpha, int(free * _MAX_OF_FREE_MEMORY))
        if smaller.grid != plan.grid:
            log.warning(
                "only %.0f MB of %s are free: using smaller tiles than the option memory allows.", free / 1e6, where
            )
        return smaller

    def _checked_scale(self, scale: int, alpha: AlphaMode = "bleed", progress: OnProgress | None = None) -> int:
        largest = self._config.scale
        if not isinstance(scale, (int, np.integer)) or scale not in range(2, largest + 1):
            raise UsageError(
                f"{self._first.weights.name} makes images 2 to {largest} times larger, got a scale of {scale!r}."
            )
        _check_choice("alpha", alpha, get_args(AlphaMode))
        if progress is not None and not callable(progress):
            raise UsageError(f"progress is a function of (done, total), got {progress!r}.")
        return int(scale)


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise UsageError(f"{name} is one of {', '.join(map(str, choices))}; got {value!r}.")


def _path(name: str, value: object) -> Path:
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        path = value
    if not isinstance(path, str):
        raise UsageError(f"{name} is the path of a file, got {type(value).__name__}.")
    if not path or "\0" in path:
        raise UsageError(f"{name} is the path of a file, got {path!r}.")
    return Path(path)


def _whole(name: str, value: object, least: int = 1, most: float = math.inf) -> int:
    """The value as Python's int, which does not overflow as NumPy's do."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= most:
        kind = f"a whole number from {least}" + (f" to {most}" if most < math.inf else "")
        raise UsageError(f"{name} is {kind}, got {value!r}.")
    return int(value)


def _read(file: Source) -> tiled.Pixels:
    """A file as (H, W), (H, W, 3) or, where it has alpha, (H, W, 4)."""
    from srgan.image.files import read_image

    image = read_image(file)
    if image.alpha is None:
        return image.pixels
    return np.dstack([image.pixels] * (1 if image.pixels.ndim == 3 else 3) + [image.alpha])
