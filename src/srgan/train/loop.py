"""The training loop: batch, update, and at intervals report, validate, save."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from srgan.data.loader import Batch
from srgan.errors import Diverged
from srgan.train.distributed import ALONE, Ranks
from srgan.train.phases import Phase
from srgan.train.recorder import Recorder, StepReport
from srgan.train.settings import Decay, Reports
from srgan.train.steps import StepValues


def learning_rate(step: int, *, steps: int, peak: float, decay: Decay, drop: float = 0.1, warmup: int = 0) -> float:
    """The rate of `step` (0 is the first) in a phase of `steps`.

    none: `peak` throughout. half: `peak`, then `peak * drop` from step `steps // 2` on (section 3.2: 1e-4 for 1e5 steps,
    then 1e-5 for another 1e5). cosine: from `peak` to nearly 0 along half a cosine (Loshchilov & Hutter 2017). The first
    `warmup` steps rise in a straight line.
    """
    rate = peak
    if decay == "half" and step >= steps // 2:
        rate = peak * drop
    elif decay == "cosine":
        rate = peak * 0.5 * (1.0 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
    return rate * min(1.0, (step + 1) / warmup) if warmup else rate


def run_steps(
    phase: Phase,
    batches: Callable[[int], Batch],
    recorder: Recorder | None,
    start: int,
    stop: int,
    *,
    rate: Callable[[int], float],
    every: Reports,
    stop_requested: Callable[[], bool] = lambda: False,
    ranks: Ranks = ALONE,
) -> None:
    """Train `phase` from step `start` (updates already done) to `stop`.

    `batches(i)` gives the batch of step i, from 0. The last step reports, validates and saves, whatever the intervals. Only
    the main rank has a recorder. After every step `stop_requested` is called, which must answer the same on all ranks; when
    it says yes, the state is saved and the loop ends. Raises Diverged, which names the step, when a loss, a gradient or a
    statistic of the generator is not finite: at that step on a CPU; elsewhere the step is remembered on the device and read
    at the next report, save or validation.
    """
    watch, means = FiniteWatch(phase), RunningMeans()
    for done in range(start + 1, stop + 1):
        # One update.
        began = time.perf_counter()
        batch = batches(done - 1)
        waited = time.perf_counter() - began
        losses = phase.step(done - 1, batch, rate(done - 1))
        watch.add(done, losses)
        means.add(losses, waited)

        # What is due now.
        stopping, last = stop_requested(), done == stop
        report = last or done % every.report_interval == 0
        validate = last or done % every.validation_interval == 0
        save = last or done % every.checkpoint_interval == 0
        if report or validate or save or stopping:
            watch.check()  # the first wait for the device
        if report:
            summary = means.take(done, rate(done - 1))
            summary = summary._replace(losses=ranks.all_reduce_mean(summary.losses))
            if recorder is not None:
                recorder.report(phase, summary)
        if validate or save or stopping:
            with means.paused():
                ranks.average_statistics(phase.networks)
                if recorder is not None and validate:
                    recorder.validate(phase, done)
                if recorder is not None and (save or stopping):
                    recorder.save(phase, done)
                ranks.barrier()
        if stopping:
            return


class FiniteWatch:
    """Remembers, on the device, the first step whose numbers were not finite."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.device = next(phase.generator.parameters()).device
        self.first = torch.zeros((), dtype=torch.int64, device=self.device)
        self.losses: StepValues = {}

    def add(self, step: int, losses: StepValues) -> None:
        """Look at the losses, the gradients and BatchNorm's statistics of a step; on a CPU also `check`."""
        sums = [torch.stack([value.float() for value in losses.values()]).sum()]
        if statistics := [buffer for buffer in self.phase.generator.buffers() if buffer.is_floating_point()]:
            sums.append(torch.stack(torch._foreach_norm(statistics)).sum())
        bad = ~torch.isfinite(torch.stack(sums).sum())
        self.first = torch.where((self.first == 0) & bad, step, self.first)
        self.losses = losses
        if self.device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Raise Diverged if there was such a step."""
        if not self.first:
            return
        numbers = {f"the {name}": value for name, value in self.losses.items()}
        numbers |= {f"the BatchNorm statistic {name}": value for name, value in self.phase.generator.named_buffers()}
        bad = [name for name, value in numbers.items() if not torch.isfinite(value).all()]
        names = ", ".join(bad[:5]) or "a loss, a gradient or a BatchNorm statistic"
        where = f"in phase {self.phase.name} at step {int(self.first)}"
        raise Diverged(f"training diverged {where}; not finite: {names}.")


class RunningMeans:
    """Sums of the losses on the device, so that nothing waits for it between reports."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again, with the clock at 0."""
        self.names: list[str] = []
        self.sums: Tensor | None = None
        self.count = 0
        self.waited = 0.0
        self.began = time.perf_counter()

    def add(self, losses: StepValues, waited: float) -> None:
        """Add one step's losses and the seconds that it waited for data."""
        self.names = list(losses)
        values = torch.stack([value.float() for value in losses.values()])
        self.sums = values if self.sums is None else self.sums + values
        self.count += 1
        self.waited += waited

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time of the block: a validation or a save."""
        began = time.perf_counter()
        yield
        self.began += time.perf_counter() - began

    def take(self, step: int, rate: float) -> StepReport:
        """The means since the last call, and start again."""
        sums = self.sums.tolist() if self.sums is not None else []
        losses = {name: value / self.count for name, value in zip(self.names, sums, strict=True)}
        elapsed = time.perf_counter() - self.began
        report = StepReport(step, losses, rate, self.count / elapsed, min(1.0, self.waited / elapsed))
        self.reset()
        return report
