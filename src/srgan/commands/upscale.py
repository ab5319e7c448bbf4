"""`srgan upscale`: larger images from files, folders and globs."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from srgan import flags
from srgan.errors import ImageError, UsageError
from srgan.upscale.engine import EngineName, Precision

log = logging.getLogger("srgan")

if TYPE_CHECKING:
    from srgan.upscale.batch import Failure
    from srgan.upscale.inputs import Item
    from srgan.upscale.onefile import FileOptions

DESCRIPTION = "Make images 2, 3 or 4 times larger."
_ADDRESS = re.compile(r"local|auto|ray://.+|[\w.-]+:\d+|\[[\da-f:]+\]:\d+")
"""What after --ray is an address and no path."""


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """Options of `srgan upscale`."""

    paths: flags.Positional[tuple[Path, ...]]
    """Images, folders of images (subfolders included), or globs in quotes."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    """File to write; or a folder (one that exists, or a name without an ending), where names are kept. Default: <stem>_x4.<ext> beside each image."""
    model: str = "srgan"
    """srgan (looks sharper), srresnet (closest to the true pixels), or path of a weights file."""
    texture: float | None = None
    """Mixture from 0 (srresnet) to 1 (srgan), instead of --model."""
    scale: Literal[2, 3, 4] = 4
    """Factor. 2 and 3 resize the x4 result by the exact bicubic."""
    engine: EngineName = "auto"
    """Engine that computes. auto: pytorch on a GPU, else openvino."""
    precision: Precision = "auto"
    """Precision of the computation. auto: the fastest that costs at most 0.05 dB."""
    memory: str = "1GB"
    """Memory of the activations held at once. Less memory means smaller tiles and more time."""
    fast: bool = False
    """Tiles that overlap less than the network sees: a little faster, no longer exact; the error is measured."""
    self_ensemble: bool = False
    """Mean over the eight flips and rotations: eight times slower, about 0.1 dB better."""
    format: Literal["png", "jpg", "webp", "tiff", "avif"] | None = None
    """Format of the results. Default: the format of each input (PNG for GIF)."""
    quality: int | None = None
    """1 to 100. Default: 95 for JPEG and WebP, 90 for AVIF."""
    lossless: bool = False
    """Write WebP and AVIF without loss."""
    overwrite: bool = False
    """Replace existing results. Without it they are skipped."""
    shard: str | None = None
    """I/N: only part I of N of the list, for job arrays."""
    ray: Annotated[str | None, flags.Mark(metavar="[ADDRESS]")] = None
    """Spread the list over a Ray cluster (needs the extra 'cluster'; all nodes see the same files). Alone: start Ray on this machine. auto: the Ray of this machine, or RAY_ADDRESS. HOST:PORT: that one. Any other word after --ray is a path."""
    ray_actors: int | None = None
    """Engines on the cluster, each with its own --memory. Default: one per GPU, else one per 4 CPUs of a node."""
    provenance: bool = True
    """Write model, settings and version into the metadata of the results."""


def main(argv: list[str]) -> int:
    """Run `srgan upscale` and return its exit code; the written paths go to stdout."""
    words = _with_address(argv)
    settings: UpscaleSettings = flags.parse(UpscaleSettings, words, prog="srgan upscale", description=DESCRIPTION)
    if settings.texture is not None and settings.model != "srgan":
        raise UsageError("--texture chooses between srresnet and srgan, so --model cannot be given with it.")
    if not settings.paths:
        raise UsageError("srgan upscale takes at least one picture, folder or glob; --help lists the options.")
    if settings.ray is not None and not _ADDRESS.fullmatch(settings.ray):
        raise UsageError(f"--ray is local, auto or HOST:PORT; got '{settings.ray}'.")
    if settings.ray is not None and settings.ray.startswith("ray://"):
        raise UsageError("Ray's client (ray://) cannot do this; on a machine of the cluster, give --ray auto.")
    if settings.ray_actors is not None and (settings.ray is None or settings.ray_actors < 1):
        raise UsageError("--ray-actors is how many engines --ray has, 1 or more; it needs --ray.")
    from srgan.upscale.inputs import worklist

    work = worklist(settings.paths, settings.output, scale=settings.scale, format=settings.format, shard=settings.shard)
    todo = [item for item in work.items if settings.overwrite or not item.target.exists()]
    skipped = len(work.items) - len(todo)
    if work.single and skipped:
        raise ImageError(f"{work.items[0].target} exists; --overwrite replaces it.")
    if skipped:
        log.info(f"{skipped} of {len(work.items)} exist already and are skipped")
    return _upscale(settings, todo, work.single) if todo else 0


def _with_address(argv: Sequence[str]) -> list[str]:
    """`--ray` alone becomes `--ray=local`: what follows is its address only if it looks like one."""
    words = list(argv)
    for index in (index for index, word in enumerate(argv) if word == "--ray"):
        following = argv[index + 1] if index + 1 < len(argv) else ""
        if not _ADDRESS.fullmatch(following):
            words[index] = "--ray=local"
        elif Path(following).exists():
            raise UsageError(
                f"'{following}' after --ray is an address, but also a file; write --ray={following} or ./{following}."
            )
    return words


def _upscale(settings: UpscaleSettings, todo: list[Item], single: bool) -> int:
    # OpenVINO takes its model converter along where it can be imported: half of its import time, and no use here
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from srgan.upscale.onefile import FileOptions

    options = FileOptions(
        scale=settings.scale,
        overwrite=settings.overwrite,
        provenance=settings.provenance,
        quality=settings.quality,
        lossless=settings.lossless,
    )
    failures = (_here if settings.ray is None else _on_ray)(settings, todo, options)
    if single and failures:
        raise failures[0].error
    if failures:
        log.error(f"{len(failures)} of {len(todo)} pictures failed:")
        for failure in failures:
            log.error(f"  {failure.error}")
        return ImageError.exit_code
    return 0


def _here(settings: UpscaleSettings, todo: list[Item], options: FileOptions) -> list[Failure]:
    from srgan.upscale.batch import Batch
    from srgan.upscale.progress import display
    from srgan.upscale.upscaler import Upscaler

    with display(len(todo), quiet=not log.isEnabledFor(logging.INFO)) as shown:
        batch = Batch(Upscaler(**_how(settings), notify=shown.say), options, shown, _told(settings))
        batch.run(todo)
    return batch.failures


def _on_ray(settings: UpscaleSettings, todo: list[Item], options: FileOptions) -> list[Failure]:
    from srgan.upscale.cluster import upscale_on_ray

    assert settings.ray is not None
    told = _told(settings)
    with contextlib.redirect_stdout(sys.stderr):  # Ray's messages
        return upscale_on_ray(
            todo,
            _how(settings),
            options,
            address=settings.ray,
            actors=settings.ray_actors,
            quiet=not log.isEnabledFor(logging.INFO),
            written=told,
        )


def _how(settings: UpscaleSettings) -> dict[str, Any]:
    """The arguments of `Upscaler`."""
    names = ("model", "engine", "precision", "texture", "memory", "fast", "self_ensemble")
    return {name: getattr(settings, name) for name in names}


def _told(settings: UpscaleSettings) -> Callable[[Path], None]:
    """Puts the path of a finished file on today's stdout."""
    stdout = sys.stdout
    return lambda path: None if not log.isEnabledFor(logging.INFO) else print(path, file=stdout, flush=True)
