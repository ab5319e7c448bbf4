"""Two training loops, the same network and batch, measured in turns: ours and the plain one."""

from __future__ import annotations

import itertools
import math
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import peak_resident
from srgan.data.folders import sample_pairs, training_pairs
from srgan.data.loader import Loader
from srgan.data.packed import PackedImages, pack_images
from srgan.image import files
from srgan.train.phases import Phase

Step = Callable[[], float]
"""Does one step of a loop and returns the seconds that it waited for data."""


def our_step(phase: Phase, batches: Loader) -> Step:
    """The steps of `srgan train`, without its records."""
    steps = itertools.count()

    def step() -> float:
        number, began = next(steps), time.perf_counter()
        batch = batches(number)
        waited = time.perf_counter() - began
        phase.step(number, batch, 1e-4)
        return waited

    return step


def plain_step(update: Callable[..., Any], parts: tuple[Any, ...], batches: Iterator[Any]) -> Step:
    """The steps of benchmarks/plain_loop.py."""

    def step() -> float:
        began = time.perf_counter()
        lr, hr = next(batches)
        waited = time.perf_counter() - began
        update(*parts, lr, hr)
        return waited

    return step


@dataclass
class Measured:
    """What the turns of one loop came to; one entry per turn."""

    step_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    """CPU seconds per step, worker processes included: what counts where other work shares the machine."""
    peak_mb: list[float] = field(default_factory=list)

    @property
    def typical_s(self) -> float:
        """Median over the turns of the mean step of a turn, seconds."""
        return statistics.median(self.step_s)


def turn(step: Step, measured: Measured, *, seconds: float, device: torch.device) -> None:
    """Steps for about `seconds`, at least two, with the device's queue empty before and after."""
    forget_peak(device)
    wait(device)
    began, cpu = time.perf_counter(), cpu_seconds()
    waited, steps = 0.0, 0
    while steps < 2 or time.perf_counter() - began < seconds:
        waited += step()
        steps += 1
    wait(device)
    elapsed = time.perf_counter() - began
    measured.step_s.append(elapsed / steps)
    measured.cpu_s.append((cpu_seconds() - cpu) / steps)
    measured.waited_s.append(waited / steps)
    measured.peak_mb.append(peak_mb(device))


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the machine's own matrix multiplication, now."""
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(4):
        wait(device)
        began = time.perf_counter()
        torch.mm(a, b)
        wait(device)
        best = min(best, time.perf_counter() - began)
    return 2.0 * side**3 / best


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def cpu_seconds() -> float:
    """CPU time of this process and, on Linux, of its workers so far."""
    total = time.process_time()
    for worker in active_children():
        stat = Path(f"/proc/{worker.pid}/stat")
        if stat.exists():
            user, system = stat.read_text().rpartition(")")[2].split()[11:13]
            total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return total


def forget_peak(device: torch.device) -> None:
    """Start measuring the peak of memory anew (the process's memory on a CPU; Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (clear := Path("/proc/self/clear_refs")).exists():
        clear.write_text("5")


def peak_mb(device: torch.device) -> float:
    """Peak of the device's allocated, or this process's resident, memory since `forget_peak`, MB (1e6)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return (peak_resident() or math.nan) / 1e6


def step_flop(
    batch: int, crop: int, generator: nn.Module, discriminator: nn.Module | None, features: nn.Module | None
) -> float:
    """FLOP of one step by PyTorch's own counter, on devices without data (2 per multiplication and addition)."""
    from torch.utils.flop_counter import FlopCounterMode

    lr = torch.empty(batch, 3, crop // 4, crop // 4, device="meta")
    hr = torch.empty(batch, 3, crop, crop, device="meta")
    with FlopCounterMode(display=False) as counter:
        sr = generator(lr)
        if discriminator is None or features is None:
            sr.sum().backward()
        else:
            (discriminator(hr) + discriminator(sr.detach())).sum().backward()
            discriminator.requires_grad_(False)
            with torch.no_grad():
                features(hr)
            (discriminator(sr).sum() + sum(f.sum() for f in features(sr).values())).backward()
    return float(counter.get_total_flops())


def pictures(data: Path | None, folder: Path, *, count: int, minimum: int) -> tuple[PackedImages, list[Path]]:
    """`count` training pictures, spread over the set: packed, and as PNG files of the same pixels."""
    pairs = sample_pairs()[0] if data is None else training_pairs(data)
    chosen = [pairs[i * len(pairs) // count] for i in range(count)] if count < len(pairs) else pairs
    packed = pack_images(chosen, folder / "bench.pack", min_side=minimum)
    paths = []
    for index in range(len(packed)):
        paths.append(folder / f"{index:05}.png")
        files.write_array(paths[-1], packed.hr(index))
    return packed, paths


@contextmanager
def stopped_workers() -> Iterator[None]:
    """The plain loop's workers stand still, so that they neither disturb another's turn nor work ahead in it."""
    workers = [process.pid for process in active_children() if process.pid is not None]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
