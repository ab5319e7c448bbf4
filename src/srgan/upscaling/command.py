"""`srgan upscale`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srgan.settings import parse
from srgan.upscaling.engine import EngineName, Precision


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """What `srgan upscale` does."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, folders of pictures, or globs."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A file, or a folder (existing, or without an extension); default: <stem>_x4.<ext> beside each input."""
    model: str = "srgan"
    """srgan, srresnet, or the path of a weights file."""
    texture: float | None = None
    """0 (srresnet) to 1 (srgan), in place of --model."""
    scale: Literal[2, 3, 4] = 4
    """How many times larger."""
    engine: EngineName = "auto"
    """Which library computes."""
    precision: Precision = "auto"
    """Numbers that the network computes with."""
    memory: str = "1GB"
    """Of the activations held at once."""
    overwrite: bool = False
    """Replace pictures that exist."""
    quiet: bool = False
    """Say nothing but errors."""


def main(argv: list[str]) -> int:
    """Run `srgan upscale` and return its exit code."""
    settings: UpscaleSettings = parse(UpscaleSettings, argv, prog="srgan upscale", description="Make pictures larger.")
    from srgan.upscaling.upscaler import Upscaler

    upscaler = Upscaler(
        settings.model,
        engine=settings.engine,
        precision=settings.precision,
        texture=settings.texture,
        memory=settings.memory,
        notify=lambda sentence: print(f"srgan: {sentence}", file=sys.stderr),
    )
    for path in settings.paths:
        target = settings.output or path.with_name(f"{path.stem}_x{settings.scale}{path.suffix}")
        upscaler.upscale_file(path, target, scale=settings.scale, overwrite=settings.overwrite)
    return 0
