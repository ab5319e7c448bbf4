"""`srgan bench train`: this training loop against a plain one, same network and batch, in turns."""

from __future__ import annotations

import copy
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks import contest, plain_loop
from benchmarks.contest import Measured, Step
from srgan import config, flags
from srgan.data.loader import CropSampler, loader
from srgan.fs import atomic_write
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import phases as training_phases
from srgan.train import setup
from srgan.train.phases import adversarial, pretraining
from srgan.train.recipes import RECIPES
from srgan.train.settings import TrainSettings

WARM_UP = 5
"""Steps before measuring on a GPU, in which torch.compile compiles and captures CUDA graphs."""


@dataclass(frozen=True, kw_only=True)
class TrainBench:
    """`srgan bench train`: this training loop against a plain one, same network and batch, in turns."""

    data: Path | None = None
    """Folder with training pictures; default: scikit-image's."""
    vgg: Path | None = None
    """VGG19's weights; default: those below the data folder. Needed for the adversarial phase."""
    phase: Literal["both", "pretrain", "adversarial"] = "both"
    """Which phase to measure."""
    seconds: float = 120.0
    """Bound on the measuring of a phase, after the first steps of each loop."""
    turn: float = 6.0
    """Seconds, about, of one loop's turn."""
    pictures: int = 24
    """How many training pictures to use."""
    batch_size: int = 16
    """Crops per step."""
    crop: int = 96
    """Side of the HR crops, pixels."""
    blocks: int = 16
    """Residual blocks of the generator."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"
    """Of our loop; the plain one is fp32."""
    compile: bool = True
    """Our loop with torch.compile, where `srgan train` has it."""
    loader: Literal["auto", "device", "mapped"] = "auto"
    """Where our loop takes its crops from."""
    plain_workers: int = 2
    """Worker processes of the plain loop."""
    decode: bool = True
    """--no-decode: give the plain loop ready-made batches, to see what is left without decoding."""
    json: Path | None = None
    """Write the figures here."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    settings = flags.parse(TrainBench, argv, prog="srgan bench train")
    flags.check_json(settings.json)
    phases = ("pretrain", "adversarial") if settings.phase == "both" else (settings.phase,)
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(name, settings, Path(folder)) for name in phases}
    show(found)
    if settings.json:
        text = json.dumps({"settings": config.to_mapping(settings), "phases": found}, indent=1)
        atomic_write(settings.json, f"{text}\n".encode())
    return 0


def measured(name: str, settings: TrainBench, folder: Path) -> dict[str, Any]:
    """All figures of one phase."""
    training = TrainSettings.flat(
        data=settings.data,
        vgg=settings.vgg,
        batch_size=settings.batch_size,
        crop=settings.crop,
        blocks=settings.blocks,
        device=settings.device,
        precision=settings.precision,
        compile=settings.compile,
    )
    device = setup.pick_device(training)
    training_phases.configure_torch(training, device)
    packed, paths = contest.pictures(settings.data, folder, count=settings.pictures, minimum=settings.crop)
    generator = Generator(setup.generator_config(training))
    init_weights(generator, seed=0)
    features = setup.load_vgg(training) if name == "adversarial" else None
    flop = _flop(generator, features, settings)
    workers = settings.plain_workers if settings.decode else 0
    decoded = plain_loop.batches(paths, batch=settings.batch_size, crop=settings.crop, workers=workers, device=device)
    if not settings.decode:
        ready = next(decoded)
        decoded = iter(lambda: ready, None)
    theirs = _plain(settings.crop, copy.deepcopy(generator), copy.deepcopy(features), decoded, device)
    batches = loader(
        packed,
        CropSampler(seed=0, phase=name, batch=settings.batch_size, crop=settings.crop),
        device=device,
        source=settings.loader,
    )
    pretrain = name == "pretrain"
    phase = pretraining(generator, training, device) if pretrain else adversarial(generator, features, training, device)
    loops = {"srgan": contest.our_step(phase, batches), "plain": theirs}
    began = time.perf_counter()
    for step in loops.values():
        for _ in range(WARM_UP if device.type == "cuda" else 1):
            step()
    prepared = time.perf_counter() - began
    dtype = torch.bfloat16 if training_phases.use_bf16(training, device) else torch.float32
    results, peak = _in_turns(loops, settings, device, dtype)
    batches.close()
    return _figures(results, settings, flop, peak, prepared, device)


def _in_turns(
    loops: dict[str, Step], settings: TrainBench, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Measured], float]:
    found = {name: Measured() for name in loops}
    peak = 0.0
    until = time.perf_counter() + settings.seconds
    while time.perf_counter() < until or not peak:
        with contest.stopped_workers():
            contest.turn(loops["srgan"], found["srgan"], seconds=settings.turn, device=device)
            peak = max(peak, contest.matrix_rate(device, dtype))
        contest.turn(loops["plain"], found["plain"], seconds=settings.turn, device=device)
    return found, peak


def _figures(
    found: dict[str, Measured],
    settings: TrainBench,
    flop: float,
    peak: float,
    prepared: float,
    device: torch.device,
) -> dict[str, Any]:
    loops = {
        name: {
            "steps_per_s": 1 / m.typical_s,
            "pictures_per_s": settings.batch_size / m.typical_s,
            "best_steps_per_s": 1 / min(m.step_s),
            "data_wait": sum(m.waited_s) / sum(m.step_s),
            "peak_mb": max(m.peak_mb),
            "flop_per_s": flop / m.typical_s,
            "of_matrix_rate": flop / m.typical_s / peak,
            "step_s": m.step_s,
            "cpu_s": m.cpu_s,
        }
        for name, m in found.items()
    }
    ratios = [b / a for a, b in zip(found["srgan"].step_s, found["plain"].step_s, strict=True)]
    return {
        "device": str(device) if device.type != "cuda" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "step_gflop": flop / 1e9,
        "matrix_rate_gflop_per_s": peak / 1e9,
        "first_steps_s": prepared,
        "turns": len(ratios),
        "speedup": statistics.median(ratios),
        "speedup_of_minima": min(found["plain"].step_s) / min(found["srgan"].step_s),
        "cpu_seconds_ratio": min(found["plain"].cpu_s) / min(found["srgan"].cpu_s),
        "loops": loops,
    }


def show(found: dict[str, dict[str, Any]]) -> None:
    """A table, and what a recipe's whole schedule would take."""
    console = Console(file=sys.stdout, width=120)
    for name, figures in found.items():
        table = Table("loop", "steps/s", "pictures/s", "data wait", "peak MB", "GFLOP/s", "of matrix rate", title=name)
        for loop, f in figures["loops"].items():
            table.add_row(
                loop,
                f"{f['steps_per_s']:.3f}",
                f"{f['pictures_per_s']:.1f}",
                f"{f['data_wait']:.2%}",
                f"{f['peak_mb']:.0f}",
                f"{f['flop_per_s'] / 1e9:.0f}",
                f"{f['of_matrix_rate']:.0%}",
            )
        console.print(table)
        console.print(
            f"{figures['speedup']:.2f}x the plain loop (median of {figures['turns']} pairs of turns; of the minima "
            f"{figures['speedup_of_minima']:.2f}x, of the CPU seconds {figures['cpu_seconds_ratio']:.2f}x); "
            f"a step is {figures['step_gflop']:.0f} GFLOP."
        )
    for recipe in ("paper", "div2k"):
        s = RECIPES[recipe]().schedule
        steps = {"pretrain": s.pretrain_steps, "adversarial": s.train_steps}
        hours = sum(steps[n] / f["loops"]["srgan"]["steps_per_s"] / 3600 for n, f in found.items())
        console.print(f"--recipe {recipe}, {' and '.join(found)}: {hours:,.1f} hours at this rate")


def _plain(crop: int, generator: nn.Module, features: nn.Module | None, decoded: Any, device: torch.device) -> Step:
    generator.to(device).train()
    adam_g = torch.optim.Adam(generator.parameters(), lr=1e-4)
    if features is None:
        return contest.plain_step(plain_loop.pretrain_step, (generator, adam_g), decoded)
    discriminator = Discriminator(crop).to(device).train()
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=1e-4)
    parts = (generator, discriminator, features.to(device), adam_g, adam_d)
    return contest.plain_step(plain_loop.adversarial_step, parts, decoded)


def _flop(generator: nn.Module, features: nn.Module | None, settings: TrainBench) -> float:
    meta = torch.device("meta")
    discriminator = None if features is None else Discriminator(settings.crop).to(meta)
    return contest.step_flop(
        settings.batch_size,
        settings.crop,
        copy.deepcopy(generator).to(meta),
        discriminator,
        None if features is None else copy.deepcopy(features).to(meta),
    )
