"""Many pictures: the next is read and the last written while one is computed; a broken one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import ImageError, SrganError
from srgan.fs import printable
from srgan.upscale.inputs import Item
from srgan.upscale.onefile import FileJob, FileOptions
from srgan.upscale.progress import Display

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A picture that could not be done, and why."""

    path: Path
    error: SrganError


class Batch:
    """A list of pictures on its way through one upscaler."""

    def __init__(
        self, upscaler: Upscaler, options: FileOptions, display: Display, written: Callable[[Path], None]
    ) -> None:
        self._upscaler, self._options, self._display = upscaler, options, display
        self._written = written
        self.failures: list[Failure] = []
        """In the order in which they were found."""
        self._live: dict[Item, FileJob] = {}

    def run(self, items: Sequence[Item]) -> None:
        """Do all items; `written` is told of each finished file, in order.

        After Ctrl-C, what is being encoded is finished, and all else that was begun is removed.
        """
        try:
            with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
                self._run(items, reader, writer)
        finally:
            for job in self._live.values():
                job.close()

    def _run(self, items: Sequence[Item], reader: ThreadPoolExecutor, writer: ThreadPoolExecutor) -> None:
        opening = reader.submit(self._opened, items[0])
        writing: Future[None] | None = None
        for index, item in enumerate(items):
            current = opening
            if index + 1 < len(items):
                opening = reader.submit(self._opened, items[index + 1])
            job = self._computed(item, current)
            if writing is not None:
                writing.result()
            writing = writer.submit(self._finish, item, job) if job is not None else None
        if writing is not None:
            writing.result()

    def _opened(self, item: Item) -> FileJob:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        job = FileJob(item.source, item.target, self._options)
        self._live[item] = job
        return job.open()

    def _computed(self, item: Item, opening: Future[FileJob]) -> FileJob | None:
        self._display.start(item.source)
        try:
            job = opening.result()
            job.compute(self._upscaler, self._display.advance)
            return job
        except (SrganError, OSError) as error:
            self._fail(item, error)
            return None
        finally:
            self._display.end()

    def _finish(self, item: Item, job: FileJob) -> None:
        try:
            job.finish()
        except (SrganError, OSError) as error:
            self._fail(item, error)
        else:
            del self._live[item]
            self._written(item.target)

    def _fail(self, item: Item, error: SrganError | OSError) -> None:
        reason = error if isinstance(error, SrganError) else ImageError(f"{printable(item.source)}: {error}.")
        self.failures.append(Failure(path=item.source, error=reason))
        job = self._live.pop(item, None)
        if job is not None:
            job.close()
