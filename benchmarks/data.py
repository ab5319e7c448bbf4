"""`srgan bench data`: crops per second, each way in one thread, in turns."""

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

from benchmarks import plain
from srgan import config, flags
from srgan.data.folders import Pair
from srgan.data.image_files import open_image_files
from srgan.data.loader import CropSampler, gather, loader

TURN = 0.5
"""Seconds, at least, of one turn."""


@dataclass(frozen=True, kw_only=True)
class DataBench:
    """How to measure where crops come from."""

    data: Path | None = None
    """Folder with training pictures; default: scikit-image's."""
    pictures: int = 24
    """How many of them to use."""
    crop: int = 96
    """Side of the HR crops, pixels."""
    seconds: float = 30.0
    """Bound on the measuring."""
    json: Path | None = None
    """Write the figures here."""


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    settings = flags.parse(DataBench, argv, prog="srgan bench data", description=__doc__ or "")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(settings, Path(folder))
    slowest = rates["PNG, Pillow"]
    table = Table("where from", "crops/s", "against PNG")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / slowest:,.1f}x")
    Console(file=sys.stdout, width=100).print(table)
    if settings.json:
        settings.json.write_text(json.dumps({"settings": config.to_mapping(settings), "crops_per_s": rates}, indent=1))
    return 0


def measured(settings: DataBench, folder: Path) -> dict[str, float]:
    """Crops of `settings.crop` per second (median of the turns) by name of the way."""
    packed, paths = plain.pictures(settings.data, folder, count=settings.pictures, minimum=settings.crop)
    in_files = open_image_files([Pair(name=p.name, hr=p, lr=None) for p in paths], min_side=settings.crop)
    decoded = plain.plain_loop().PngCrops(paths, settings.crop, len(paths))
    plan = CropSampler(seed=0, phase="sample", batch=16, crop=settings.crop)
    resident = loader(packed, plan, device=torch.device("cpu"), source="device")

    def a_picture(step: int) -> None:
        decoded[step]

    ways: dict[str, tuple[int, Callable[[int], object]]] = {
        "pack, mapped": (16, lambda step: gather(packed, plan.crops(packed, step), settings.crop)),
        "pack, in memory": (16, lambda step: resident.finish(resident.prepare(step))),
        "PNG, --loader files": (16, lambda step: gather(in_files, plan.crops(in_files, step), settings.crop)),
        "PNG, Pillow": (1, a_picture),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    until = time.perf_counter() + settings.seconds
    while time.perf_counter() < until or not all(found.values()):
        for name, (crops, way) in ways.items():
            found[name].append(crops * _turns_per_second(way, start=1000 * len(found[name])))
    resident.close()
    return {name: statistics.median(rates) for name, rates in found.items()}


def _turns_per_second(way: Callable[[int], object], *, start: int) -> float:
    began = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - began) < TURN:
        way(start + count)
        count += 1
    return count / passed
