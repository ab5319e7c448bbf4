"""What a request may ask for, and the pool of upscalers that does it."""

import contextlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from srgan import Upscaler
from srgan.errors import UsageError
from srgan.image.alpha import AlphaMode
from srgan.model import weights
from srgan.upscale.mixture import CORNERS, is_share

QUEUES = ("large", "small")
MAX_MIXTURES = 8
"""Mixtures that are kept ready at once: each takes some tens of megabytes, and more for its activations."""


def _from_query(text: object) -> object:
    """Numbers and booleans in JSON's spelling only; pydantic would also take '4.0', ' 4' and 'yes'."""
    exact = {"2": 2, "3": 3, "4": 4, "true": True, "false": False}
    return exact.get(text, text) if isinstance(text, str) else text


def _strength(text: object) -> object:
    """pydantic's own sentence about a union names only one of its members."""
    with contextlib.suppress(ValueError, TypeError):
        if text == "auto" or is_share(float(text)):  # type: ignore[arg-type]
            return text
    raise PydanticCustomError("strength", "Input should be 'auto' or a number from 0 to 1")


Strength = Annotated[Literal["auto"] | Annotated[float, Field(ge=0, le=1)], BeforeValidator(_strength)]


class UpscaleParams(BaseModel):
    """The query of an upscale; unknown parameters are refused."""

    model_config = ConfigDict(extra="forbid")

    model: str | SkipJsonSchema[None] = Field(None, description="Which network; default: by texture and restore.")
    texture: Strength = Field("auto", description="0 exact to 1 crisp; auto fits the image. Excludes model.")
    restore: Strength = Field(
        "auto", description="How much compression and noise to take away; auto reads it from the image. Excludes model."
    )
    scale: Annotated[Literal[2, 3, 4], BeforeValidator(_from_query)] = Field(4, description="The output's factor.")
    format: Literal["png", "jpeg", "webp", "tiff", "avif"] | SkipJsonSchema[None] = Field(
        None, description="The answer's format; default: the request's own."
    )
    alpha: AlphaMode = Field("bleed", description="Colours under transparent pixels: filled, or left as they are.")
    provenance: Annotated[StrictBool, BeforeValidator(_from_query)] = Field(
        True, description="Write into the metadata what made the image."
    )


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
        self._lock = threading.Lock()
        # One for each queue: an upscaler runs one tile at a time, and a preview must not wait for a large image's tile.
        self._named = {(queue, name): Upscaler(file, **options) for name, file in files.items() for queue in QUEUES}
        self._last: Upscaler | None = None
        self._mixture = lru_cache(MAX_MIXTURES)(
            lambda queue, texture, restore: Upscaler(texture=texture, restore=restore, **options)
        )

    def upscaler(self, params: UpscaleParams, queue: str) -> Upscaler:
        """The upscaler of a model or a mixture.

        The activations of small images (90 MB at most) stay for the next one. Those of large ones go when another
        upscaler follows, so that not each keeps its `memory`.
        """
        if params.model is not None or not self.mixes:
            upscaler = self._named[queue, params.model or self.names[0]]
        else:
            upscaler = self._mixture(queue, params.texture, params.restore)
        if queue == "large":
            with self._lock:
                before, self._last = self._last, upscaler
            if before is not None and before is not upscaler:
                before.release()
        return upscaler

    def describe(self) -> list[dict[str, str]]:
        """Name, hash, version, engine and precision of each model."""
        return [self._named[QUEUES[0], name].describe() | {"model": name} for name in self.names]
