"""A run's folder as `srgan train` leaves it, made without training, for the report's tests."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

START = 1_790_000_000.0


def write_run(
    folder: Path,
    *,
    steps: int = 2000,
    every: int = 50,
    seed: int = 0,
    phases: tuple[str, ...] = ("pretrain", "adversarial"),
    sheets: bool = True,
    **settings: Any,
) -> Path:
    """A whole run of both phases, with a restart in the second; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    written = {"recipe": "paper", "batch_size": 16, "learning_rate": 1e-4, "seed": seed, **settings}
    written |= {"pretrain_steps": steps, "train_steps": steps}
    lines: list[dict[str, Any]] = [_start(written, 0.0)]
    clock = 0.0
    for phase in phases:
        for step in range(every, steps + 1, every):
            clock += 2.0 + random.uniform(0, 0.3)
            lines.append(_report(phase, step, clock, steps, random))
            if step % (steps // 8) == 0:
                lines.append(_validation(phase, step, clock, steps, random))
                if sheets:
                    write_sheet(folder / "samples" / f"{phase}_{step:07d}.png", step / steps, random)
        lines.append({"kind": "end", "phase": phase, "time": START + clock})
    lines.append({"kind": "event", "text": "Done. The generators are in runs/x.", "time": START + clock})
    lines.append({"kind": "end", "phase": "run", "elapsed_s": clock, "time": START + clock})
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "settings.yaml").write_text("".join(f"{key}: {value}\n" for key, value in written.items()))
    return folder


def write_evaluation(folder: Path, models: tuple[str, ...] = ("srresnet", "srgan")) -> None:
    """Scores in the shape of `srgan evaluate --json`, keyed by model."""
    names = {"Set5": 5, "Set14": 14}
    sets = {
        name: {
            "count": count,
            "mean": {"psnr_y": 28.25 + count, "psnr_rgb": 26.0, "ssim_wang": 0.78, "ssim_daala": 0.81, "niqe": None},
            "pictures": {f"img_{i:03d}": {"psnr_y": 20.0 + i, "ssim_daala": 0.5} for i in range(1, count + 1)},
            "bicubic": {"mean": {"psnr_y": 25.9970, "ssim_daala": 0.7486, "ssim_wang": 0.7029, "niqe": 7.5}},
            "paper": {
                "bicubic": {"psnr_y": 25.99, "ssim_daala": 0.7486},
                "srresnet": {"psnr_y": 28.49, "ssim_daala": 0.8184},
                "srgan": {"psnr_y": 26.02, "ssim_daala": 0.7397},
            },
        }
        for name, count in names.items()
    }
    document = {"protocol": "srgan-1: x4, 8-bit", "sets": sets}
    found = {model: {**document, "model": {"name": model, "sha256": "ab" * 32}} for model in models}
    (folder / "evaluation.json").write_text(json.dumps(found))


def write_sheet(path: Path, quality: float, random: np.random.Generator) -> None:
    """Six tiles of stripes that become sharper, 192 x 128."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[0:128, 0:192]
    wave = np.sin((x // 64 + 1) * 0.07 * x + (y // 64) * 0.11 * y)
    sharp = np.tanh(wave * (0.3 + 5 * quality))
    grain = random.normal(0, 12 * (1 - quality), (128, 192))
    grey = np.clip(128 + 100 * sharp + grain, 0, 255).astype(np.uint8)
    pyvips.Image.new_from_array(np.stack([grey, 255 - grey, np.roll(grey, 9, 1)], -1)).write_to_file(str(path))


def _start(settings: dict[str, Any], elapsed: float) -> dict[str, Any]:
    return {
        "kind": "start",
        "time": START + elapsed,
        "settings": settings,
        "hardware": {"device": "cpu", "machine": "x86_64", "threads": 2},
        "versions": {"srgan": "0.1.0", "python": "3.11.7", "torch": "2.15.0"},
        "git": {"commit": "0123456789abcdef", "dirty": False},
        "data": {"fingerprint": "f" * 64, "pictures": 800, "megapixels": 2230.1, "left_out": []},
    }


def _report(phase: str, step: int, clock: float, steps: int, random: np.random.Generator) -> dict[str, Any]:
    far = math.exp(-4 * step / steps)
    noise = random.lognormal(0, 0.15)
    health: dict[str, float] = {}
    loss = {"pixel": (0.005 + 0.4 * far) * noise, "gradient": 0.3 * noise}
    if phase == "adversarial":
        loss |= dict.fromkeys(("content", "adversarial", "discriminator", "gradient_d"), noise)
        health = {"d_real": 0.75 + 0.05 * random.normal(), "d_fake": 0.25 + 0.05 * random.normal()}
        health |= {"d_accuracy": 0.85, "content_to_adversarial": 60 * noise}
    return {
        "kind": "report",
        "time": START + clock,
        "phase": phase,
        "step": step,
        "elapsed_s": clock,
        "learning_rate": 1e-4 if step <= steps // 2 else 1e-5,
        "steps_per_s": 24.0 + random.normal(),
        "loss": loss,
        "health": health,
        "data_wait": 0.01,
    }


def _validation(phase: str, step: int, clock: float, steps: int, random: np.random.Generator) -> dict[str, Any]:
    gain = 1 - math.exp(-3 * step / steps)
    psnr_y = 25.0 + 3.0 * gain + 0.05 * random.normal()
    scores = {"psnr_y": psnr_y, "ssim_daala": 0.7 + 0.1 * gain, "niqe": 6.5 - gain}
    return {
        "kind": "validation",
        "time": START + clock,
        "phase": phase,
        "step": step,
        "scores": scores,
        "bn_gap": 0.8,
        "checkerboard": 0.2 * (1 - gain),
        "best": step <= steps * 7 // 8,
    }
