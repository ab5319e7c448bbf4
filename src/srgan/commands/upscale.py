"""`srgan upscale`: larger images from files, folders and globs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from srgan import flags
from srgan.errors import ImageError, SrganError, UsageError
from srgan.fs import expanded, printable
from srgan.image.alpha import AlphaMode
from srgan.upscale.engine import EngineName, Precision

if TYPE_CHECKING:
    from srgan.upscale.inputs import UpscaleTask

log = logging.getLogger("srgan")

_ADDRESS = re.compile(r"local|auto|ray://.+|[\w.-]+:\d+|\[[\da-f:]+\]:\d+")
"""What is an address for --ray, the client's (refused by name) too."""


@dataclass(frozen=True, kw_only=True)
class UpscaleSettings:
    """Make images 2, 3 or 4 times larger."""

    paths: flags.Positional[tuple[str, ...]] = ()
    """Images, folders of images (subfolders included), or globs in quotes; - is stdin."""
    output: Annotated[str | None, flags.Mark(alias="-o")] = None
    """File to write; or a folder (one that exists, ends with / or has no image's ending), where names are kept; - is stdout. Default: <stem>_x4.<ext> beside each image; stdout for stdin."""
    model: str | None = None
    """srgan, srresnet, photo, photo-gan, or path of a weights file: exactly these weights. Default: the mixture of the packaged ones that fits each image."""
    texture: float | Literal["auto"] = "auto"
    """From 0 (closest to the true pixels) to 1 (crisp), instead of --model. auto: 0.8, or 0.6 for fine grain and strong compression."""
    restore: float | Literal["auto"] = "auto"
    """How much compression and noise to take away, from 0 to 1, instead of --model. auto: what each file needs, by its JPEG tables or its pixels; 0 for a clean image."""
    scale: Literal[2, 3, 4] = 4
    """Factor. 2 and 3 resize the x4 result by the exact bicubic."""
    engine: EngineName = "auto"
    """Engine that computes. auto: pytorch on a GPU; ncnn (Vulkan) on a GPU that is faster than the CPU; else openvino."""
    device: int | None = None
    """Number of the GPU for --engine ncnn; `srgan info --devices` lists them."""
    precision: Precision = "auto"
    """Precision of the computation. auto: the fastest that costs at most 0.05 dB."""
    memory: str = "1GB"
    """Memory of the activations held at once. Less memory means smaller tiles and more time."""
    self_ensemble: bool = False
    """Mean over the eight flips and rotations: eight times slower, about 0.1 dB better."""
    alpha: AlphaMode = "bleed"
    """bleed: fill the colours under transparent pixels from their neighbours, so that no halo appears. separate: replace nothing (game textures)."""
    format: Literal["png", "jpg", "webp", "tiff", "avif", "gif"] | None = None
    """Format of the results. Default: the format of each input; WebP for animations, JPEG for HEIC, PNG for other formats."""
    quality: int | None = None
    """1 to 100. Default: 95 for JPEG and WebP, 90 for AVIF."""
    lossless: bool = False
    """Write WebP and AVIF without loss. Default: as the input, if it has the same format or is an animation, and --quality is not given."""
    overwrite: bool = False
    """Replace existing results. Without it they are skipped."""
    shard: str | None = None
    """I/N: only part I of N of the list, for job arrays."""
    ray: str | None = None
    """Spread the list over a Ray cluster (needs the extra 'cluster'; all nodes see the same files). local: start Ray on this machine. auto: the Ray of this machine, or RAY_ADDRESS. HOST:PORT: that one."""
    ray_actors: int | None = None
    """Engines on the cluster, each with its own --memory. Default: one per GPU, else one per 4 CPUs of a node."""
    provenance: bool = True
    """Write model, settings and version into the metadata of the results."""


def main(argv: list[str]) -> int:
    """Run `srgan upscale` and return its exit code; the paths of finished files go to stdout."""
    settings = flags.parse(UpscaleSettings, argv, prog="srgan upscale")
    _check(settings)
    with _files_for_pipes(settings) as settings:
        return _run(settings)


def _run(settings: UpscaleSettings) -> int:
    from srgan.upscale.inputs import find_inputs

    # What is there to do?
    paths, output = [expanded(path) for path in settings.paths], settings.output and expanded(settings.output)
    inputs = find_inputs(paths, output, scale=settings.scale, format=settings.format, shard=settings.shard)
    todo = [task for task in inputs.tasks if settings.overwrite or not os.path.lexists(task.target)]
    skipped = len(inputs.tasks) - len(todo)
    if inputs.single and skipped:
        raise ImageError(f"{printable(inputs.tasks[0].target)} exists; --overwrite replaces it.")
    if skipped:
        log.info("%d of %d exist already and are skipped", skipped, len(inputs.tasks))
    # Do it, and name what failed.
    failures = _upscale(settings, todo) if todo else {}
    errors = [*inputs.failures, *failures.values()]
    if inputs.single and errors:
        raise errors[0]
    if errors:
        lines = "".join(f"\n  {error}" for error in errors)
        log.error("%d of %d images failed:%s", inputs.failed + len(failures), inputs.failed + len(todo), lines)
        return ImageError.exit_code
    return 0


@contextlib.contextmanager
def _files_for_pipes(settings: UpscaleSettings) -> Iterator[UpscaleSettings]:
    """The settings with files in place of - for stdin and stdout; at the end the result is copied to stdout."""
    from srgan.upscale.inputs import is_several

    from_stdin = "-" in settings.paths
    to_stdout = settings.output == "-" or (from_stdin and settings.output is None)
    if not from_stdin and not to_stdout:
        yield settings
        return
    if len(settings.paths) > 1 or (to_stdout and is_several(settings.paths[0])):
        raise UsageError("- for stdin or stdout is for one image; give one path, no folder and no pattern.")
    stdout = sys.stdout
    if to_stdout and sys.__stdout__ is None:  # closed when Python started; cli.py then opens the null device
        raise UsageError("- is stdout, which is closed; redirect it into a file, or give a file with -o.")
    if to_stdout and stdout.isatty():
        raise UsageError("an image is not written to a terminal; redirect stdout, or give a file with -o.")
    with tempfile.TemporaryDirectory(prefix="srgan-") as folder, contextlib.ExitStack() as silent:
        source, target = Path(folder, "stdin"), Path(folder, f"stdout.{settings.format or 'png'}")
        if from_stdin:
            if sys.stdin is None:
                raise UsageError("- is stdin, which is closed; pipe an image into it, or name a file.")
            try:
                source.write_bytes(sys.stdin.buffer.read())
            except OSError as error:
                raise UsageError(
                    f"stdin is not copied to {folder}: {error.strerror}; set TMPDIR to another one."
                ) from None
            settings = dataclasses.replace(settings, paths=(str(source),))
        if to_stdout:
            silent.enter_context(contextlib.redirect_stdout(io.StringIO()))  # no path among the bytes
            settings = dataclasses.replace(settings, output=str(target))

        def without_folder(record: logging.LogRecord) -> bool:
            record.msg, record.args = record.getMessage().replace(f"{folder}{os.sep}", ""), ()
            return True

        log.addFilter(without_folder)  # about "stdin" or "stdout.png", not about files that the user does not know
        try:
            yield settings
        except SrganError as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from None
        finally:
            log.removeFilter(without_folder)
        if to_stdout and target.exists():  # not there when the image is in another shard
            stdout.flush()
            stdout.buffer.write(target.read_bytes())
            stdout.buffer.flush()


def _check(settings: UpscaleSettings) -> None:
    """Refuse settings that contradict each other."""
    from srgan.upscale.mixture import check_mixture

    check_mixture(settings.model, texture=settings.texture, restore=settings.restore)
    if settings.ray is not None and not _ADDRESS.fullmatch(settings.ray):
        raise UsageError(f"--ray is local, auto or HOST:PORT; got '{settings.ray}'.")
    if not settings.paths:
        raise UsageError("srgan upscale takes at least one image, folder or glob; --help lists the options.")
    if settings.lossless and settings.quality is not None:
        raise UsageError("--quality makes a result lossy and --lossless does not; give one of them.")
    chosen = settings.format or Path(settings.output or "").suffix.lower()[1:]
    if settings.lossless and chosen in ("jpg", "jpeg", "jpe", "jfif", "gif"):
        raise UsageError(f"--lossless is for WebP and AVIF; {chosen} always loses something. PNG and TIFF never do.")
    if settings.ray is not None and settings.ray.startswith("ray://"):
        raise UsageError("Ray's client (ray://) cannot do this; on a machine of the cluster, give --ray auto.")
    if settings.ray_actors is not None and (settings.ray is None or settings.ray_actors < 1):
        raise UsageError("--ray-actors is the number of engines of --ray, 1 or more; it needs --ray.")


def _upscale(settings: UpscaleSettings, todo: list[UpscaleTask]) -> dict[UpscaleTask, SrganError]:
    """Upscale all, here or on Ray; returns those that failed, and why."""
    # OpenVINO imports its model converter where it can: half of its import time, and not used here.
    sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
    from srgan.progress import Progress
    from srgan.upscale.batch import FileOptions, upscale_files

    options = FileOptions(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(FileOptions)})
    names = ("model", "texture", "restore", "engine", "precision", "memory", "device", "self_ensemble")
    arguments: dict[str, Any] = {name: getattr(settings, name) for name in names}
    on_done = _print_path()
    with Progress("upscaling", len(todo), unit="image") as bar:
        if settings.ray is not None:
            from srgan.upscale.ray import upscale_on_ray

            with contextlib.redirect_stdout(sys.stderr):  # Ray's messages
                return upscale_on_ray(
                    todo,
                    arguments,
                    options,
                    address=settings.ray,
                    actors=settings.ray_actors,
                    on_done=on_done,
                    on_progress=bar.update,
                )
        from srgan.upscale.upscaler import Upscaler

        return upscale_files(
            Upscaler(**arguments),
            todo,
            options,
            on_done=on_done,
            on_progress=lambda done, task: bar.update(done, note=printable(task.source.name)),
        )


def _print_path() -> Callable[[Path], None]:
    """Prints the path of a finished file on the present stdout, above a bar there; with --quiet, nothing."""
    from srgan.progress import MessageHandler

    if not log.isEnabledFor(logging.INFO):
        return lambda path: None
    stdout = sys.stdout

    def print_path(path: Path) -> None:
        line = printable(path, limit=4096) if stdout.isatty() else path
        if MessageHandler.console and stdout.isatty():
            MessageHandler.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=stdout, flush=True)

    return print_path
