"""One training run from settings to weights: set up, both phases, resume and rollback."""

from __future__ import annotations

import contextlib
import logging
import signal
from dataclasses import dataclass
from types import FrameType

import torch

from srgan.data.loader import CropSampler, TrainingImages, loader
from srgan.errors import STOP_SIGNALS, CheckpointError, Diverged
from srgan.model.generator import Generator
from srgan.model.vgg import VGG19
from srgan.progress import Progress
from srgan.train import checkpoints, loop, setup
from srgan.train.checkpoints import Checkpoint
from srgan.train.distributed import Ranks, process_group
from srgan.train.folder import NETWORK, RunFolder
from srgan.train.phases import Phase, configure_torch, is_compiled
from srgan.train.recorder import Journal, Recorder, last_steps
from srgan.train.settings import TrainSettings

log = logging.getLogger("srgan")

HEADINGS = {"pretrain": "Pretraining SRResNet on pixels", "adversarial": "Training SRGAN against the discriminator"}
ROLLBACK_FACTOR = 0.5
"""On the learning rate after each rollback."""
MAX_ROLLBACKS = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """What both phases of a run share."""

    settings: TrainSettings
    folder: RunFolder
    ranks: Ranks
    device: torch.device
    images: TrainingImages
    vgg: VGG19 | None
    recorder: Recorder | None
    """None on every rank but the main one."""


def train(settings: TrainSettings) -> int:
    """Start or resume a training run; returns the exit code: 0, or 128 + the number of the signal that stopped it.

    Started by torchrun, this is one of several processes; rank 0 alone writes.
    """
    with contextlib.ExitStack() as stack:
        job, checkpoint = _prepare(settings, stack)
        stop = StopSignal(job.ranks, stack)
        run, recorder = job.settings.run, job.recorder
        rollbacks = int(checkpoint.metadata["rollbacks"]) if checkpoint is not None else 0
        names = ["pretrain", "adversarial"] if run.phase == "both" else [run.phase]
        if checkpoint is not None and checkpoint.phase == "adversarial":
            names = ["adversarial"]
        previous: Generator | None = None
        while names:
            try:
                phase = _run_phase(names[0], job, checkpoint, previous, stop, ROLLBACK_FACTOR**rollbacks)
            except Diverged as error:
                if run.on_divergence == "stop" or rollbacks >= MAX_ROLLBACKS:
                    if recorder is not None:
                        recorder.journal.write("event", text=str(error))
                        recorder.journal.write("end", state="diverged")
                    raise Diverged(f"{error} {_after_divergence(names[0], rollbacks)}") from error
                # Return to the last checkpoint, or to the beginning, with a smaller learning rate.
                rollbacks += 1
                checkpoint = job.ranks.broadcast_object(lambda: _last_checkpoint(job.settings, job.folder))
                if recorder is not None:
                    recorder.restore(checkpoint)
                    recorder.rollbacks = rollbacks
                place = f"step {checkpoint.step} of {checkpoint.phase}" if checkpoint is not None else "the beginning"
                log.warning(
                    f"{error} Returning to {place} with {ROLLBACK_FACTOR**rollbacks:g} of the learning rate "
                    f"(rollback {rollbacks} of {MAX_ROLLBACKS})."
                )
                continue
            if stop.number:
                if recorder is not None:
                    advice = f"Resume with: srgan train --resume --output {job.folder.root}"
                    recorder.journal.event(f"Stopped and saved. {advice}")
                    recorder.journal.write("end", state="stopped")
                return 128 + stop.number
            previous = phase.eval_generator
            names.pop(0)
        if recorder is not None:
            recorder.compare_with_bicubic()
            recorder.journal.write("end", phase="run", state="done")
            generators = any(job.folder.best(phase).exists() for phase in NETWORK)
            log.info(
                f"Done. {'The generators are' if generators else 'No step, so no generator, is'} in {job.folder.root}."
            )
        return 0


def _prepare(settings: TrainSettings, stack: contextlib.ExitStack) -> tuple[Job, Checkpoint | None]:
    """What the run starts from; whatever is wrong with it is reported now, not after days of pretraining."""
    # The processes, the folder, the journal.
    folder, device = RunFolder.of(settings), setup.pick_device(settings)
    ranks = stack.enter_context(process_group(device, settings.schedule.batch_size))
    journal = None
    if ranks.is_main:
        folder.create(resume=settings.run.resume, phase=settings.run.phase)
        stack.enter_context(folder.lock())
        journal = stack.enter_context(Journal(folder.root))
    else:
        log.setLevel(logging.ERROR)

    # Device, VGG19, checkpoint, images.
    settings = setup.resolve(settings, folder)
    device = torch.device("cuda", ranks.local_rank) if device.type == "cuda" else device
    configure_torch(settings, device)
    vgg = setup.load_vgg(settings) if settings.run.phase != "pretrain" else None
    checkpoint = ranks.broadcast_object(lambda: _last_checkpoint(settings, folder) if settings.run.resume else None)
    if journal is not None and checkpoint is None:  # before images are packed, and before the folder holds a run
        setup.first_weights("adversarial" if settings.run.phase == "adversarial" else "pretrain", settings, folder)
        folder.write_settings(settings)  # for a --resume after a stop while packing
    images, validation_images = ranks.local_main_first(lambda: setup.load_images(settings, folder))
    if checkpoint is not None:
        setup.check_same_run(checkpoint, settings, images)

    # The recorder, and what is said at the start.
    recorder = None
    if journal is not None:
        recorder = Recorder(settings, folder, journal, images, validation_images)
        recorder.start(device)
        recorder.restore(checkpoint)
        if checkpoint is not None:
            journal.event(f"Resuming the {checkpoint.phase} phase at step {checkpoint.step}.")
        elif settings.run.resume:
            from_best = settings.run.phase == "adversarial" and settings.run.init == "none"
            best = from_best and folder.best("pretrain").exists()
            start = "the best SRResNet" if best else f"the beginning of recipe {settings.run.recipe}"
            journal.event(f"There is no checkpoint in {folder.root} to resume from: starting from {start}.")
        if ranks.world_size > 1:
            share = settings.schedule.batch_size // ranks.world_size
            journal.event(f"Training with {ranks.world_size} processes, each with a batch of {share}.")
    job = Job(settings=settings, folder=folder, ranks=ranks, device=device, images=images, vgg=vgg, recorder=recorder)
    return job, checkpoint


def _run_phase(
    name: str, job: Job, checkpoint: Checkpoint | None, previous: Generator | None, stop: StopSignal, rate_factor: float
) -> Phase:
    """The phase after its last step, or after a signal. `rate_factor`: on its learning rates."""
    # The phase at its start.
    s, settings, ranks = job.settings.schedule, job.settings, job.ranks
    own = checkpoint if checkpoint is not None and checkpoint.phase == name else None
    phase = setup.build_phase(
        name, settings, job.device, ranks=ranks, folder=job.folder, vgg=job.vgg, checkpoint=own, previous=previous
    )
    start = own.step if own is not None else 0

    # Its schedule.
    steps = s.pretrain_steps if name == "pretrain" else s.train_steps
    peak, decay = (s.pretrain_learning_rate, s.pretrain_decay) if name == "pretrain" else (s.learning_rate, s.decay)

    def rate(step: int) -> float:
        return rate_factor * loop.learning_rate(step, steps=steps, peak=peak, decay=decay, drop=s.drop, warmup=s.warmup)

    # Its batches.
    data, place = settings.data, {"rank": ranks.rank, "world_size": ranks.world_size}
    sampler = CropSampler(
        seed=settings.run.seed, phase=name, batch=s.batch_size, crop=data.crop, degrade=data.degrade, **place
    )
    batches = loader(job.images, sampler, device=job.device, source=data.loader, workers=data.workers)

    # Its steps.
    if start < steps:
        log.info(
            f"{HEADINGS[name]}: steps {start:,} to {steps:,}, batch size {s.batch_size}, crops of {sampler.crop} pixels."
        )
    elif own is not None:
        flag = "pretrain_steps" if name == "pretrain" else "train_steps"
        more = f"srgan train --resume --output {job.folder.root} --{flag.replace('_', '-')} N --allow-change {flag}"
        log.info(f"{HEADINGS[name]} is already finished, at step {start:,}. Go on with: {more}")
    if is_compiled(settings, job.device) and start < steps:
        log.info("Compiling the networks: the first steps take up to some minutes.")
    progress = Progress(NETWORK[name], steps, first=start, every_update=True)
    with contextlib.closing(batches), progress:
        if job.recorder is not None:
            job.recorder.progress = progress
        loop.run_steps(
            phase,
            batches,
            job.recorder,
            start,
            steps,
            rate=rate,
            every=settings.reports,
            stop_requested=stop.requested,
            ranks=ranks,
        )
    if job.recorder is not None and own is not None and start >= steps and not job.folder.best(name).exists():
        job.recorder.validate(phase, start)  # finished earlier, and its best generator is gone
    return phase


def _last_checkpoint(settings: TrainSettings, folder: RunFolder) -> Checkpoint | None:
    """The newest checkpoint that the phases of this run can start from; None to start from the beginning.

    Raises CheckpointError where a phase would begin anew that has saved generators: its checkpoints were deleted.
    """
    newest = checkpoints.newest(folder.checkpoints)
    phases = NETWORK.keys() if settings.run.phase == "both" else {settings.run.phase}
    written = last_steps(folder.root / "journal.jsonl")
    for phase in sorted(phases - {"pretrain", newest.phase} if newest else phases):
        generators = sorted(folder.root.rglob(f"{NETWORK[phase]}*.safetensors"))
        if generators and (("checkpoint", phase) in written or not written):
            raise CheckpointError(
                f"{folder.checkpoints} lacks the checkpoints of the run that wrote {generators[-1]}: restore them, or "
                "start a new run in another --output; --init can name this file."
            )
    if newest is None or settings.run.phase in ("both", newest.phase):
        return newest
    if settings.run.phase == "adversarial":
        return None  # it starts from the best SRResNet
    raise CheckpointError(
        f"the run in {folder.root} has finished its pretraining and is in its adversarial phase: resume it without "
        "--phase, or pretrain in another --output."
    )


def _after_divergence(phase: str, rollbacks: int) -> str:
    if rollbacks:
        return f"Returning {rollbacks} times with a smaller learning rate did not help: check the losses' weights."
    rate = "pretrain-learning-rate" if phase == "pretrain" else "learning-rate"
    return (
        f"Resume with a smaller learning rate (--resume --{rate} 5e-5 --allow-change {rate.replace('-', '_')}), or with "
        "--resume --on-divergence rollback."
    )


class StopSignal:
    """One of STOP_SIGNALS, remembered until the current step is done; a second one stops at once."""

    def __init__(self, ranks: Ranks, stack: contextlib.ExitStack) -> None:
        self.ranks, self.number = ranks, 0
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                stack.callback(signal.signal, number, signal.signal(number, self._receive))

    def requested(self) -> bool:
        """Whether any rank received a signal; all ranks learn of it at the same step."""
        self.number = self.ranks.all_reduce_max(self.number)
        return self.number != 0

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.number and self.ranks.world_size == 1:  # the second one (torchrun sends signals twice)
            raise KeyboardInterrupt
        self.number = number
