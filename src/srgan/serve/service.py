"""One process's service: its models, its limits and its desks, shared by the API and the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srgan import __version__
from srgan.errors import SrganError
from srgan.image.files import Image, ImageBytes, Limits
from srgan.serve import pictures
from srgan.serve.bodies import Receiver
from srgan.serve.counters import Counters
from srgan.serve.desk import Desk, Progress, Work
from srgan.serve.problems import problem_from_error
from srgan.serve.shelf import Shelf
from srgan.serve.wish import FORMATS, SUFFIX, Wish

T = TypeVar("T")
SMALL = 128 * 128
"""LR pixels up to which a picture has a desk of its own: previews never wait behind whole pictures."""


YIELDED = 1.0
"""Seconds that a large picture waits, before a tile, for a small one at work."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What one client, and all clients together, may ask of this machine: `Serve` says what each is."""

    pixels: int
    size: int
    budget: int
    workers: int
    queue: int
    seconds: float
    patience: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A larger picture, and what its headers say."""

    data: bytes
    format: str
    headers: dict[str, str]

    @property
    def media_type(self) -> str:
        return FORMATS[self.format]


class Service:
    """Takes bytes and a wish, gives bytes; every refusal is a Problem."""

    def __init__(self, shelf: Shelf, bounds: Bounds, *, niqe: Path | None = None) -> None:
        self.shelf, self.bounds = shelf, bounds
        self.limits = Limits(pixels=bounds.pixels)
        self.niqe = niqe
        self.receiver = Receiver(limit=bounds.size, budget=bounds.budget, patience=bounds.patience)
        self.large = Desk(workers=bounds.workers, queue=bounds.queue, seconds=bounds.seconds, name="large")
        self.small = Desk(workers=1, queue=bounds.queue, seconds=bounds.seconds, name="small")
        self.counters = Counters(about={"version": __version__, "model": shelf.names[0]})

    @property
    def draining(self) -> bool:
        return self.large.draining

    def drain(self) -> None:
        """Finish what runs, refuse the rest."""
        self.large.drain()
        self.small.drain()

    def gauges(self) -> dict[str, float]:
        """The values of this moment, for /metrics."""
        return {
            "srgan_jobs_running": self.large.running + self.small.running,
            "srgan_jobs_waiting": self.large.waiting + self.small.waiting,
            "srgan_request_bytes_held": self.receiver.held,
            "srgan_draining": float(self.draining),
        }

    def desk(self, source: ImageBytes) -> Desk:
        """Where a picture is worked on; a damaged or too large one is refused here, from its header."""
        with as_problems():
            height, width = pictures.size(source, self.limits)
        return self.small if height * width <= SMALL else self.large

    async def upscale(
        self,
        source: ImageBytes,
        wish: Wish,
        *,
        moved: Callable[[int], None] = lambda before: None,
        began: Callable[[Image], None] = lambda picture: None,
        progress: Progress = lambda done, total: None,
    ) -> Answer:
        """The larger picture, once its turn has come; the worker's thread calls `began` and `progress`."""
        arrived, desk, timing = time.monotonic(), self.desk(source), {}

        def work(check: Progress) -> tuple[bytes, str, dict[str, str]]:
            timing["wait"] = time.monotonic() - arrived

            def first(picture: Image) -> None:
                began(picture)
                self._let_small_ones_by(desk)

            def between(done: int, total: int) -> None:
                check(done, total)
                progress(done, total)
                self._let_small_ones_by(desk)

            with as_problems():
                upscaler = self.shelf.upscaler(wish, desk.name)
                sr, kind = pictures.upscaled(upscaler, source, wish, self.limits, first, between)
                return sr, kind, upscaler.describe()

        sr, kind, made_by = await self.work(desk, work, moved)
        timing["work"] = time.monotonic() - arrived - timing["wait"]
        for what, seconds in timing.items():
            self.counters.observe(what, seconds)
        self.counters.add("pictures", 1)
        return Answer(data=sr, format=kind, headers=_headers(made_by, timing, source.name, wish.scale, kind))

    def _let_small_ones_by(self, desk: Desk) -> None:
        """Called between the tiles of a large picture: a preview has all cores, for a second at most."""
        end = time.monotonic() + YIELDED
        while desk is self.large and self.small.running and time.monotonic() < end:
            time.sleep(0.01)

    async def work(self, desk: Desk, work: Work[T], moved: Callable[[int], None] = lambda before: None) -> T:
        """Some work of this service on one of its desks."""
        return await desk.run(work, moved=moved)


def _headers(made_by: dict[str, str], timing: dict[str, float], name: str, scale: int, kind: str) -> dict[str, str]:
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in Path(name).stem)[:100]
    return {
        "X-Srgan-Model": made_by["model"],
        "X-Srgan-Model-Sha256": made_by["sha256"],
        "X-Srgan-Version": made_by["version"],
        "X-Srgan-Engine": made_by["engine"],
        "X-Srgan-Precision": made_by["precision"],
        "Server-Timing": ", ".join(f"{what};dur={1000 * seconds:.1f}" for what, seconds in timing.items()),
        "Content-Disposition": f'inline; filename="{stem or "picture"}_x{scale}{SUFFIX[kind]}"',
        "Cache-Control": "no-store",
    }


@contextmanager
def as_problems() -> Iterator[None]:
    """Turns a sentence of the command line into the answer that says it."""
    try:
        yield
    except SrganError as error:
        raise problem_from_error(error) from error
