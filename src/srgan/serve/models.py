"""The pool of upscalers: each model is loaded once, mixtures while they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srgan import Upscaler
from srgan.errors import UsageError
from srgan.model import weights
from srgan.serve.params import UpscaleParams
from srgan.upscale.mixture import CORNERS

QUEUES = ("large", "small")
MAX_MIXTURES = 8
"""Mixtures that are kept ready at once: each takes some tens of megabytes, and more for its activations."""


class ModelPool:
    """Upscalers by queue and model or mixture; clients choose among `names`, never a path.

    `mixes`: whether texture and restore are on offer; then the default is the mixture that fits the image, else the
    first name. `options` (engine, precision, memory) go to each `Upscaler`. Raises SrganError.
    """

    def __init__(self, models: Sequence[str] = (), **options: Any) -> None:
        packaged = weights.packaged()
        chosen = tuple(models) or tuple(sorted(packaged, key=lambda name: name != "srgan"))
        if not chosen:
            raise UsageError("this package holds no model; name a weights file: srgan serve --model FILE.safetensors")
        files = {Path(name).stem: name for name in chosen}
        if len(files) < len(chosen):
            raise UsageError(f"two of the models {', '.join(chosen)} have the same name; rename one of the files.")
        self.names = tuple(files)
        self.mixes = {*CORNERS} <= {*packaged} and not models
        self.default = "mixture" if self.mixes else self.names[0]
        self._options = options
        self._lock = threading.Lock()
        # One for each queue: an upscaler runs one tile at a time, and a preview must not wait for a large image's tile.
        self._named = {(queue, name): Upscaler(file, **options) for name, file in files.items() for queue in QUEUES}
        self._last: Upscaler | None = None
        self._mixtures: OrderedDict[tuple[object, ...], Upscaler] = OrderedDict()

    def upscaler(self, params: UpscaleParams, queue: str) -> Upscaler:
        """The upscaler of a model or a mixture.

        The activations of small images (90 MB at most) stay for the next one. Those of large ones go when another
        upscaler follows, so that not each keeps its `memory`.
        """
        upscaler = self._choose(params, queue)
        if queue == "large":
            with self._lock:
                before, self._last = self._last, upscaler
            if before is not None and before is not upscaler:
                before.release()
        return upscaler

    def _choose(self, params: UpscaleParams, queue: str) -> Upscaler:
        if params.model is not None or not self.mixes:
            return self._named[queue, params.model or self.names[0]]
        key = queue, params.texture, params.restore
        with self._lock:
            mixture = self._mixtures.get(key)
            if mixture is None:
                mixture = Upscaler(texture=params.texture, restore=params.restore, **self._options)
            self._mixtures[key] = mixture
            self._mixtures.move_to_end(key)
            while len(self._mixtures) > MAX_MIXTURES:
                self._mixtures.popitem(last=False)
            return mixture

    def describe(self) -> list[dict[str, str]]:
        """Name, hash, version, engine and precision of each model."""
        return [self._named[QUEUES[0], name].describe() | {"model": name} for name in self.names]
