"""The query of an upscale, validated."""

from __future__ import annotations

import contextlib
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from srgan.image.alpha import AlphaMode
from srgan.upscale.mixture import is_share


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
