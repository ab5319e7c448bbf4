"""Many files: the next is decoded and the last encoded while one is computed; a broken one stops no other."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from srgan.errors import GpuLost, ImageError, SrganError, UsageError
from srgan.fs import atomic_path, printable
from srgan.image import animation
from srgan.image.alpha import AlphaMode
from srgan.image.decode import is_animated, is_lossless, pages
from srgan.image.encode import check_target, depth_warning, fit_metadata, format_at, write_error
from srgan.image.source import DEFAULT_LIMITS, Source, format_of, name_of
from srgan.image.stream import ImageReader, ImageWriter
from srgan.progress import OnProgress
from srgan.upscale import sequences
from srgan.upscale.inputs import UpscaleTask

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler

log = logging.getLogger("srgan")

_LARGE = 40_000_000
"""Pixels of a result that takes about a minute on a laptop."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How results are written."""

    scale: int = 4
    overwrite: bool = False
    provenance: bool = True
    quality: int | None = None
    lossless: bool = False
    alpha: AlphaMode = "bleed"


class FileTask:
    """One file in three steps that can overlap with others': open, compute, finish.

    Nothing is left behind unless `finish` succeeds.
    """

    def __init__(self, source: Source, target: Path, options: FileOptions) -> None:
        self.source, self.target, self.options = source, target, options
        self._files = contextlib.ExitStack()
        self._pages: list[int] = []
        self._animation: animation.Animation | None = None
        self._several: Path | None = None
        """The file that an animation or several pages become before it is put in place."""
        self._reader: ImageReader | None = None
        self._writer: ImageWriter | None = None
        self._provenance: dict[str, str] | None = None

    def open(self) -> Self:
        """Decode the input and check that the output can be written; `close` follows in any case. Raises ImageError, UsageError."""
        try:
            exists = self.target.exists()
        except OSError as error:  # a name that is too long
            raise write_error(self.target, error) from None
        if exists:
            if self.target.is_dir():
                raise ImageError(f"{printable(self.target)} is a folder; the name of an image was expected.")
            if not self.options.overwrite:
                raise ImageError(f"{printable(self.target)} exists; the option overwrite replaces it.")
            if isinstance(self.source, Path) and self.source.exists() and self.target.samefile(self.source):
                raise UsageError(f"{printable(self.target)} is the input itself; give the result another name.")
        self._pages = pages(self.source, DEFAULT_LIMITS)
        if is_animated(self.source, DEFAULT_LIMITS):
            self._open_animation()
        elif len(self._pages) > 1:
            if self.target.suffix.lower() not in (".tif", ".tiff"):
                raise ImageError(
                    f"{name_of(self.source)} has {len(self._pages)} pages, which {printable(self.target)} cannot hold. "
                    "Write TIFF."
                )
        else:
            self._open_single()
            return self
        self._several = self.target.with_name(f".{secrets.token_hex(6)}.tmp")
        self._files.callback(self._several.unlink, missing_ok=True)
        return self

    def _open_animation(self) -> None:
        self._animation = frames = animation.Animation(self.source)
        if self.target.suffix.lower() not in animation.WRITERS:
            raise ImageError(
                f"{name_of(self.source)} is an animation of {frames.count} frames, which {printable(self.target)} "
                "cannot hold. Write WebP or GIF."
            )
        height, width = self.options.scale * frames.height, self.options.scale * frames.width
        check_target(self.target, height=height, width=width, alpha=True)
        self._announce(frames.count, height, width, 4)

    def _open_single(self) -> None:
        scale, bleed = self.options.scale, self.options.alpha == "bleed"
        self._reader = reader = self._files.enter_context(
            ImageReader(self.source, scratch=self.target.parent, page=self._pages[0], bleed=bleed)
        )
        if not format_at(self.target).alpha:
            reader.drop_opaque_alpha()
        height, width = scale * reader.height, scale * reader.width
        writer = ImageWriter(
            self.target,
            height=height,
            width=width,
            channels=reader.channels,
            dtype=reader.dtype,
            alpha=reader.has_alpha,
            metadata=reader.metadata.enlarged(scale, height, width),
            quality=self.options.quality,
            lossless=self._lossless(),
        )
        self._writer = self._files.enter_context(writer)
        self._announce(1, height, width, (reader.channels + reader.has_alpha) * reader.dtype.itemsize)

    def _announce(self, count: int, height: int, width: int, pixel_bytes: int) -> None:
        if (pixels := count * height * width) > _LARGE:
            what = f"{count} frames of {width}x{height}" if count > 1 else f"{width}x{height}"
            size = pixels * pixel_bytes / 1e9
            log.info("%s becomes %s pixels, %.1f GB before compression", name_of(self.source), what, size)

    def _lossless(self) -> bool:
        """As the options say; else as the source, where it has the target's format or is an animation."""
        if self.options.lossless or self.options.quality is not None:
            return self.options.lossless
        same = format_of(self.source) == format_at(self.target).name or self._animation is not None
        return same and is_lossless(self.source)

    def compute(self, upscaler: Upscaler, progress: OnProgress | None = None) -> dict[str, str]:
        """Upscale, tile by tile, into a raw file beside the output; several images into a whole file.

        Returns the provenance; of several pages what they have in common.
        """
        scale = self.options.scale
        if self._several is not None:
            try:
                return self._compute_several(upscaler, self._several, progress or (lambda done, total: None))
            except OSError as error:  # a full disk
                raise write_error(self.target, error) from None
        assert self._reader is not None and self._writer is not None, "compute comes after open"
        provenance = upscaler.upscale_into(
            self._reader, self._writer.write_box, scale=scale, file=self.source, progress=progress
        )
        if self.options.provenance:
            self._provenance = provenance
        if rounded := depth_warning(self.target, self._reader.dtype):
            log.warning("%s: %s", printable(self.target), rounded)
        return provenance

    def _compute_several(self, upscaler: Upscaler, several: Path, progress: OnProgress) -> dict[str, str]:
        options, frames = self.options, self._animation
        if frames is None:
            return sequences.upscale_pages(
                upscaler, self.source, self._pages, several, options, progress, name=self.target
            )
        height, width = options.scale * frames.height, options.scale * frames.width
        metadata = fit_metadata(self.target, frames.metadata.enlarged(options.scale, height, width))
        provenance = None
        while provenance is None:
            writer = animation.WRITERS[self.target.suffix.lower()](
                several,
                name=self.target,
                height=height,
                width=width,
                plays=frames.plays,
                metadata=metadata,
                quality=options.quality,
                lossless=self._lossless(),
            )
            with contextlib.closing(writer):
                provenance = sequences.upscale_animation(upscaler, frames, self.source, writer, options, progress)
        return provenance

    def finish(self) -> None:
        """Encode, flush to disk, put in place."""
        with self._files:
            if self._several is None:
                assert self._writer is not None, "finish comes after compute"
                self._writer.finish(provenance=self._provenance, overwrite=self.options.overwrite)
                return
            try:
                with atomic_path(self.target, overwrite=self.options.overwrite) as path:
                    self._several.replace(path)
            except OSError as error:
                raise write_error(self.target, error) from None

    def close(self) -> None:
        """Remove what is not finished."""
        self._files.close()


def upscale_file(
    upscaler: Upscaler, source: Source, target: Path, options: FileOptions, progress: OnProgress | None = None
) -> dict[str, str]:
    """All three steps of one file; returns the provenance. Raises ImageError, UsageError."""
    task = FileTask(source, target, options)
    try:
        provenance = task.open().compute(upscaler, progress)
        task.finish()
        return provenance
    finally:
        task.close()


def upscale_files(
    upscaler: Upscaler,
    tasks: Sequence[UpscaleTask],
    options: FileOptions,
    *,
    on_done: Callable[[Path], None],
    on_progress: Callable[[float, UpscaleTask], None],
) -> dict[UpscaleTask, SrganError]:
    """Upscale all files; returns those that failed, in the order in which they did, and why.

    `on_done` is called with each finished file, in order; `on_progress` with (files computed, with a fraction; the task
    at hand). An exception of `on_progress`, Ctrl-C or the loss of the GPU that was asked for stops the work: what is
    being encoded is finished, all else that was begun is removed.
    """
    failures: dict[UpscaleTask, SrganError] = {}
    open_tasks: dict[UpscaleTask, FileTask] = {}

    def fail(task: UpscaleTask, error: SrganError | OSError) -> None:
        failures[task] = error if isinstance(error, SrganError) else write_error(task.target, error)
        if task in open_tasks:
            open_tasks.pop(task).close()

    def open_file(task: UpscaleTask) -> FileTask:
        try:
            task.target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            folder = printable(task.target.parent)
            raise ImageError(f"{printable(task.target)} cannot be written: {folder} is a file, not a folder.") from None
        open_tasks[task] = file = FileTask(task.source, task.target, options)
        return file.open()

    def compute(index: int, task: UpscaleTask, opening: Future[FileTask]) -> FileTask | None:
        on_progress(index, task)
        try:
            file = opening.result()
            made_by = file.compute(upscaler, lambda done, total: on_progress(index + done / total, task))
            if made_by.get("restore_reason", "chosen") != "chosen" and made_by["restore"] != "0":
                log.info("%s: restore %s: %s", printable(task.source), made_by["restore"], made_by["restore_reason"])
            return file
        except (SrganError, OSError) as error:
            fail(task, error)
            if isinstance(error, GpuLost):  # so would all others
                raise
            return None

    def finish(task: UpscaleTask, file: FileTask) -> None:
        try:
            file.finish()
        except (SrganError, OSError) as error:
            fail(task, error)
        else:
            del open_tasks[task]
            on_done(task.target)

    try:
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            opening = reader.submit(open_file, tasks[0])
            writing: Future[None] | None = None
            for index, task in enumerate(tasks):
                opened = opening
                if index + 1 < len(tasks):
                    opening = reader.submit(open_file, tasks[index + 1])
                file = compute(index, task, opened)
                if writing is not None:
                    writing.result()
                writing = writer.submit(finish, task, file) if file is not None else None
            if writing is not None:
                writing.result()
    finally:
        for file in open_tasks.values():
            file.close()
    return failures
