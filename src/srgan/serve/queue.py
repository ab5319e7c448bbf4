"""A bounded job queue: worker threads, waiting requests, 429 for the rest."""

import asyncio
import contextvars
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from srgan.progress import OnProgress
from srgan.serve.problems import Problem

T = TypeVar("T")
Job = Callable[[OnProgress], T]


@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """What one request, and all requests together, may take."""

    pixels: int = 4_000_000
    """Pixels of one image."""
    size: int = 32 * 2**20
    """Bytes of one request."""
    budget: int = 256 * 2**20
    """Bytes of all requests that run or wait."""
    workers: int = 1
    """Images upscaled at once; each uses all cores. Images up to 128 x 128 have one more worker."""
    queue: int = 16
    """Requests that may wait; more are refused with 429 and the time to come back."""
    seconds: float = 300.0
    """Time that one image may take, without the wait in the queue."""
    patience: float = 15.0
    """Seconds that an upload may pause before it is refused with 408."""
    connections: int = 256
    """Connections open at once; more are refused with 503."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise ValueError(f"--{name} must be more than 0, and finite; got {value}")
        if self.budget < self.size:
            raise ValueError(f"--budget ({self.budget}) must be at least --size ({self.size})")


class Stopped(Exception):
    """Raised inside a job, at its next tile, when its client has left."""


class Ticket:
    """One request in the queue, and then the clock and the stop flag of its job."""

    def __init__(self, seconds: float, on_position: Callable[[int], None]) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seconds, self.on_position = seconds, on_position
        self.cancelled = False
        self.started = time.monotonic()

    def check(self, done: int, total: int) -> None:
        """Called by the job between tiles. Raises Stopped, or Problem 503 when the time is over."""
        if self.cancelled:
            raise Stopped
        if time.monotonic() > self.started + self.seconds and done < total:
            raise Problem(
                503,
                "time",
                f"The image needs more than {self.seconds:g} s, the limit here (--seconds); {100 * done // total} % were "
                "done. Send a smaller one, or use `srgan upscale` on your own machine.",
            )


class JobQueue:
    """Runs `workers` jobs at once in threads, first come, first served; `size` more may wait."""

    def __init__(self, *, workers: int, size: int, seconds: float, name: str) -> None:
        self.workers, self.size, self.seconds, self.name = workers, size, seconds, name
        self.running = 0
        self.draining = False
        self.mean_seconds = 1.0
        """Moving average of a job's duration."""
        self._waiting: deque[Ticket] = deque()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"srgan-{name}")

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check_admission(self) -> None:
        """Raise the Problem that a new job would meet: 503 while draining, 429 while the queue is full."""
        if self.draining:
            raise _stopping()
        if self.running >= self.workers and self.waiting >= self.size:
            seconds = min(600, math.ceil(self.mean_seconds * (self.waiting + 1) / self.workers))
            detail = f"The queue of waiting requests is full (--queue {self.size}); try again in {seconds} s."
            raise Problem(429, "busy", detail, retry_after=seconds)

    async def run(self, job: Job[T], *, on_position: Callable[[int], None] = lambda before: None) -> T:
        """The job's result; `on_position` gets the number of jobs before it. Cancelling stops the job."""
        self.check_admission()
        ticket = Ticket(self.seconds, on_position)
        await self._wait_for_turn(ticket)

        # The worker is free again when the thread ends, not when the client leaves.
        ticket.started = time.monotonic()
        in_context = contextvars.copy_context().run  # the log's lines name the request
        future = asyncio.get_running_loop().run_in_executor(self._threads, in_context, job, ticket.check)
        future.add_done_callback(lambda done: self._job_ended(done, ticket))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            ticket.cancelled = True
            raise

    def drain(self) -> None:
        """Finish the running jobs, refuse the waiting ones and all new ones."""
        self.draining = True
        while self._waiting:
            ticket = self._waiting.popleft()
            if not ticket.turn.done():
                ticket.turn.set_exception(_stopping())

    async def _wait_for_turn(self, ticket: Ticket) -> None:
        if self.running < self.workers:
            self.running += 1
            return
        self._waiting.append(ticket)
        ticket.on_position(self.waiting)
        try:
            await ticket.turn
        except asyncio.CancelledError:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._report_positions()
            elif ticket.turn.done() and not ticket.turn.cancelled() and ticket.turn.exception() is None:
                self._start_next()  # its turn came at the moment when its client left
            raise

    def _job_ended(self, done: asyncio.Future[T], ticket: Ticket) -> None:
        if not done.cancelled() and done.exception() is None:
            self.mean_seconds += 0.2 * (time.monotonic() - ticket.started - self.mean_seconds)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting:
            ticket = self._waiting.popleft()
            if not ticket.turn.done():
                ticket.turn.set_result(None)
                self._report_positions()
                return
        self.running -= 1

    def _report_positions(self) -> None:
        for before, ticket in enumerate(self._waiting, start=1):
            ticket.on_position(before)


def _stopping() -> Problem:
    return Problem(503, "stopping", "The service is shutting down; try again later, or another one.", retry_after=10)
