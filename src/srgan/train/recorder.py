"""What a run writes: the journal, reports with the GAN's health, validations, checkpoints and generators."""

import contextlib
import json
import logging
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import metadata as packages
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch

from srgan import __version__, config
from srgan.data.loader import CropSampler, TrainingImages, gather, images_digest, unit_from_uint8
from srgan.errors import CheckpointError
from srgan.fs import printable
from srgan.image import files, metrics
from srgan.model import weights
from srgan.model.generator import tensors_from_generator
from srgan.progress import Progress
from srgan.train import checkpoints, validation
from srgan.train.checkpoints import Checkpoint
from srgan.train.folder import NETWORK, RunFolder
from srgan.train.phases import Phase
from srgan.train.settings import TrainSettings

log = logging.getLogger("srgan")

HEALTHY_RANGES = {
    "d_accuracy": (0.0, 0.995, "the discriminator is nearly always right: the generator learns little from it"),
    "d_fake": (0.0, 0.9, "the discriminator takes nearly everything for a photograph: it has stopped learning"),
    "content_to_adversarial": (0.05, 1e5, "one of content and adversarial loss is negligible beside the other"),
    "bn_gap": (0.0, 8.0, "BatchNorm's statistics do not match the batches: images will differ from those in training"),
    "checkerboard": (0.0, 2.0, "the output carries a pattern that repeats every 4 pixels"),
}
"""Healthy ranges of what is reported, and what a value outside means."""
MAX_LISTED = 10
"""Skipped images that are named one by one."""


class StepReport(NamedTuple):
    """Means since the last report."""

    step: int
    losses: dict[str, float]
    learning_rate: float
    steps_per_s: float
    data_wait: float
    """Share of the time spent waiting for data, 0 to 1."""


class Journal(logging.Handler):
    """`journal.jsonl`, one JSON object per line, and the same numbers for TensorBoard; as a log handler, warnings too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(logging.WARNING)
        self.path = folder / "journal.jsonl"
        try:
            broken = self.path.exists() and self.path.read_bytes()[-1:] not in (b"", b"\n")
            # A name that is not UTF-8 becomes a JSON escape.
            self.file = self.path.open("a", encoding="utf-8", errors="backslashreplace")
            self.file.write("\n" * broken)  # ends the half line of a killed run
        except OSError as error:
            raise CheckpointError(f"the journal {self.path} cannot be written: {error.strerror}.") from error
        self.board, self.on_board = _tensorboard(folder), last_steps(self.path)
        self.logged: set[str] = set()

    def __enter__(self) -> Self:
        log.addHandler(self)
        log.addFilter(self._is_new)
        return self

    def __exit__(self, *_: object) -> None:
        log.removeFilter(self._is_new)
        log.removeHandler(self)
        self.file.close()
        if self.board is not None:
            self.board.close()

    def write(self, kind: str, **values: Any) -> None:
        """Append one line: `kind`, the time (Unix seconds) and the values. Numbers that are not finite become texts."""
        line = {"kind": kind, "time": round(time.time(), 3), **values}
        try:
            self.file.write(json.dumps(config.plain(line), ensure_ascii=False, allow_nan=False) + "\n")
            self.file.flush()
        except OSError as error:
            raise CheckpointError(f"the journal {self.path} cannot be written: {error.strerror}.") from error
        # TensorBoard's curves must not go back, as a resumed run does.
        curve = (kind, values.get("phase"))
        if self.board is not None and values.get("step", 0) > self.on_board.get(curve, 0):
            self.on_board[curve] = values["step"]
            groups = {"": values} | {f"{name}/": group for name, group in values.items() if isinstance(group, dict)}
            for prefix, group in groups.items():
                for name, value in group.items():
                    if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
                        self.board.add_scalar(f"{values.get('phase', kind)}/{prefix}{name}", value, values["step"])

    def event(self, text: str) -> None:
        """A message on stderr and in the journal."""
        self.write("event", text=text)
        log.info(text)

    def _is_new(self, record: logging.LogRecord) -> bool:
        """Whether it is no warning of before: a file that is odd is so at each of its crops."""
        if record.levelno != logging.WARNING:
            return True
        new = record.getMessage() not in self.logged
        self.logged.add(record.getMessage())
        return new

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR:  # errors end the run, and are its last event
            self.write("warning", text=record.getMessage())


class Recorder:
    """Writes what happens in one run; only the main rank has one."""

    def __init__(
        self,
        settings: TrainSettings,
        folder: RunFolder,
        journal: Journal,
        images: TrainingImages,
        validation_images: list[validation.ValidationImage],
    ) -> None:
        self.settings, self.folder, self.journal, self.images = settings, folder, journal, images
        niqe_paths = sorted((settings.data.root / "niqe").glob("*.npz"))
        self.niqe_model = metrics.read_niqe_model(niqe_paths[0]) if niqe_paths else None
        self.validation_images = validation_images
        self.validation_digest = validation.digest(validation_images, self.niqe_model)
        self.best: dict[str, float] = {}
        self.rollbacks = 0
        self.began = time.perf_counter()
        # Four fixed training crops (4, 3, crop/4, crop/4) in [0, 1], on which artefacts are measured.
        sampler = CropSampler(seed=0, phase="sample", batch=4, crop=settings.data.crop)
        lr, _ = gather(images, sampler.crops(images, 0), settings.data.crop)
        self.probe = unit_from_uint8(torch.from_numpy(lr).permute(0, 3, 1, 2))
        self.progress: Progress | None = None

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Best scores and rollbacks as at the checkpoint, or at the beginning."""
        metadata: Mapping[str, Any] = checkpoint.metadata if checkpoint is not None else {"best": {}, "rollbacks": 0}
        # A best score holds as long as its generator is there.
        self.best = {name: score for name, score in metadata["best"].items() if self.folder.best(name).exists()}
        self.rollbacks = int(metadata["rollbacks"])
        if metadata.get("validation", self.validation_digest) != self.validation_digest:
            log.warning("The validation images are not those of the checkpoint: the best generator is chosen anew.")
            self.best = {}

    def start(self, device: torch.device) -> None:
        """The first line of a run, or of a resumed run: settings, versions, hardware, data; and settings.yaml."""
        self.folder.write_settings(self.settings)
        pixels = int((self.images.heights * self.images.widths).sum())
        data = {
            "fingerprint": self.images.fingerprint,
            "pictures": len(self.images.names),
            "megapixels": round(pixels / 1e6, 1),
            "left_out": list(self.images.skipped),
        }
        hardware = {"device": str(device), "machine": platform.machine(), "threads": torch.get_num_threads()}
        if device.type == "cuda":
            hardware |= {"gpu": torch.cuda.get_device_name(device), "gpus": torch.cuda.device_count()}
        state = {"settings": config.to_mapping(self.settings), "versions": versions(), "hardware": hardware}
        self.journal.write("start", **state, data=data, git=git_state())
        for sentence in self.images.skipped[:MAX_LISTED]:
            log.warning(sentence)
        if len(self.images.skipped) > MAX_LISTED:
            log.warning(f"{len(self.images.skipped)} images in all are skipped; journal.jsonl names them.")
        for name, sheet in validation.reference_sheets(self.validation_images).items():
            files.write_array(self.folder.root / "samples" / f"{name}.png", sheet)

    def report(self, phase: Phase, report: StepReport) -> None:
        """Losses, speed and health since the last report; a warning for each value outside its range."""
        losses = dict(report.losses)
        names = ("d_real", "d_fake", "d_accuracy")
        health: dict[str, float] = {name: losses.pop(name) for name in names if name in losses}
        if "content" in losses:
            adversarial = max(self.settings.losses.adversarial_weight * losses["adversarial"], 1e-12)
            health["content_to_adversarial"] = self.settings.losses.content_weight * losses["content"] / adversarial
        health |= self._artefacts(phase)
        self.journal.write(
            "report",
            phase=phase.name,
            step=report.step,
            elapsed_s=time.perf_counter() - self.began,
            learning_rate=report.learning_rate,
            steps_per_s=report.steps_per_s,
            loss=losses,
            health=health,
            data_wait=report.data_wait,
            **({"gpu_bytes": torch.cuda.max_memory_reserved(phase.device)} if phase.device.type == "cuda" else {}),
        )
        if self.progress is not None:
            name = "pixel" if phase.name == "pretrain" else "content"
            rate = f"learning rate {report.learning_rate:.1e}"
            self.progress.update(report.step, f"{name} {losses[name]:.4f}, {rate}, {report.steps_per_s:.2f} steps/s")
        for name, (low, high, meaning) in HEALTHY_RANGES.items() if phase.name == "adversarial" else ():
            if name in health and not low <= health[name] <= high:
                value = f"{name} is {health[name]:.4g}, healthy is {low:g} to {high:g}"
                log.warning(f"step {report.step}: {value}; {meaning}.")

    def validate(self, phase: Phase, step: int) -> None:
        """Scores, sample crops, and the best generator so far: by PSNR, in the adversarial phase by PSNR less NIQE."""
        generator = phase.eval_generator
        if not self.validation_images:
            self._write_generator(phase, step, self.folder.best(phase.name), {})
            return
        if self.progress is not None:
            self.progress.update(step, "validating")
        with eval_mode(phase):
            upscale = partial(validation.upscaled, generator)
            scores = validation.scores(upscale, self.validation_images, self.niqe_model)
            sheet = validation.sample_sheet(generator, self.validation_images)
        quality = scores["psnr_y"] - (scores.get("niqe", 0.0) if phase.name == "adversarial" else 0.0)
        best = quality >= self.best.get(phase.name, float("-inf"))
        files.write_array(self.folder.sample(phase.name, step), sheet)
        artefacts = self._artefacts(phase)
        self.journal.write("validation", phase=phase.name, step=step, scores=scores, best=best, **artefacts)
        if best:
            self.best[phase.name] = quality
            self._write_generator(phase, step, self.folder.best(phase.name), scores)
        values = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        log.info(f"validation at step {step}: {values}")

    def save(self, phase: Phase, step: int) -> None:
        """The generator of this step, and a checkpoint."""
        self._write_generator(phase, step, self.folder.generator(phase.name, step), {})
        metadata = {
            "settings": config.to_mapping(self.settings),
            "data": self.images.fingerprint,
            "sizes": images_digest(self.images),
            "validation": self.validation_digest,
            "best": self.best,
            "rollbacks": self.rollbacks,
            "versions": versions(),
            "threads": torch.get_num_threads(),
        }
        state = Checkpoint(phase=phase.name, step=step, tensors=phase.state_dict(), metadata=metadata)
        checkpoints.write(self.folder.checkpoints, state, keep=self.settings.reports.keep_checkpoints)
        self.journal.write("checkpoint", phase=phase.name, step=step)

    def compare_with_bicubic(self) -> None:
        """Say how the best generators of this run validate beside bicubic and, where one is below, what to do."""
        if not self.validation_images:
            return
        bicubic = validation.scores(metrics.bicubic_x4, self.validation_images, None)["psnr_y"]
        phases = NETWORK if self.settings.run.phase == "both" else [self.settings.run.phase]
        paths = {phase: self.folder.best(phase) for phase in phases if self.folder.best(phase).exists()}
        best = {phase: json.loads(weights.read(path).metadata["scores"]) for phase, path in paths.items()}
        ours = {phase: scores["psnr_y"] for phase, scores in best.items() if "psnr_y" in scores}
        if not ours:
            return
        values = ", ".join(f"{NETWORK[phase]} {value:.2f}" for phase, value in ours.items())
        self.journal.event(f"Validation, psnr_y in dB: {values}, bicubic {bicubic:.2f}.")
        advice = {
            "pretrain": "train for more steps (--pretrain-steps), or start from trained weights (--init srresnet)",
            "adversarial": "start from a better SRResNet, use VGG19 (srgan data fetch vgg19), or lower --adversarial-weight",
        }
        for phase, value in ours.items():
            if value < bicubic:
                self.journal.event(f"{NETWORK[phase]} is below bicubic: {advice[phase]}.")

    def _artefacts(self, phase: Phase) -> dict[str, float]:
        probe = self.probe.to(next(phase.generator.parameters()))
        with eval_mode(phase), torch.no_grad():
            sr = phase.eval_generator(probe)
        pattern = max(validation.checkerboard(validation.uint8_from_signed(image[None])) for image in sr)
        return {"bn_gap": validation.batchnorm_gap(phase.generator, probe), "checkerboard": pattern}

    def _write_generator(self, phase: Phase, step: int, path: Path, scores: dict[str, float]) -> None:
        # Without the settings that name a place on this machine: a weights file travels.
        places = ("data", "pack", "output", "vgg", "init")
        settings = {name: value for name, value in config.to_mapping(self.settings).items() if name not in places}
        metadata = {
            "recipe": self.settings.run.recipe,
            "phase": phase.name,
            "step": str(step),
            "version": __version__,
            "data": f"{len(self.images.names)} images, {self.images.fingerprint[:16]}",
            "scores": config.to_json({name: round(value, 4) for name, value in scores.items()}),
            "settings": config.to_json(settings),
        }
        generator = phase.eval_generator
        weights.write(path, tensors_from_generator(generator), config=generator.config, metadata=metadata)


@contextlib.contextmanager
def eval_mode(phase: Phase) -> Iterator[None]:
    """The phase's generator in evaluation mode within the block; BatchNorm's statistics do not change."""
    phase.eval_generator.eval()
    try:
        yield
    finally:
        phase.generator.train()


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    libraries = {name: packages.version(name) for name in ("numpy", "torch", "pyvips", "safetensors")}
    return {"srgan": __version__, "python": platform.python_version(), **libraries}


def git_state() -> dict[str, Any]:
    """Commit of the checkout that this code runs from, and whether it has changes; empty outside a checkout."""
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


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # the extra without tensorboard: the journal has every number
        return None
    try:
        return SummaryWriter(str(folder / "tensorboard"))
    except UnicodeError:
        log.warning(f"{printable(folder)} is not a UTF-8 name, which TensorBoard cannot write to: no curves for it.")
        return None


def last_steps(journal: Path) -> dict[tuple[str, Any], int]:
    """(kind of line, phase) -> the highest step that a journal holds."""
    highest: dict[tuple[str, Any], int] = {}
    with journal.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            with contextlib.suppress(ValueError, TypeError, KeyError):  # half a line
                line = json.loads(text)
                curve = (line["kind"], line["phase"])
                highest[curve] = max(line["step"], highest.get(curve, 0))
    return highest
