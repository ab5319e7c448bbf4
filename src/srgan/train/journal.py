"""The record of a run: one JSON object per line, the same numbers for TensorBoard and for the eye."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from srgan.errors import CheckpointError


class Journal:
    """Writes `journal.jsonl`; shows a bar on a terminal and plain lines elsewhere, on stderr."""

    def __init__(self, folder: Path, *, quiet: bool = False, tensorboard: bool = True) -> None:
        self.path = folder / "journal.jsonl"
        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self.progress: Progress | None = None
        try:
            self.had_lines = self.path.exists() and self.path.stat().st_size > 0
            _end_last_line(self.path)
            self.file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise CheckpointError(f"the journal {self.path} cannot be written: {error.strerror}.") from error
        self.board = _tensorboard(folder) if tensorboard else None

    def write(self, kind: str, **values: Any) -> None:
        """Append one line: `kind`, the time (Unix seconds) and the values. Numbers that are not finite become texts."""
        line = {"kind": kind, "time": round(time.time(), 3), **values}
        try:
            self.file.write(json.dumps(_plain(line), ensure_ascii=False, allow_nan=False) + "\n")
            self.file.flush()
        except OSError as error:
            raise CheckpointError(f"the journal {self.path} cannot be written: {error.strerror}.") from error
        if self.board is not None and "step" in values:
            for name, value in _scalars(values):
                self.board.add_scalar(f"{values.get('phase', kind)}/{name}", value, values["step"])

    def say(self, text: str) -> None:
        """A line for the person, and in the journal."""
        self.write("event", text=text)
        self.show(text)

    def show(self, text: str) -> None:
        """A line for the person alone."""
        self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """A warning for the person even when quiet, and in the journal."""
        self.write("warning", text=text)
        print(f"srgan: warning: {text}", file=sys.stderr)

    def start_bar(self, title: str, done: int, total: int) -> None:
        """Begin a progress bar; only where stderr is a terminal."""
        self.stop_bar()
        if self.console.is_terminal and not self.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self.progress = Progress(*columns, console=self.console)
            self.progress.start()
            self.task = self.progress.add_task(title, total=total, completed=done, note="")

    def report(self, step: int, total: int, note: str) -> None:
        """Move the bar, or print a line."""
        if self.progress is not None:
            self.progress.update(self.task, completed=step, note=note)
        else:
            self.console.print(f"step {step}/{total}  {note}", markup=False)

    def stop_bar(self) -> None:
        """End the progress bar, if there is one."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def close(self) -> None:
        """Flush everything."""
        self.stop_bar()
        self.file.close()
        if self.board is not None:
            self.board.close()


class Silence(Journal):
    """The journal of a process that neither writes nor speaks: every rank but the first."""

    def __init__(self) -> None:
        self.had_lines = False

    def write(self, kind: str, **values: Any) -> None: ...
    def say(self, text: str) -> None: ...
    def show(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def start_bar(self, title: str, done: int, total: int) -> None: ...
    def report(self, step: int, total: int, note: str) -> None: ...
    def stop_bar(self) -> None: ...
    def close(self) -> None: ...


def _end_last_line(path: Path) -> None:
    """A run killed in the middle of a line leaves half of it; end that line so that the next one is whole."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra without tensorboard: the journal has every number
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _scalars(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
            found.append((prefix + name, float(value)))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
