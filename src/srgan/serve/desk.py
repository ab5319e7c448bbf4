"""Who may compute, who waits, who is refused: bounded work in threads, in the order of arrival."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from srgan.serve.problems import Problem

T = TypeVar("T")
Progress = Callable[[int, int], None]
Work = Callable[[Progress], T]


class Stopped(Exception):
    """Raised inside a job, at its next tile, when nobody waits for it any more."""


class _Turn:
    """A place in the line; `moved` hears how many are before it."""

    def __init__(self, moved: Callable[[int], None]) -> None:
        self.come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.moved = moved


class Desk:
    """Runs `workers` jobs at once in threads, lets `queue` more wait, refuses the others with 429.

    A job that takes longer than `seconds`, or whose waiter is cancelled, ends at its next tile.
    """

    def __init__(self, *, workers: int, queue: int, seconds: float, name: str) -> None:
        self.workers, self.queue, self.seconds, self.name = workers, queue, seconds, name
        self.running = 0
        self.draining = False
        self.typical = 1.0
        """Seconds that a job takes: a moving average."""
        self._line: deque[_Turn] = deque()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix=f"srgan-{name}")

    @property
    def waiting(self) -> int:
        return len(self._line)

    def admit(self) -> None:
        """Raise the refusal that a new job would meet now; asked before a body is read, too."""
        if self.draining:
            raise Problem(503, "stopping", "The service is shutting down; ask again elsewhere.", retry_after=10)
        if self.running >= self.workers and self.waiting >= self.queue:
            seconds = min(600, math.ceil(self.typical * (self.waiting + 1) / self.workers))
            raise Problem(
                429,
                "busy",
                f"{self.waiting} requests are waiting already, which is the limit; try again in {seconds} s.",
                retry_after=seconds,
            )

    async def run(self, work: Work[T], *, moved: Callable[[int], None] = lambda before: None) -> T:
        """The work's result, once its turn has come; cancel the caller to stop it."""
        self.admit()
        await self._turn(moved)
        job = _Job(self.seconds)
        started = time.monotonic()
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, job.progress)
        future.add_done_callback(lambda done: self._leave(done, started))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            job.unwanted = True
            raise

    def drain(self) -> None:
        """Finish what runs, refuse what waits."""
        self.draining = True
        while self._line:
            turn = self._line.popleft()
            if not turn.come.done():
                turn.come.set_exception(
                    Problem(503, "stopping", "The service is shutting down; ask again elsewhere.", retry_after=10)
                )

    async def _turn(self, moved: Callable[[int], None]) -> None:
        if self.running < self.workers:
            self.running += 1
            return
        turn = _Turn(moved)
        self._line.append(turn)
        moved(self.waiting)
        try:
            await turn.come
        except asyncio.CancelledError:
            if turn in self._line:
                self._line.remove(turn)
                self._tell()
            elif turn.come.done() and not turn.come.cancelled() and turn.come.exception() is None:
                self._next()  # the turn came and its owner went at the same moment
            raise

    def _leave(self, done: asyncio.Future[T], started: float) -> None:
        if not done.cancelled() and done.exception() is None:
            self.typical += 0.2 * (time.monotonic() - started - self.typical)
        self._next()

    def _next(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.come.done():
                turn.come.set_result(None)
                self._tell()
                return
        self.running -= 1

    def _tell(self) -> None:
        for before, turn in enumerate(self._line, start=1):
            turn.moved(before)


class _Job:
    """One job's clock and its stop sign, looked at between tiles."""

    def __init__(self, seconds: float) -> None:
        self.unwanted = False
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds

    def progress(self, done: int, total: int) -> None:
        if self.unwanted:
            raise Stopped
        if time.monotonic() > self._deadline and done < total:
            raise Problem(
                503,
                "time",
                f"The picture needs longer than the {self._seconds:g} s that this service gives to one "
                f"({done} of {total} tiles were done). Send a smaller one, or use `srgan upscale`.",
            )
