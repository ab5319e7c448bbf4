"""What runs on a Ray cluster: actors with an engine each, and the desk where they ask whether to go on."""

from __future__ import annotations

import os
import pickle
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from srgan.errors import SrganError, UsageError
from srgan.fs import printable
from srgan.upscale.batch import Batch
from srgan.upscale.inputs import Item
from srgan.upscale.onefile import FileOptions
from srgan.upscale.progress import Quiet
from srgan.upscale.upscaler import Upscaler

Row = tuple[Item | None, Exception | None, list[str]]
"""A picture, why it failed, sentences for the user. Without a picture: why this actor can do none."""


class Desk:
    """Knows which actors are at work, and whether all should stop; itself an actor, one in a run."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._open = True

    def enter(self, actor: str) -> bool:
        """Whether this actor may begin, or go on."""
        if self._open:
            self._busy.add(actor)
        return self._open

    def leave(self, actor: str) -> None:
        """This actor has finished what it began, or removed it."""
        self._busy.discard(actor)

    def close(self) -> int:
        """All are to stop; how many have not yet."""
        self._open = False
        return len(self._busy)


class Bell(Quiet):
    """The display of a batch in an actor: shows nothing, and ends the batch as Ctrl-C does when the desk has closed."""

    EVERY = 1.0
    """Seconds between two looks."""

    def __init__(self, may_go_on: Callable[[], bool]) -> None:
        self._may_go_on, self._asked = may_go_on, time.monotonic()

    def advance(self, done: int, total: int) -> None:
        if time.monotonic() - self._asked >= self.EVERY:
            self._asked = time.monotonic()
            if not self._may_go_on():
                raise KeyboardInterrupt


class Actor:
    """One engine; each call does a part of the list."""

    def __init__(self, desk: Any, how: Mapping[str, Any], options: FileOptions, folder: Path) -> None:
        import ray

        self._get, self._desk, self._name = ray.get, desk, ray.get_runtime_context().get_actor_id()
        self._how, self._options, self._folder = how, options, folder
        self._notes: list[str] = []

    def __call__(self, part: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """{"item": pickled items} -> {"row": pickled rows}."""
        rows: list[Row] = [(None, None, [])]
        if self._may_go_on():
            try:
                rows = self._rows([pickle.loads(item) for item in part["item"]])
            except KeyboardInterrupt:
                pass  # by the bell
            except (SrganError, ModuleNotFoundError) as error:
                rows = [(None, error, [])]
            except Exception:
                rows = [(None, RuntimeError(traceback.format_exc()), [])]
            finally:
                self._get(self._desk.leave.remote(self._name))
        return {"row": [pickle.dumps(row) for row in rows]}

    def _may_go_on(self) -> bool:
        return bool(self._get(self._desk.enter.remote(self._name)))

    @cached_property
    def _upscaler(self) -> Upscaler:
        try:
            os.chdir(self._folder)
        except OSError as error:
            raise UsageError(
                f"a node of the cluster cannot enter {printable(self._folder)} ({error.strerror}); "
                "start in a folder that all nodes share."
            ) from None
        return Upscaler(**self._how, notify=self._notes.append)

    def _rows(self, items: Sequence[Item]) -> list[Row]:
        upscaler, overwrite = self._upscaler, self._options.overwrite
        todo = [item for item in items if overwrite or not item.target.exists()]  # else done before an actor died
        batch = Batch(upscaler, self._options, Bell(self._may_go_on), lambda path: None)
        if todo:
            batch.run(todo)
        errors = {failure.path: failure.error for failure in batch.failures}
        notes = [self._notes[:], *([] for _ in items[1:])]
        self._notes.clear()
        return [(item, errors.get(item.source), said) for item, said in zip(items, notes, strict=True)]
