"""What a request asks for: its query, checked, and nothing in it is ever a path."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from srgan.fs import printable
from srgan.serve.problems import Problem

T = TypeVar("T")

FORMATS = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
}
"""The formats of an answer, and their media types."""
SUFFIX = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}
PARAMETERS = ("model", "texture", "scale", "format", "provenance")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The settings of `srgan upscale` that a client chooses."""

    model: str
    """A name that the service offers; with a texture, the two packaged models are mixed instead."""
    texture: float | None = None
    """0 (SRResNet, faithful) to 1 (SRGAN, sharp)."""
    scale: int = 4
    format: str | None = None
    """A key of FORMATS; None: the request's own."""
    provenance: bool = True


def wish_from_query(query: Sequence[tuple[str, str]], *, models: Sequence[str], texture: bool) -> Wish:
    """The wish in a query's (name, value) pairs; the first model is the default. Problem 400 or 409."""
    values: dict[str, str] = {}
    for name, value in query:
        if name not in PARAMETERS:
            near = difflib.get_close_matches(name, PARAMETERS, n=1)
            guess = f"Did you mean '{near[0]}'?" if near else f"Known are: {', '.join(PARAMETERS)}."
            raise Problem(400, "parameter", f"There is no parameter '{printable(name, 60)}'. {guess}")
        if name in values:
            raise Problem(400, "parameter", f"The parameter '{name}' is given twice.")
        values[name] = value
    if "texture" in values and not texture:
        raise Problem(409, "texture", "This service does not offer both srresnet and srgan, so it has no texture.")
    if "texture" in values and "model" in values:
        raise Problem(409, "texture", "'texture' mixes srresnet and srgan, so it excludes 'model'; give one of them.")
    return Wish(
        model=_one_of("model", values.get("model", models[0]), {name: name for name in models}),
        texture=_unit("texture", values["texture"]) if "texture" in values else None,
        scale=_one_of("scale", values.get("scale", "4"), {"2": 2, "3": 3, "4": 4}),
        format=_one_of("format", values["format"], {name: name for name in FORMATS}) if "format" in values else None,
        provenance=_one_of("provenance", values.get("provenance", "true"), {"true": True, "false": False}),
    )


def _one_of(name: str, value: str, options: Mapping[str, T]) -> T:
    if value in options:
        return options[value]
    raise Problem(400, "parameter", f"{name} is '{printable(value, 60)}', but must be one of {', '.join(options)}.")


def _unit(name: str, value: str) -> float:
    try:
        number = float(value) if value.isascii() and "_" not in value and value.strip() == value else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise Problem(400, "parameter", f"{name} is '{printable(value, 60)}', but must be a number from 0 to 1.")
    return number
