"""`srgan bench data`: crops per second from each source, in one thread, in turns."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import contest, plain_loop
from srgan import config, flags
from srgan.data.image_files import ImageFiles
from srgan.data.loader import CropSampler, gather, loader
from srgan.data.pairs import Pair
from srgan.fs import atomic_write

TURN = 0.5
"""Seconds of one turn, at least."""


@dataclass(frozen=True, kw_only=True)
class DataBench:
    """`srgan bench data`: crops per second from each source, in one thread, in turns."""

    data: Path | None = None
    """Folder with training images; default: scikit-image's."""
    pictures: int = 24
    """How many of them to use."""
    crop: int = 96
    """Side of the HR crops, pixels."""
    seconds: float = 30.0
    """Time limit of the measurement."""
    json: Path | None = None
    """Write the results here."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    settings = flags.parse(DataBench, argv, prog="srgan bench data")
    flags.check_json(settings.json)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rates = measure(settings, Path(folder))
    slowest = rates["PNG, Pillow"]
    table = Table("source", "crops/s", "against PNG")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / slowest:,.1f}x")
    Console(file=sys.stdout, width=100).print(table)
    if settings.json:
        text = json.dumps({"settings": config.to_mapping(settings), "crops_per_s": rates}, indent=1)
        atomic_write(settings.json, f"{text}\n".encode())
    return 0


def measure(settings: DataBench, folder: Path) -> dict[str, float]:
    """Crops of `settings.crop` per second (median of the turns) by source."""
    packed, paths = contest.pictures(settings.data, folder, count=settings.pictures, minimum=settings.crop)
    image_files = ImageFiles([Pair(name=p.name, hr=p, lr=None) for p in paths], min_side=settings.crop)
    decoded = plain_loop.PngCrops(paths, settings.crop, len(paths))
    sampler = CropSampler(seed=0, phase="sample", batch=16, crop=settings.crop)
    on_device = loader(packed, sampler, device=torch.device("cpu"), source="device")

    def one_png(step: int) -> None:
        decoded[step]

    sources: dict[str, tuple[int, Callable[[int], object]]] = {
        "pack, mapped": (16, lambda step: gather(packed, sampler.crops(packed, step), settings.crop)),
        "pack, in memory": (16, lambda step: on_device.finish(on_device.prepare(step))),
        "PNG, --loader files": (16, lambda step: gather(image_files, sampler.crops(image_files, step), settings.crop)),
        "PNG, Pillow": (1, one_png),
    }
    rates: dict[str, list[float]] = {name: [] for name in sources}
    until = time.perf_counter() + settings.seconds
    while time.perf_counter() < until or not all(rates.values()):
        for name, (crops, read) in sources.items():
            rates[name].append(crops * _calls_per_second(read, start=1000 * len(rates[name])))
    on_device.close()
    return {name: statistics.median(samples) for name, samples in rates.items()}


def _calls_per_second(read: Callable[[int], object], *, start: int) -> float:
    began = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - began) < TURN:
        read(start + count)
        count += 1
    return count / passed
