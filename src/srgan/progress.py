"""Progress and messages on stderr: a bar on a terminal, a line every ten seconds elsewhere."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

log = logging.getLogger("srgan")

OnProgress = Callable[[int, int], None]
"""Called with (LR pixels done, LR pixels in all) after each sub-tile; an exception that it raises stops the work."""
LINE_INTERVAL = 10.0
"""Seconds between two lines where stderr is not a terminal."""
BAR_DELAY = 0.5
"""Seconds of work before a bar appears, so that short work neither flickers nor imports rich."""


class Progress:
    """The progress of one stage, as a context manager.

    `total` is in units (`unit`: singular), None when it is not known. `first`: units that were done before, by an earlier
    process. `every_update`: a line for each update where stderr is not a terminal, not one every ten seconds. With
    --quiet, and for users of the library who did not enable the log level INFO, nothing appears. Not for several threads.
    """

    def __init__(
        self, title: str, total: float | None, unit: str = "step", *, first: float = 0, every_update: bool = False
    ) -> None:
        self._title, self._total, self._unit = title, total or None, unit
        self._started = self._last_line = time.monotonic()
        self._first, self._every_update = first, every_update
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._started = self._last_line = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
            MessageHandler.console = None

    def update(self, done: float, note: str = "", total: float | None = None) -> None:
        """Show that `done` units are finished; `note` is a few words on the current one; `total` replaces the total."""
        if not log.isEnabledFor(logging.INFO):
            return
        self._total = total or self._total
        now = time.monotonic()
        if sys.stderr.isatty():
            if self._bar is None and now - self._started >= BAR_DELAY:
                self._bar = _start_bar(self._title)
            if self._bar:
                self._bar.update(self._bar.task_ids[0], completed=done, total=self._total, note=note)
        elif self._every_update:
            left = f"  {self._left(done, now - self._started)}"
            log.info(f"{self._unit} {done:.0f}/{self._total or 0:.0f}  {note}{left}", extra={"bare": True})
        elif now - self._last_line >= LINE_INTERVAL:
            self._last_line = now
            log.info(self._line(done, note, now - self._started))

    def _line(self, done: float, note: str, elapsed: float) -> str:
        """`title: 120 of 5,000 steps, note, 1:15 left`; a share instead of counts where a unit is not whole."""
        if self._total is None:
            position = f"{done:,.0f} {self._unit}s"
        elif self._total < 100 and done != int(done):
            position = f"{100 * done / self._total:.0f} %"
        else:
            position = f"{done:,.0f} of {self._total:,.0f} {self._unit}s"
        parts = (position, note, self._left(done, elapsed))
        return f"{self._title}: " + ", ".join(part for part in parts if part)

    def _left(self, done: float, elapsed: float) -> str:
        fresh = done - self._first
        return f"{clock(elapsed * (self._total - done) / fresh)} left" if self._total and fresh > 0 else ""


def clock(seconds: float) -> str:
    """75 -> "1:15"; 3675 -> "1:01:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class MessageHandler(logging.Handler):
    """Writes messages, and the traceback of `log.exception`, to stderr, above a bar where one is shown.

    A closed stderr never stops the work.
    """

    console: Any = None
    """The console of the bar that is shown now."""

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage() if hasattr(record, "bare") else f"srgan: {record.getMessage()}"
        if record.exc_info:
            line += f"\n{logging.Formatter().formatException(record.exc_info)}"
        if self.console:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        with contextlib.suppress(OSError, ValueError):  # closed; messages have no other place
            print(line, file=sys.stderr, flush=True)


def _start_bar(title: str) -> Any:
    import rich.progress
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:  # rich leaves the process here
            self.quiet = True

    columns = (
        rich.progress.TextColumn("{task.description} {task.fields[note]}", markup=False),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    console = QuietConsole(stderr=True, emoji=False)  # ":smile:.png" is a file's name
    bar = rich.progress.Progress(*columns, console=console, transient=True, speed_estimate_period=120)
    bar.add_task(title, total=None, note="")
    bar.start()
    MessageHandler.console = bar.console
    return bar
