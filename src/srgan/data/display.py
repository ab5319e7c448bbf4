"""How far a stage is: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

EVERY = 10.0
"""Seconds between two plain lines."""


class Display:
    """Messages and the progress of one stage after the other, on stderr."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
        self._last = 0.0

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, sentence: str) -> None:
        """A message."""
        if self._bar:
            self._bar.console.print(f"srgan: {sentence}", markup=False, highlight=False, soft_wrap=True)
        elif not self._quiet:
            print(f"srgan: {sentence}", file=sys.stderr, flush=True)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """What is told of the progress of a stage: things done and all of them (0: unknown)."""
        if self._bar:
            bar = self._bar
            for task in bar.task_ids:
                bar.update(task, visible=False)
            task = bar.add_task(name, total=None)
            return lambda done, total: bar.update(task, completed=done, total=total or None)
        self._last = time.monotonic()
        return lambda done, total: self._line(name, done, total)

    def _line(self, name: str, done: int, total: int) -> None:
        if not self._quiet and time.monotonic() - self._last > EVERY:
            self._last = time.monotonic()
            self.say(f"{name}: {done:,} of {total:,}" if total else f"{name}: {done:,}")
