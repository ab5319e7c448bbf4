"""How the cost of a pretraining step grows with the work: over batch, crop, and pictures in the pack.

    python benchmarks/cost_against_work.py docs/images/training-cost.svg --json docs/images/training-cost.json

Measured as CPU seconds of one thread, the least of some repeats, so that other work on the machine matters little.
Needs matplotlib (`uv sync --group dev`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srgan.data.loader import Batch, CropSampler, gather
from srgan.data.packed import Index, PackedImages
from srgan.model.config import GeneratorConfig
from srgan.model.generator import Generator, init_weights
from srgan.train.phases import pretraining
from srgan.train.settings import TrainSettings

CPU = torch.device("cpu")


def main() -> None:
    """Measure, write the figures and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        "batch": {n: step_seconds(n, 96, wanted.repeats) for n in (1, 2, 4, 8, 16, 32, 64)},
        "crop": {side: step_seconds(4, side, wanted.repeats) for side in (48, 96, 144, 192)},
        "pictures": {n: gather_seconds(n) for n in (10, 100, 1000, 10_000)},
    }
    if wanted.json:
        wanted.json.write_text(json.dumps(found, indent=1))
    draw(found, wanted.plot)


def step_seconds(batch: int, crop: int, repeats: int) -> float:
    """One update of SRResNet (16 blocks), CPU seconds."""
    generator = Generator(GeneratorConfig())
    init_weights(generator, seed=0)
    phase = pretraining(generator, TrainSettings.flat(batch_size=batch, crop=crop, device="cpu"), CPU)
    pictures = [np.random.default_rng(0).integers(0, 256, (batch, s, s, 3), dtype=np.uint8) for s in (crop // 4, crop)]
    made = Batch(*(torch.from_numpy(p).permute(0, 3, 1, 2) for p in pictures))
    return least(lambda n: phase.step(n, made, 1e-4), repeats)


def gather_seconds(count: int) -> float:
    """Planning and copying a batch of 16 crops out of a pack of `count` pictures of 128x128, CPU seconds."""
    packed = pack_of(count)
    plan = CropSampler(seed=0, phase="pretrain", batch=16, crop=96)
    return least(lambda n: gather(packed, plan.crops(packed, n), 96), 200)


def pack_of(count: int) -> PackedImages:
    """A pack in memory, of noise."""
    size = 128 * 128 * 3 // 16 * 17
    offsets = np.arange(count, dtype=np.int64) * size
    sides = np.full(count, 128, np.int64)
    return PackedImages(
        path=Path("memory"),
        pixels=np.tile(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8), count),
        names=tuple(map(str, range(count))),
        heights=sides,
        widths=sides,
        hr_offsets=offsets,
        lr_offsets=offsets + 128 * 128 * 3,
        fingerprint="",
        skipped=(),
        index=Index(min_side=96, total=count),
    )


def least(act: Callable[[int], object], repeats: int) -> float:
    """The least CPU seconds of `repeats` calls, after one that does not count."""
    act(0)
    times = []
    for n in range(repeats):
        began = time.process_time()
        act(n + 1)
        times.append(time.process_time() - began)
    return min(times)


def draw(found: dict[str, dict[int, float]], target: Path) -> None:
    """Three panels with a line of the slope that is wanted."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "srgan"
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    titles = {
        "batch": ("crops per step (96x96)", "step, CPU seconds", 1.0),
        "crop": ("side of the crops, 4 per step", "step, CPU seconds", 2.0),
        "pictures": ("pictures in the pack", "16 crops, CPU seconds", 0.0),
    }
    for panel, (name, (across, up, slope)) in zip(panels, titles.items(), strict=True):
        x, y = np.array(list(found[name])), np.array(list(found[name].values()))
        ideal = y[-1] * (x / x[-1]) ** slope
        label = {0.0: "flat", 1.0: "proportional", 2.0: "proportional to the area"}[slope]
        panel.loglog(x, ideal, "--", color="0.6", label=label)
        panel.loglog(x, y, "o-", color="#1b6ca8", label="measured")
        panel.set(xlabel=across, ylabel=up, ylim=(min(*y, *ideal) / 2, max(y) * 2))
        panel.set_xticks(x, [f"{n:,}" for n in x], minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
