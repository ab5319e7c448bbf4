"""One training run from settings to weights: wires data, phases, loop and records together."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch

from srgan import config
from srgan.data.loader import CropSampler, loader
from srgan.errors import CheckpointError, Diverged, UsageError
from srgan.fs import atomic_write
from srgan.model.generator import Generator, freeze_batchnorm, init_weights
from srgan.train import checkpoints, compute, distributed, inputs, loop
from srgan.train.checkpoints import Checkpoint
from srgan.train.distributed import Ranks
from srgan.train.folder import NETWORK, RunFolder
from srgan.train.journal import Journal, Silence
from srgan.train.phases import Adversarial, Phase, Pretraining, in_use, networks
from srgan.train.record import Record
from srgan.train.schedule import learning_rate
from srgan.train.settings import FREE_TO_CHANGE, TrainSettings, changed

SLOWER = 0.5
"""Factor on the learning rate after each rollback."""


def train(settings: TrainSettings) -> int:
    """Run, or go on with, a training run; returns the exit code (0, 130 after Ctrl-C, 143 after SIGTERM).

    Started by torchrun, this is one of several processes; rank 0 alone writes.
    """
    folder = RunFolder(settings.output or Path("runs") / settings.recipe)
    device = inputs.device(settings)
    with contextlib.ExitStack() as stack:
        ranks = stack.enter_context(distributed.joined(device, settings.batch_size))
        if not ranks.first:
            return Run(settings, folder, Silence(), ranks, device).go()
        folder.prepare(resume=settings.resume)
        stack.enter_context(folder.locked())
        journal = Journal(folder.root, quiet=not logging.getLogger("srgan").isEnabledFor(logging.INFO))
        stack.callback(journal.close)
        try:
            return Run(settings, folder, journal, ranks, device).go()
        except Diverged as error:
            journal.write("event", text=str(error))
            raise


class Run:
    """Both phases of a run, and where they go on after a stop or a divergence."""

    def __init__(
        self, settings: TrainSettings, folder: RunFolder, journal: Journal, ranks: Ranks, device: torch.device
    ) -> None:
        self.settings, self.folder, self.journal, self.ranks = settings, folder, journal, ranks
        self.device = torch.device("cuda", ranks.local) if device.type == "cuda" else device
        torch.use_deterministic_algorithms(settings.deterministic)
        compute.configure(settings, self.device)
        self.signal = 0
        if settings.phase != "pretrain":
            inputs.vgg_file(settings)  # a missing one is said now, not after days of pretraining
        self.checkpoint = ranks.from_first(self._last_checkpoint)
        pack, examples = ranks.after_first_here(
            lambda: inputs.pictures(settings, folder.root / "data.pack", journal.say)
        )
        self.pack = pack
        self.record = Record(settings, folder, journal, pack, examples, inputs.niqe_model(settings))
        if self.checkpoint is not None:
            self._check_same(self.checkpoint)
            self._recall(self.checkpoint)
        if ranks.first:
            text = config.to_yaml(dataclasses.replace(settings, resume=False, allow_change=(), fetch=False))
            atomic_write(folder.settings, text.encode())
            self.record.start(self.device)
        if ranks.world > 1:
            journal.say(f"Training with {ranks.world} processes, {settings.batch_size // ranks.world} crops each.")

    def go(self) -> int:
        """Both phases, or the one that was asked for."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        wanted = ("pretrain", "adversarial") if self.settings.phase == "both" else (self.settings.phase,)
        before: Generator | None = None
        for name in wanted:
            if self.checkpoint is not None and self.checkpoint.phase == "adversarial" and name == "pretrain":
                continue
            phase = self._finished(name, before)
            if self.signal:
                self.journal.say(f"Stopped and saved. Go on with: srgan train --resume --output {self.folder.root}")
                return 128 + self.signal
            before = in_use(phase)
        self.journal.write("end", phase="run")
        self.journal.say(f"Done. The generators are in {self.folder.root}.")
        return 0

    def _finished(self, name: str, before: Generator | None) -> Phase:
        """The phase after its last step, or after a signal; rolled back where it diverges, if that is wanted."""
        while True:
            phase = self._phase(name, before)
            try:
                self._train(phase)
                return phase
            except Diverged as error:
                if self.settings.on_divergence == "stop" or self.record.rollbacks >= self.settings.max_rollbacks:
                    raise
                self.checkpoint = self.ranks.from_first(
                    lambda: checkpoints.newest(self.folder.checkpoints, self.journal.warn)
                )
                again = self.record.rollbacks + 1
                self._recall(self.checkpoint)
                self.record.rollbacks = again
                self.journal.warn(
                    f"{error} Going back to step {self.checkpoint.step} of {self.checkpoint.phase} with "
                    f"{SLOWER**again:g} of the learning rate (rollback {again} of {self.settings.max_rollbacks})."
                )

    def _phase(self, name: str, before: Generator | None) -> Phase:
        generator = Generator(inputs.config(self.settings))
        going_on = self.checkpoint is not None and self.checkpoint.phase == name
        if going_on or not self.ranks.first:
            pass  # its tensors come from the checkpoint, or from rank 0
        elif before is not None:
            generator.load_state_dict(before.state_dict())
        elif self.settings.init:
            generator = inputs.initial(self.settings.init, self.settings)
        elif name == "adversarial":
            best = self.folder.best("pretrain")
            if not best.exists():
                raise UsageError(
                    "the adversarial phase starts from a trained SRResNet: name one with --init "
                    f"(srresnet, or a .safetensors file), or pretrain into {self.folder.root} first."
                )
            generator = inputs.initial(best, self.settings)
        else:
            init_weights(generator, seed=self.settings.seed, icnr=self.settings.icnr)
        if self.settings.freeze_batchnorm:
            freeze_batchnorm(generator)
        if self.settings.sync_batchnorm and self.ranks.world > 1:
            distributed.synchronise_batchnorm(generator, self.device)
        phase: Phase
        if name == "pretrain":
            phase = Pretraining(generator, self.settings, self.device, ranks=self.ranks, say=self.journal.say)
        else:
            features = inputs.features(self.settings, self.journal.say)
            phase = Adversarial(generator, features, self.settings, self.device, ranks=self.ranks, say=self.journal.say)
        if going_on and self.checkpoint is not None:
            phase.load(self.checkpoint.tensors)
        self.ranks.copy_from_first(phase.tensors().values())
        return phase

    def _train(self, phase: Phase) -> None:
        s, record = self.settings, self.record
        pretraining = phase.name == "pretrain"
        stop = s.pretrain_steps if pretraining else s.train_steps
        peak, decay = (s.pretrain_learning_rate, s.pretrain_decay) if pretraining else (s.learning_rate, s.decay)
        slower = SLOWER**record.rollbacks

        def rate(step: int) -> float:
            return slower * learning_rate(step, steps=stop, peak=peak, decay=decay, drop=s.drop, warmup=s.warmup)

        here = self.checkpoint if self.checkpoint is not None and self.checkpoint.phase == phase.name else None
        start = here.step if here else 0
        sampler = CropSampler(
            seed=s.seed,
            phase=phase.name,
            batch=s.batch_size,
            crop=s.crop,
            rank=self.ranks.rank,
            world_size=self.ranks.world,
            degrade=s.degrade,
        )
        batches = loader(self.pack, sampler, device=self.device, source=s.loader, workers=s.workers)

        def report(found: loop.Report) -> None:
            losses = self.ranks.mean(found.losses)
            if self.ranks.first:
                record.report(phase, stop, found._replace(losses=losses))

        self.journal.start_bar(NETWORK[phase.name], start, stop)
        try:
            loop.run(
                phase,
                batches,
                start=start,
                stop=stop,
                learning_rate=rate,
                every=loop.Intervals(s.report_interval, s.validation_interval, s.checkpoint_interval),
                report=report,
                validate=lambda step: self._by_first(phase, record.validate, step),
                save=lambda step: self._by_first(phase, record.save, step),
                stopping=self._stopping,
            )
        finally:
            batches.close()
            self.journal.stop_bar()

    def _by_first(self, phase: Phase, act: Callable[[Phase, int], None], step: int) -> None:
        """Let rank 0 alone validate or write, with the mean of the ranks' BatchNorm statistics."""
        self.ranks.average_statistics(networks(phase))
        if self.ranks.first:
            act(phase, step)

    def _stopping(self) -> bool:
        """Whether any rank was asked to stop; all ranks hear it at the same step."""
        self.signal = self.ranks.largest(self.signal)
        return self.signal != 0

    def _last_checkpoint(self) -> Checkpoint | None:
        if not self.settings.resume:
            return None
        if not (self.journal.had_lines or self.folder.settings.exists()):
            raise CheckpointError(
                f"there is no run in {self.folder.root} to go on with. Leave --resume away to start one, "
                "or name the right folder with --output."
            )
        if not checkpoints.found(self.folder.checkpoints):
            self.journal.say("The run was stopped before its first checkpoint: starting it from the beginning.")
            return None
        return checkpoints.newest(self.folder.checkpoints, self.journal.warn)

    def _check_same(self, checkpoint: Checkpoint) -> None:
        differences = changed(dict(checkpoint.facts["settings"]), self.settings)
        for name, (then, now) in differences.items():
            if name not in ("resume", "allow_change", "quiet", "fetch", "evaluate"):
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
        if self.settings.deterministic and checkpoint.facts["threads"] != torch.get_num_threads():
            self.journal.warn(
                f"the checkpoint was made with {checkpoint.facts['threads']} threads, this process has "
                f"{torch.get_num_threads()}: sums are taken in another order, so the bits will differ."
            )
        self.journal.say(f"Going on with {checkpoint.phase} after step {checkpoint.step}.")

    def _recall(self, checkpoint: Checkpoint) -> None:
        self.record.best = dict(checkpoint.facts["best"])
        self.record.rollbacks = int(checkpoint.facts["rollbacks"])

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal and self.ranks.world == 1:  # asked a second time: at once (torchrun passes signals on twice)
            raise KeyboardInterrupt
        self.signal = number
