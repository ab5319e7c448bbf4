"""What a run leaves behind while it goes: reports with the GAN's health, validations, checkpoints, generators."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Iterator
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import torch

from srgan import __version__, config
from srgan.data.crops import crops
from srgan.data.image_files import ImageFiles
from srgan.data.loader import gather, unit_from_uint8
from srgan.data.packed import PackedImages
from srgan.image import files
from srgan.image.niqe import NiqeModel
from srgan.model import weights
from srgan.model.generator import tensors_from_generator
from srgan.train import checkpoints, validation
from srgan.train.checkpoints import Checkpoint
from srgan.train.folder import RunFolder
from srgan.train.journal import Journal
from srgan.train.loop import Report
from srgan.train.phases import Phase, in_use
from srgan.train.settings import TrainSettings

RANGES: dict[str, tuple[float, float, str]] = {
    "d_accuracy": (
        0.0,
        0.995,
        "the discriminator is nearly always right: the generator learns little from it",
    ),
    "d_fake": (
        0.0,
        0.9,
        "the discriminator takes nearly everything for a photograph: it has stopped learning",
    ),
    "content_to_adversarial": (0.05, 1e5, "one of content and adversarial loss drowns the other"),
    "bn_gap": (0.0, 8.0, "BatchNorm's statistics do not fit the batches: pictures will look unlike training"),
    "checkerboard": (0.0, 2.0, "the output carries a pattern that repeats every 4 pixels"),
}
"""Healthy ranges of what is reported, and what it means to leave them."""

NAMED = 10
"""Pictures left out that are named one by one."""


class Record:
    """Writes what happens in one run."""

    def __init__(
        self,
        settings: TrainSettings,
        folder: RunFolder,
        journal: Journal,
        pack: PackedImages | ImageFiles,
        examples: list[validation.Example],
        niqe_model: NiqeModel | None,
    ) -> None:
        self.settings, self.folder, self.journal, self.pack = settings, folder, journal, pack
        self.examples, self.niqe_model = examples, niqe_model
        self.best: dict[str, float] = {}
        self.rollbacks = 0
        self.began = time.perf_counter()
        self.probe = _probe(pack, settings.crop)

    def start(self, device: torch.device) -> None:
        """The first line of a run, or of its going on: settings, versions, hardware, data."""
        pixels = int((self.pack.heights * self.pack.widths).sum())
        data = {
            "fingerprint": self.pack.fingerprint,
            "pictures": len(self.pack.names),
            "megapixels": round(pixels / 1e6, 1),
            "left_out": list(self.pack.skipped),
        }
        self.journal.write(
            "start",
            settings=config.to_mapping(self.settings),
            versions=versions(),
            hardware=hardware(device),
            data=data,
            git=git_state(),
        )
        for sentence in self.pack.skipped[:NAMED]:
            self.journal.warn(sentence)
        if len(self.pack.skipped) > NAMED:
            self.journal.warn(f"{len(self.pack.skipped)} pictures in all are left out; journal.jsonl names them.")
        for name, sheet in validation.reference_sheets(self.examples).items():
            files.write_array(self.folder.root / "samples" / f"{name}.png", sheet)

    def report(self, phase: Phase, stop: int, found: Report) -> None:
        """Losses, speed and health since the last report; a warning for each value out of its range."""
        losses = dict(found.losses)
        names = ("d_real", "d_fake", "d_accuracy")
        health: dict[str, float] = {name: losses.pop(name) for name in names if name in losses}
        if "content" in losses:
            adversarial = max(self.settings.adversarial_weight * losses["adversarial"], 1e-12)
            health["content_to_adversarial"] = self.settings.content_weight * losses["content"] / adversarial
        health |= self._artefacts(phase)
        self.journal.write(
            "report",
            phase=phase.name,
            step=found.step,
            elapsed_s=time.perf_counter() - self.began,
            learning_rate=found.learning_rate,
            steps_per_s=found.steps_per_s,
            loss=losses,
            health=health,
            data_wait=found.data_wait,
        )
        shown = "pixel" if phase.name == "pretrain" else "content"
        note = f"{shown} {losses[shown]:.4f}  rate {found.learning_rate:.1e}  {found.steps_per_s:.2f} steps/s"
        self.journal.report(found.step, stop, note)
        for sentence in warnings(health) if phase.name == "adversarial" else ():
            self.journal.warn(f"step {found.step}: {sentence}")

    def validate(self, phase: Phase, step: int) -> None:
        """Scores, sample crops, and the best generator so far: by PSNR, after pretraining PSNR less NIQE."""
        generator = in_use(phase)
        if not self.examples:
            self._write_generator(phase, step, self.folder.best(phase.name), {})
            return
        with evaluating(phase):
            scores = validation.scores(generator, self.examples, self.niqe_model)
            sheet = validation.sample_sheet(generator, self.examples)
        quality = scores["psnr_y"] - (scores.get("niqe", 0.0) if phase.name == "adversarial" else 0.0)
        best = quality >= self.best.get(phase.name, float("-inf"))
        files.write_array(self.folder.sample(phase.name, step), sheet)
        self.journal.write(
            "validation", phase=phase.name, step=step, scores=scores, best=best, **self._artefacts(phase)
        )
        if best:
            self.best[phase.name] = quality
            self._write_generator(phase, step, self.folder.best(phase.name), scores)
        values = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
        self.journal.show(f"validation at step {step}: {values}")

    def save(self, phase: Phase, step: int) -> None:
        """The generator of this moment, and everything to go on with."""
        self._write_generator(phase, step, self.folder.generator(phase.name, step), {})
        facts = {
            "settings": config.to_mapping(self.settings),
            "data": self.pack.fingerprint,
            "best": self.best,
            "rollbacks": self.rollbacks,
            "versions": versions(),
            "threads": torch.get_num_threads(),
        }
        state = Checkpoint(phase=phase.name, step=step, tensors=phase.tensors(), facts=facts)
        checkpoints.write(self.folder.checkpoints, state, keep=self.settings.keep_checkpoints)

    def _artefacts(self, phase: Phase) -> dict[str, float]:
        probe = self.probe.to(next(phase.generator.parameters()))
        with evaluating(phase), torch.no_grad():
            sr = in_use(phase)(probe)
        pictures = [validation.rounded(picture[None]) for picture in sr]
        return {
            "bn_gap": validation.batchnorm_gap(phase.generator, probe),
            "checkerboard": max(validation.checkerboard(picture) for picture in pictures),
        }

    def _write_generator(self, phase: Phase, step: int, path: Path, scores: dict[str, float]) -> None:
        about = {
            "recipe": self.settings.recipe,
            "phase": phase.name,
            "step": str(step),
            "version": __version__,
            "data": f"{len(self.pack.names)} pictures, {self.pack.fingerprint[:16]}",
            "scores": config.to_json({name: round(value, 4) for name, value in scores.items()}),
            "settings": config.to_json(_portable(self.settings)),
        }
        generator = in_use(phase)
        weights.write(path, tensors_from_generator(generator), config=generator.config, metadata=about)


class evaluating:
    """The phase's generator in evaluation mode for a while; its BatchNorm statistics stay as they are."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase

    def __enter__(self) -> None:
        in_use(self.phase).eval()

    def __exit__(self, *_: object) -> None:
        self.phase.generator.train()


def warnings(health: dict[str, float]) -> Iterator[str]:
    """A sentence for each value outside its healthy range."""
    for name, (low, high, meaning) in RANGES.items():
        value = health.get(name)
        if value is not None and not low <= value <= high:
            yield f"{name} is {value:.4g}, healthy is {low:g} to {high:g}; {meaning}."


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {name: packages.version(name) for name in ("numpy", "torch", "pyvips", "safetensors")}
    return {"srgan": __version__, "python": platform.python_version(), **found}


def _portable(settings: TrainSettings) -> dict[str, Any]:
    """The settings without what names a place on this machine: a weights file travels."""
    places = ("data", "output", "vgg", "init")
    return {name: value for name, value in config.to_mapping(settings).items() if name not in places}


def git_state() -> dict[str, Any]:
    """Commit of the checkout that this code runs from, and whether it was changed; empty outside a checkout."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return {}
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "src"))
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def hardware(used: torch.device) -> dict[str, Any]:
    """The machine, as far as it can be told."""
    about: dict[str, Any] = {
        "device": str(used),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
    if used.type == "cuda":
        about |= {"gpu": torch.cuda.get_device_name(used), "gpus": torch.cuda.device_count()}
    return about


def _probe(pack: PackedImages | ImageFiles, crop: int) -> torch.Tensor:
    """Four fixed training crops (4, 3, crop/4, crop/4) in [0, 1], on which artefacts are measured."""
    planned = crops(
        seed=0, phase="sample", step=0, batch=4, crop=crop // 4, heights=pack.heights // 4, widths=pack.widths // 4
    )
    lr, _ = gather(pack, planned, crop)
    return unit_from_uint8(torch.from_numpy(lr).permute(0, 3, 1, 2))
