"""One training run from settings to weights: wires data, phases, loop and records together."""

from __future__ import annotations

import dataclasses
import platform
import signal
import time
from importlib import metadata as packages
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from srgan import __version__, weights
from srgan import settings as flags
from srgan.architecture import GeneratorConfig
from srgan.data import samples
from srgan.data.folders import Pair, training_pairs, validation_pairs
from srgan.data.loader import PackLoader, lr_unit
from srgan.data.pack import Pack, pack_pairs
from srgan.errors import CheckpointError, UsageError
from srgan.networks.generator import Generator, generator_from_weights, tensors_of
from srgan.networks.initial import initialise
from srgan.networks.vgg import VGG19
from srgan.picture import files
from srgan.picture.niqe import NiqeModel, read_niqe_model
from srgan.training import checkpoints, loop, validation
from srgan.training.checkpoints import Checkpoint
from srgan.training.command import changed
from srgan.training.folder import NETWORK, RunFolder
from srgan.training.journal import Journal
from srgan.training.phases import Adversarial, Phase, Pretraining, in_use
from srgan.training.schedule import learning_rate
from srgan.training.settings import FREE_TO_CHANGE, TrainSettings


def train(settings: TrainSettings) -> int:
    """Run, or go on with, a training run; returns the exit code (0, 130 after Ctrl-C, 143 after SIGTERM)."""
    folder = RunFolder(settings.output or Path("runs") / settings.recipe)
    folder.prepare(resume=settings.resume)
    with folder.locked():
        journal = Journal(folder.root, quiet=settings.quiet)
        try:
            return Run(settings, folder, journal).go()
        finally:
            journal.close()


class Run:
    """What the phases of a run share."""

    def __init__(self, settings: TrainSettings, folder: RunFolder, journal: Journal) -> None:
        self.settings, self.folder, self.journal = settings, folder, journal
        self.device = device(settings)
        if settings.deterministic:
            torch.use_deterministic_algorithms(True)
        self.signal = 0
        self.began = time.perf_counter()
        self.best: dict[str, float] = {}
        self.checkpoint = checkpoints.newest(folder.checkpoints, journal.warn) if settings.resume else None
        self.pack, self.examples = self._data()
        self.niqe = _niqe_model(settings)
        if self.checkpoint is not None:
            self._check_same(self.checkpoint)
            self.best = dict(self.checkpoint.facts["best"])
        folder.settings.write_text(
            flags.to_yaml(dataclasses.replace(settings, resume=False, allow_change=()))
        )
        self._start_record()

    def go(self) -> int:
        """Both phases, or the one that was asked for."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        wanted = ("pretrain", "adversarial") if self.settings.phase == "both" else (self.settings.phase,)
        generator: Generator | None = None
        for name in wanted:
            if self.checkpoint is not None and self.checkpoint.phase == "adversarial" and name == "pretrain":
                continue
            phase = self._phase(name, generator)
            self._train(phase)
            if self.signal:
                self.journal.say(
                    f"Stopped and saved. Go on with: srgan train --resume --output {self.folder.root}"
                )
                return 128 + self.signal
            generator = in_use(phase)
        self.journal.write("end", phase="run", elapsed_s=time.perf_counter() - self.began)
        self.journal.say(f"Done. The generators are in {self.folder.root}.")
        return 0

    def _phase(self, name: str, before: Generator | None) -> Phase:
        generator = Generator(self._config())
        going_on = self.checkpoint is not None and self.checkpoint.phase == name
        if going_on:
            pass  # its tensors come from the checkpoint
        elif before is not None:
            generator.load_state_dict(before.state_dict())
        elif self.settings.init:
            generator = self._initial(self.settings.init)
        elif name == "adversarial":
            best = self.folder.best("pretrain")
            if not best.exists():
                raise UsageError(
                    "the adversarial phase starts from a trained SRResNet: name one with --init "
                    f"(srresnet, or a .safetensors file), or pretrain into {self.folder.root} first."
                )
            generator = self._initial(str(best))
        else:
            initialise(generator, seed=self.settings.seed, icnr=self.settings.icnr)
        generator.to(memory_format=torch.channels_last)
        phase: Phase
        if name == "pretrain":
            phase = Pretraining(generator, self.settings, self.device)
        else:
            phase = Adversarial(generator, self._features(), self.settings, self.device)
        if going_on and self.checkpoint is not None:
            phase.load(self.checkpoint.tensors)
        return phase

    def _train(self, phase: Phase) -> None:
        s = self.settings
        pretraining = phase.name == "pretrain"
        stop = s.pretrain_steps if pretraining else s.train_steps
        start = (
            self.checkpoint.step if self.checkpoint is not None and self.checkpoint.phase == phase.name else 0
        )
        batches = PackLoader(
            self.pack, seed=s.seed, phase=phase.name, batch=s.batch_size, crop=s.crop, device=self.device
        )

        def rate(step: int) -> float:
            peak, decay = (
                (s.pretrain_learning_rate, s.pretrain_decay) if pretraining else (s.learning_rate, s.decay)
            )
            return learning_rate(step, steps=stop, peak=peak, decay=decay, drop=s.drop, warmup=s.warmup)

        def report(found: loop.Report) -> None:
            self._report(phase.name, stop, found)

        self.journal.start_bar(NETWORK[phase.name], start, stop)
        try:
            loop.run(
                phase, batches, start=start, stop=stop, learning_rate=rate,
                every=loop.Intervals(s.report_interval, s.validation_interval, s.checkpoint_interval),
                report=report, validate=lambda step: self._validate(phase, step),
                save=lambda step: self._save(phase, step), stopping=lambda: self.signal != 0,
            )  # fmt: skip
        finally:
            batches.close()
            self.journal.stop_bar()

    def _report(self, phase: str, stop: int, found: loop.Report) -> None:
        losses = dict(found.losses)
        health: dict[str, float] = {
            name: losses.pop(name) for name in ("d_real", "d_fake", "d_accuracy") if name in losses
        }
        if "content" in losses:
            weighted = self.settings.content_weight * losses["content"]
            health["content_to_adversarial"] = weighted / max(
                self.settings.adversarial_weight * losses["adversarial"], 1e-12
            )
        self.journal.write(
            "report", phase=phase, step=found.step, elapsed_s=time.perf_counter() - self.began,
            learning_rate=found.learning_rate, steps_per_s=found.steps_per_s, loss=losses, health=health,
            data_wait=found.data_wait,
        )  # fmt: skip
        shown = "pixel" if phase == "pretrain" else "content"
        note = f"{shown} {losses[shown]:.4f}  rate {found.learning_rate:.1e}  {found.steps_per_s:.2f} steps/s"
        self.journal.report(found.step, stop, note)

    def _validate(self, phase: Phase, step: int) -> None:
        generator = in_use(phase).eval()
        try:
            if not self.examples:
                self._write_generator(phase, step, self.folder.best(phase.name), {})
                return
            scores = validation.scores(generator, self.examples, self.niqe)
            quality = scores["psnr_y"] - (scores.get("niqe", 0.0) if phase.name == "adversarial" else 0.0)
            best = quality >= self.best.get(phase.name, float("-inf"))
            sheet = validation.sample_sheet(generator, self.examples)
            files.write_array(self.folder.sample(phase.name, step), sheet)
            crop = torch.stack(
                [lr_unit(torch.from_numpy(e.lr[:48, :48]).permute(2, 0, 1)) for e in self.examples[:8]]
            )
            self.journal.write(
                "validation", phase=phase.name, step=step, scores=scores, best=best,
                bn_gap=validation.batchnorm_gap(generator, crop.to(self.device)),
                checkerboard=validation.checkerboard(sheet),
            )  # fmt: skip
            if best:
                self.best[phase.name] = quality
                self._write_generator(phase, step, self.folder.best(phase.name), scores)
            values = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
            self.journal.console.print(f"validation at step {step}: {values}", markup=False)
        finally:
            phase.generator.train()

    def _save(self, phase: Phase, step: int) -> None:
        self._write_generator(phase, step, self.folder.generator(phase.name, step), {})
        facts = {
            "settings": flags.to_mapping(self.settings), "data": self.pack.fingerprint, "best": self.best,
            "versions": versions(),
        }  # fmt: skip
        state = Checkpoint(phase=phase.name, step=step, tensors=phase.tensors(), facts=facts)
        checkpoints.write(self.folder.checkpoints, state, keep=self.settings.keep_checkpoints)

    def _write_generator(self, phase: Phase, step: int, path: Path, scores: dict[str, float]) -> None:
        about = {
            "recipe": self.settings.recipe, "phase": phase.name, "step": str(step), "version": __version__,
            "data": f"{len(self.pack.names)} pictures, {self.pack.fingerprint[:16]}",
            "scores": flags.to_json({name: round(value, 4) for name, value in scores.items()}),
            "settings": flags.to_json(flags.to_mapping(self.settings)),
        }  # fmt: skip
        generator = in_use(phase)
        weights.write(path, tensors_of(generator), config=generator.config, metadata=about)

    def _data(self) -> tuple[Pack, list[validation.Example]]:
        s = self.settings
        root = s.data or (Path("data") if Path("data").is_dir() else None)
        if root is not None:
            pairs, valid = training_pairs(root), validation_pairs(root)
        else:
            home = samples.folder()
            pairs, valid = (
                [Pair(name=n, hr=home / n, lr=None) for n in names]
                for names in (samples.TRAINING, samples.VALIDATION)
            )
            self.journal.say(
                f"No --data and no folder data/: training on the {len(pairs)} public-domain photographs of scikit-image. "
                "Enough to see it work, not to get good pictures."
            )
        target = self.folder.root / "data.pack"
        made = pack_pairs(pairs, target, minimum=s.crop, workers=s.workers, say=self.journal.say)
        for sentence in made.left_out:
            self.journal.warn(sentence)
        if not valid:
            self.journal.say(
                "There is no valid/ folder beside the training pictures: no validation, the last generator counts as the best."
            )
        return made, validation.examples(valid, s.validation_pictures)

    def _features(self) -> VGG19 | None:
        s = self.settings
        if s.content == "mse":
            return None
        path = s.vgg or _vgg_below(s.data or Path("data"))
        if path is None:
            if s.recipe == "quick":
                self.journal.say(
                    "There is no VGG19 file: the content loss is the pixels' mean squared error instead (--content mse)."
                )
                return None
            raise UsageError(
                f"the content loss {s.content} needs VGG19's weights, and there are none below {s.data or 'data'}/vgg19. "
                "Fetch them with `srgan data fetch vgg19`, name the file with --vgg, or train with --content mse."
            )
        return VGG19(path, layers=(s.content.removeprefix("vgg"),))

    def _initial(self, name: str) -> Generator:
        found = weights.read(name)
        if found.config != self._config():
            raise UsageError(f"--init {name} is a {found.config}, but the settings ask for {self._config()}.")
        return generator_from_weights(found).train()

    def _config(self) -> GeneratorConfig:
        return GeneratorConfig(
            blocks=self.settings.blocks, width=self.settings.width, slopes=self.settings.slopes
        )

    def _check_same(self, checkpoint: Checkpoint) -> None:
        differences = changed(checkpoint.facts["settings"], self.settings)
        for name, (then, now) in differences.items():
            if name not in ("resume", "allow_change", "quiet"):
                self.journal.say(f"Setting changed since the checkpoint: {name} was {then}, is {now}.")
        refused = sorted(set(differences) - FREE_TO_CHANGE - set(self.settings.allow_change))
        if refused:
            raise CheckpointError(
                f"going on with other settings would change the result: {', '.join(refused)}. "
                f"Leave them as they were, or say that you mean it: --allow-change {' '.join(refused)}."
            )
        if checkpoint.facts["data"] != self.pack.fingerprint and "data" not in self.settings.allow_change:
            raise CheckpointError(
                "the training pictures are not those that the checkpoint was made with; bring them back, "
                "or say that you mean it: --allow-change data."
            )
        self.journal.say(f"Going on with {checkpoint.phase} after step {checkpoint.step}.")

    def _start_record(self) -> None:
        pixels = int((self.pack.heights * self.pack.widths).sum())
        self.journal.write(
            "start", settings=flags.to_mapping(self.settings), versions=versions(), hardware=hardware(self.device),
            data={"fingerprint": self.pack.fingerprint, "pictures": len(self.pack.names),
                  "megapixels": round(pixels / 1e6, 1), "left_out": list(self.pack.left_out)},
        )  # fmt: skip

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal:  # asked a second time: at once
            raise KeyboardInterrupt
        self.signal = number


def device(settings: TrainSettings) -> torch.device:
    """The device that the settings name; auto: CUDA, else Apple's MPS, else the CPU."""
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if have[name]))
    if not have[settings.device]:
        raise UsageError(f"there is no {settings.device} device on this machine; use --device auto.")
    return torch.device(settings.device)


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {name: packages.version(name) for name in ("numpy", "torch", "pyvips", "safetensors")}
    return {"srgan": __version__, "python": platform.python_version(), **found}


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


def _vgg_below(root: Path) -> Path | None:
    folder = root / "vgg19"
    found = (
        sorted(p for p in folder.glob("*") if p.suffix in (".safetensors", ".npz", ".h5"))
        if folder.is_dir()
        else []
    )
    return found[0] if found else None


def _niqe_model(settings: TrainSettings) -> NiqeModel | None:
    found = sorted(((settings.data or Path("data")) / "niqe").glob("*.npz"))
    return read_niqe_model(found[0]) if found else None
