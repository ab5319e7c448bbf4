"""How far the work is: a bar with the time left on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, Protocol, Self

from srgan.fs import printable

EVERY = 10.0
"""Seconds between two plain lines about one picture."""


class Display(Protocol):
    """Shows the progress of a list of pictures."""

    def start(self, path: Path) -> None:
        """A picture's turn has come."""

    def advance(self, done: int, total: int) -> None:
        """`done` of `total` LR pixels of that picture."""

    def end(self) -> None:
        """That picture is computed, or has failed."""

    def say(self, sentence: str) -> None:
        """A message, on stderr."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def display(pictures: int, *, quiet: bool) -> Display:
    """The display that fits this stderr."""
    if quiet:
        return Quiet()
    return Bar(pictures) if sys.stderr.isatty() else Lines(pictures)


class Quiet:
    """Says nothing but messages."""

    def start(self, path: Path) -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def end(self) -> None: ...

    def say(self, sentence: str) -> None:
        print(f"srgan: {sentence}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


class Lines(Quiet):
    """One line per picture, and one every ten seconds within a large one."""

    def __init__(self, pictures: int) -> None:
        self._pictures, self._index = pictures, 0
        self._path, self._begun, self._said = Path(), 0.0, 0.0

    def start(self, path: Path) -> None:
        self._index += 1
        self._path, self._begun = path, time.monotonic()
        self._said = self._begun

    def advance(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said >= EVERY and done:
            left = (now - self._begun) * (total - done) / done
            self.say(f"{self._label()}: {100 * done // total} %, {clock(left)} left")
            self._said = now

    def end(self) -> None:
        if self._pictures > 1:
            self.say(f"{self._label()}: {time.monotonic() - self._begun:.1f} s")

    def _label(self) -> str:
        return f"[{self._index}/{self._pictures}] {printable(self._path)}"


class Bar:
    """A bar over all pictures."""

    def __init__(self, pictures: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.fields[label]}", markup=False)
        self._bar = Progress(
            text,
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            speed_estimate_period=120,
        )
        self._pictures, self._index = pictures, 0
        self._task: Any = self._bar.add_task("", total=float(pictures), label="")

    def start(self, path: Path) -> None:
        self._index += 1
        name = printable(path.name)
        label = name if self._pictures == 1 else f"{self._index}/{self._pictures} {name}"
        self._bar.update(self._task, label=label)

    def advance(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=self._index - 1 + done / total)

    def end(self) -> None:
        self._bar.update(self._task, completed=float(self._index))

    def say(self, sentence: str) -> None:
        self._bar.console.print(f"srgan: {sentence}", markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def clock(seconds: float) -> str:
    """75 -> "1:15"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
