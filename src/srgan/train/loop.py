"""The one loop: batch, update, and now and then a report, a validation, a checkpoint, which are handed in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from srgan.data.loader import Batch
from srgan.errors import Diverged
from srgan.train.phases import Phase
from srgan.train.steps import Losses, finite


class Report(NamedTuple):
    """Means since the last report."""

    step: int
    losses: dict[str, float]
    learning_rate: float
    steps_per_s: float
    data_wait: float
    """Share of the time spent waiting for data, 0 to 1."""


class Intervals(NamedTuple):
    """After how many steps to do what; the last step of a phase does everything."""

    report: int
    validate: int
    save: int


def run(
    phase: Phase,
    batches: Callable[[int], Batch],
    *,
    start: int,
    stop: int,
    learning_rate: Callable[[int], float],
    every: Intervals,
    report: Callable[[Report], None],
    validate: Callable[[int], None],
    save: Callable[[int], None],
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Train `phase` from step `start` (updates already done) to `stop`; returns the updates done.

    `stopping` is asked after every step; when it says yes, the state is saved and the loop ends. Raises Diverged,
    which names the step, as soon as a loss, a gradient or a statistic of the generator is not finite: at that step
    on a CPU; elsewhere the step is remembered on the device and read at the next report, save or validation.
    """
    watch = _Watch(phase)
    seen = _Means()
    for step in range(start, stop):
        began = time.perf_counter()
        batch = batches(step)
        waited = time.perf_counter() - began
        rate = learning_rate(step)
        losses = phase.step(step, batch, rate)
        done = step + 1
        watch(done, losses)
        seen.add(losses, waited)
        last, ending = done == stop, stopping()
        due = [last or done % interval == 0 for interval in every]
        if any(due) or ending:
            watch.check()
        if due[0]:
            report(seen.take(done, rate))
        if due[1]:
            validate(done)
        if due[2] or ending:
            save(done)
        if due[1] or due[2]:
            seen.restart_clock()
        if ending:
            return done
    return max(start, stop)


class _Watch:
    """Remembers, on the device, the first step whose numbers were not finite."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.device = next(phase.generator.parameters()).device
        self.first = torch.zeros((), dtype=torch.int64, device=self.device)
        self.losses: Losses = {}

    def __call__(self, step: int, losses: Losses) -> None:
        bad = ~finite(losses, self.phase.generator)
        self.first = torch.where((self.first == 0) & bad, step, self.first)
        self.losses = losses
        if self.device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Raise Diverged if there was such a step."""
        first = int(self.first)
        if first:
            raise Diverged(
                f"training diverged in phase {self.phase.name} at step {first}: {self._culprits()} not finite. "
                "Go on from the last checkpoint with a smaller learning rate: --resume --allow-change "
                "learning_rate pretrain_learning_rate, or let --on-divergence rollback do that."
            )

    def _culprits(self) -> str:
        buffers = self.phase.generator.named_buffers()
        losses = [name for name, value in self.losses.items() if not torch.isfinite(value).all()]
        statistics = [name for name, value in buffers if not torch.isfinite(value).all()]
        named = [
            *(f"the {name}" for name in losses),
            *(f"the BatchNorm statistic {n}" for n in statistics[:1]),
        ]
        return f"{', '.join(named) or 'a loss, a gradient or a BatchNorm statistic'} " + (
            "is" if len(named) == 1 else "are"
        )


class _Means:
    """Sums of the losses on the device, so that nothing waits for it between reports."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sums: Tensor | None = None
        self.count = 0
        self.waited = 0.0
        self.elapsed = 0.0
        self.began = time.perf_counter()

    def add(self, losses: Losses, waited: float) -> None:
        self.names = list(losses)
        values = torch.stack([value.float() for value in losses.values()])
        self.sums = values if self.sums is None else self.sums + values
        self.count += 1
        self.waited += waited

    def restart_clock(self) -> None:
        """Leave out the time of a validation or a save."""
        self.elapsed += 0.0 if self.count == 0 else time.perf_counter() - self.began
        self.began = time.perf_counter()

    def take(self, step: int, rate: float) -> Report:
        sums = self.sums.tolist() if self.sums is not None else []
        losses = {name: value / self.count for name, value in zip(self.names, sums, strict=True)}
        elapsed = self.elapsed + time.perf_counter() - self.began
        found = Report(step, losses, rate, self.count / elapsed, min(1.0, self.waited / elapsed))
        self.__init__()  # type: ignore[misc]
        return found
