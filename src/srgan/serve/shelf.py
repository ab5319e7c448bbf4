"""The models on offer, each loaded once and kept while it is asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from srgan import Upscaler
from srgan.errors import UsageError
from srgan.model import weights
from srgan.serve.wish import Wish

DESKS = ("large", "small")
KEPT = 8
"""Textures kept ready at once; each is some tens of megabytes."""


class Shelf:
    """Upscalers by model and texture; clients choose among names, the files behind them are the server's."""

    def __init__(
        self,
        models: Sequence[str],
        *,
        engine: Literal["auto", "openvino", "pytorch"] = "auto",
        precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto",
        memory: str = "1GB",
    ) -> None:
        packaged = weights.packaged()
        chosen = tuple(models) or tuple(sorted(packaged, key=lambda name: name != "srgan"))
        if not chosen:
            raise UsageError("this package holds no model; name a weights file: srgan serve --model FILE.safetensors")
        self._files = {Path(name).stem: name for name in chosen}
        if len(self._files) < len(chosen):
            raise UsageError(f"two of the models {', '.join(chosen)} have the same name; rename one of the files.")
        self.names = tuple(self._files)
        self.texture = {"srresnet", "srgan"} <= set(packaged) and not models
        self._options = {"engine": engine, "precision": precision, "memory": memory}
        self._lock = threading.Lock()
        self._named = {(desk, name): self._made(name, None) for name in self.names for desk in DESKS}
        self._textures: OrderedDict[tuple[str, float], Upscaler] = OrderedDict()

    def upscaler(self, wish: Wish, desk: str) -> Upscaler:
        """The one that the wish is about; a new texture is mixed and compiled here, which takes a moment.

        Each desk has its own, since one computes one tile at a time: a preview must not wait for a large tile.
        """
        if wish.texture is None:
            return self._named[desk, wish.model]
        key = desk, wish.texture
        with self._lock:
            made = self._textures.get(key) or self._made(None, wish.texture)
            self._textures[key] = made
            self._textures.move_to_end(key)
            while len(self._textures) > KEPT:
                self._textures.popitem(last=False)
            return made

    def described(self) -> list[dict[str, str]]:
        """What each model says of itself, the default first."""
        return [self._named[DESKS[0], name].describe() | {"model": name} for name in self.names]

    def _made(self, name: str | None, texture: float | None) -> Upscaler:
        model = self._files[name] if name is not None else "srgan"
        return Upscaler(model, texture=texture, **self._options)  # type: ignore[arg-type]
