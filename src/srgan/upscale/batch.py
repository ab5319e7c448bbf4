"""Many files: the next is decoded and the last encoded while one is computed; a broken one stops no other."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from srgan.errors import ImageError, SrganError, UsageError
from srgan.fs import printable
from srgan.image.files import depth_warning
from srgan.image.stream import ImageReader, ImageWriter
from srgan.upscale.inputs import UpscaleTask
from srgan.upscale.tiled import Progress

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How results are written."""

    scale: int = 4
    overwrite: bool = False
    provenance: bool = True
    quality: int | None = None
    lossless: bool = False


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An image that failed, and why."""

    path: Path
    error: SrganError


class FileTask:
    """One file in three steps that can overlap with others': open, compute, finish.

    Nothing is left behind unless `finish` succeeds.
    """

    def __init__(self, source: Path, target: Path, options: FileOptions) -> None:
        self.source, self.target, self.options = source, target, options
        self._files = contextlib.ExitStack()
        self._reader: ImageReader | None = None
        self._writer: ImageWriter | None = None
        self._provenance: dict[str, str] | None = None

    def open(self) -> Self:
        """Decode the input and check that the output can be written. Raises ImageError, UsageError."""
        if self.target.exists():
            if not self.options.overwrite:
                raise ImageError(f"{printable(self.target)} exists; --overwrite replaces it.")
            if self.source.exists() and self.target.samefile(self.source):
                raise UsageError(f"{printable(self.target)} is the input itself; give another name with -o.")
        try:
            reader = self._files.enter_context(ImageReader(self.source, scratch=self.target.parent))
            writer = ImageWriter(
                self.target,
                height=reader.height * self.options.scale,
                width=reader.width * self.options.scale,
                channels=reader.channels,
                dtype=reader.dtype,
                alpha=reader.has_alpha,
                metadata=reader.metadata,
                quality=self.options.quality,
                lossless=self.options.lossless,
            )
            self._reader, self._writer = reader, self._files.enter_context(writer)
        except BaseException:
            self.close()
            raise
        return self

    def compute(self, upscaler: Upscaler, progress: Progress | None = None) -> None:
        """Upscale, tile by tile, into a raw file beside the output."""
        assert self._reader is not None and self._writer is not None, "compute comes after open"
        scale = self.options.scale
        plan = upscaler.upscale_into(self._reader, self._writer.write_box, scale=scale, progress=progress)
        if self.options.provenance:
            self._provenance = upscaler.provenance(plan.grid, scale=scale)
        rounded = depth_warning(self.target, self._reader.dtype)
        if rounded:
            log.warning("%s: %s", printable(self.target), rounded)

    def finish(self) -> None:
        """Encode, flush to disk, put in place."""
        assert self._writer is not None, "finish comes after compute"
        with self._files:
            self._writer.finish(provenance=self._provenance)

    def close(self) -> None:
        """Remove what is not finished."""
        self._files.close()


def upscale_file(
    upscaler: Upscaler, source: Path, target: Path, options: FileOptions, progress: Progress | None = None
) -> None:
    """All three steps of one file. Raises ImageError, UsageError."""
    task = FileTask(source, target, options).open()
    try:
        task.compute(upscaler, progress)
        task.finish()
    finally:
        task.close()


def upscale_files(
    upscaler: Upscaler,
    tasks: Sequence[UpscaleTask],
    options: FileOptions,
    *,
    on_done: Callable[[Path], None],
    on_progress: Callable[[float, UpscaleTask], None],
) -> list[Failure]:
    """Upscale all files; returns those that failed, in the order in which they did.

    `on_done` is called with each finished file, in order; `on_progress` with (files computed, with a fraction; the task
    at hand). An exception of `on_progress` or Ctrl-C stops the work: what is being encoded is finished, all else that
    was begun is removed.
    """
    failures: list[Failure] = []
    open_tasks: dict[UpscaleTask, FileTask] = {}

    def fail(task: UpscaleTask, error: SrganError | OSError) -> None:
        reason = error if isinstance(error, SrganError) else ImageError(f"{printable(task.source)}: {error}.")
        failures.append(Failure(path=task.source, error=reason))
        if task in open_tasks:
            open_tasks.pop(task).close()

    def open_file(task: UpscaleTask) -> FileTask:
        task.target.parent.mkdir(parents=True, exist_ok=True)
        open_tasks[task] = file = FileTask(task.source, task.target, options)
        return file.open()

    def compute(index: int, task: UpscaleTask, opening: Future[FileTask]) -> FileTask | None:
        on_progress(index, task)
        try:
            file = opening.result()
            file.compute(upscaler, lambda done, total: on_progress(index + done / total, task))
            return file
        except (SrganError, OSError) as error:
            fail(task, error)
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
