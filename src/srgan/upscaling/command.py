"""`srgan upscale`: files, folders and globs to larger pictures."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from srgan.errors import PictureError, UsageError
from srgan.settings import parse
from srgan.upscaling.engine import EngineName, Precision

if TYPE_CHECKING:
    from srgan.upscaling.worklist import Item

DESCRIPTION = "Make pictures 2, 3 or 4 times larger."


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """What `srgan upscale` does."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, folders of pictures (searched below), or globs in quotes."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A file; or a folder, existing or without an ending, where names are kept. Default: <stem>_x4.<ext> beside
    each picture."""
    model: str = "srgan"
    """srgan (looks right), srresnet (closest to the pixels), or the path of a weights file."""
    texture: float | None = None
    """From 0 (srresnet) to 1 (srgan), in place of --model."""
    scale: Literal[2, 3, 4] = 4
    """How many times larger; 2 and 3 are the x4 picture, resized by the exact bicubic."""
    engine: EngineName = "auto"
    """What computes; auto is pytorch where it finds a GPU, else openvino."""
    precision: Precision = "auto"
    """What it computes in; auto is the fastest that costs at most 0.05 dB."""
    memory: str = "1GB"
    """Of the activations held at once; smaller tiles need less and take longer."""
    fast: bool = False
    """Tiles that overlap less than the network sees: a little faster, no longer exact; the error is measured."""
    self_ensemble: bool = False
    """Mean over eight flips and rotations: eight times slower, a little closer to the pixels."""
    format: Literal["png", "jpg", "webp", "tiff", "avif"] | None = None
    """Of the results; default: that of each picture (PNG for GIF)."""
    quality: int | None = None
    """1 to 100, for JPEG (default 95), WebP (95) and AVIF (90)."""
    lossless: bool = False
    """For WebP and AVIF."""
    overwrite: bool = False
    """Replace results that exist; else they are skipped."""
    shard: str | None = None
    """I/N: only the I-th of N parts of the list, for job arrays. No coordination is needed."""
    provenance: bool = True
    """Write model, settings and version into the results' metadata."""
    quiet: bool = False
    """Print nothing but errors."""


def main(argv: list[str]) -> int:
    """Run `srgan upscale` and return its exit code; the written paths go to stdout."""
    settings: UpscaleSettings = parse(UpscaleSettings, argv, prog="srgan upscale", description=DESCRIPTION)
    if settings.texture is not None and settings.model != "srgan":
        raise UsageError("--texture chooses between srresnet and srgan, so --model cannot be given with it.")
    if not settings.paths:
        raise UsageError(
            "srgan upscale takes at least one picture, folder or glob; --help lists the options."
        )
    from srgan.upscaling.worklist import worklist

    work = worklist(
        settings.paths, settings.output, scale=settings.scale, format=settings.format, shard=settings.shard
    )
    todo = [item for item in work.items if settings.overwrite or not item.target.exists()]
    skipped = len(work.items) - len(todo)
    if work.single and skipped:
        raise PictureError(f"{work.items[0].target} exists; --overwrite replaces it.")
    if skipped and not settings.quiet:
        print(f"srgan: {skipped} of {len(work.items)} exist already and are skipped", file=sys.stderr)
    return _upscale(settings, todo, work.single) if todo else 0


def _upscale(settings: UpscaleSettings, todo: list[Item], single: bool) -> int:
    # OpenVINO takes its model converter along where it can be imported: half of its import time, and no use here
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from srgan.upscaling.batch import Batch
    from srgan.upscaling.onefile import FileOptions
    from srgan.upscaling.progress import display
    from srgan.upscaling.upscaler import Upscaler

    with display(len(todo), quiet=settings.quiet) as shown:
        upscaler = Upscaler(
            settings.model,
            engine=settings.engine,
            precision=settings.precision,
            texture=settings.texture,
            memory=settings.memory,
            fast=settings.fast,
            self_ensemble=settings.self_ensemble,
            notify=shown.say,
        )
        options = FileOptions(
            scale=settings.scale,
            overwrite=settings.overwrite,
            provenance=settings.provenance,
            quality=settings.quality,
            lossless=settings.lossless,
        )
        batch = Batch(
            upscaler, options, shown, lambda path: None if settings.quiet else print(path, flush=True)
        )
        batch.run(todo)
    if single and batch.failures:
        raise batch.failures[0].error
    if batch.failures:
        print(f"srgan: {len(batch.failures)} of {len(todo)} pictures failed:", file=sys.stderr)
        for failure in batch.failures:
            print(f"  {failure.error}", file=sys.stderr)
        return PictureError.exit_code
    return 0
