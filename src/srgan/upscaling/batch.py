"""Many pictures: the next is read and the last written while one is computed; a broken one stops no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import PictureError, SrganError
from srgan.picture.opening import shown
from srgan.upscaling.onefile import FileJob, FileOptions
from srgan.upscaling.progress import Display
from srgan.upscaling.worklist import Item

if TYPE_CHECKING:
    from srgan.upscaling.upscaler import Upscaler


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

    def run(self, items: Sequence[Item]) -> None:
        """Do all items; `written` is told of each finished file, in order."""
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            ahead: Future[FileJob] | None = None
            going: Future[None] | None = None
            try:
                for index, item in enumerate(items):
                    opening = ahead or reader.submit(_opened, item, self._options)
                    following = items[index + 1 : index + 2]
                    ahead = reader.submit(_opened, following[0], self._options) if following else None
                    job = self._computed(item, opening)
                    if going is not None:
                        going.result()
                    going = writer.submit(self._finish, item, job) if job is not None else None
                if going is not None:
                    going.result()
            finally:  # Ctrl-C: what is being written is finished, what was opened is given up
                if ahead is not None and not ahead.cancel() and ahead.exception() is None:
                    ahead.result().close()

    def _computed(self, item: Item, opening: Future[FileJob]) -> FileJob | None:
        self._display.start(item.source)
        job = None
        try:
            job = opening.result()
            job.compute(self._upscaler, self._display.advance)
            return job
        except BaseException as error:
            if job is not None:
                job.close()
            if not isinstance(error, (SrganError, OSError)):
                raise
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
            self._written(item.target)

    def _fail(self, item: Item, error: SrganError | OSError) -> None:
        reason = error if isinstance(error, SrganError) else PictureError(f"{shown(item.source)}: {error}.")
        self.failures.append(Failure(path=item.source, error=reason))


def _opened(item: Item, options: FileOptions) -> FileJob:
    item.target.parent.mkdir(parents=True, exist_ok=True)
    return FileJob(item.source, item.target, options).open()
