"""Every setting of a training run, in groups; files, flags and checkpoints hold them flat. Recipes return these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from srgan import config
from srgan.data.degrade import Damage
from srgan.errors import SettingsError, did_you_mean
from srgan.model.config import GeneratorConfig

Decay = Literal["none", "half", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Which phases, from which start, into which folder."""

    recipe: str = "paper"
    """Where the defaults come from: paper, div2k, quick, best or photo."""
    phase: Literal["both", "pretrain", "adversarial"] = "both"
    """Train SRResNet (pretrain), SRGAN (adversarial), or one after the other."""
    output: Path | None = None
    """The run's folder. Default: runs/<recipe>."""
    init: str = "none"
    """Start from this generator: a packaged model, a .safetensors file, or a sum such as 'photo + srgan - srresnet'. none: from random weights. auto: srresnet where blocks and width are its own, else none."""
    seed: int = 0
    """Decides the first weights and the crops of every step; a whole number from 0 to 2^62."""
    resume: bool = False
    """Resume from the newest checkpoint of the output folder; without one, start from the beginning."""
    allow_change: tuple[str, ...] = ()
    """With --resume: settings that may differ from the checkpoint's although they change the result."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """When a number is not finite: stop with exit code 3, or return to the last checkpoint with half the learning rate, three times at most."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**62:
            raise SettingsError(f"seed is a whole number from 0 to 2^62, got {self.seed}.")
        known = [each.name for _, each, *_ in config.flat_fields(TrainSettings)]
        names = tuple(name.replace("-", "_") for name in self.allow_change)
        for name in names:
            if name not in known:
                raise SettingsError(f"allow_change: there is no setting '{name}'.{did_you_mean(name, known)}")
        object.__setattr__(self, "allow_change", names)
        if not self.init:  # as files of earlier versions have it
            object.__setattr__(self, "init", "none")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training images and the crops from them."""

    data: Path | None = None
    """Folder with training images (DIV2K/, train/, or any images). Default: data/, if it exists."""
    crop: int = 96
    """Side of the HR crops in pixels; a multiple of 16."""
    degrade: Damage = "none"
    """Damage to the LR crops, as images from the web have it; the HRs stay clean. compression: JPEG or WebP; all: also blur, sharpening and noise."""
    loader: Literal["auto", "device", "mapped", "files"] = "auto"
    """Where crops come from: the packed images on the device, in a memory-mapped file, or the image files themselves (nothing is packed, every crop is decoded). auto: the device where they fit, else mapped."""
    pack: Path | None = None
    """File of packed images, shared by several runs; `srgan data pack -o` makes it, else training does. Default: data.pack in the run's folder."""
    workers: int = 2
    """Threads that decode images: when packing, or at every step with --loader files. On a GPU, processes that degrade crops."""

    @property
    def root(self) -> Path:
        """The data folder."""
        return self.data or Path("data")

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "crop", "workers")
        if self.degrade != "none" and self.loader == "device":
            raise SettingsError("degrade compresses the crops on the CPU: set loader auto, mapped or files.")
        if self.crop % 16:
            raise SettingsError(f"crop is a multiple of 16 (the discriminator halves it four times), got {self.crop}.")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Steps, learning rates, optimizers."""

    pretrain_steps: int = 1_000_000
    """Updates of the generator with the pixel loss alone (section 3.2: 1e6)."""
    train_steps: int = 200_000
    """Updates against the discriminator (section 3.2: 1e5, then 1e5 more at a tenth of the rate)."""
    batch_size: int = 16
    """Crops per update, over all GPUs together."""
    pretrain_learning_rate: float = 1e-4
    """Highest learning rate of pretraining."""
    learning_rate: float = 1e-4
    """Highest learning rate of adversarial training (both networks)."""
    discriminator_rate: float = 1.0
    """The discriminator's learning rate as a multiple of the generator's."""
    pretrain_decay: Decay = "none"
    """Learning rate over pretraining: constant, dropped half-way, or cosine to zero."""
    decay: Decay = "half"
    """Learning rate over adversarial training."""
    drop: float = 0.1
    """Factor of the drop half-way."""
    warmup: int = 0
    """Steps at the start of each phase over which the learning rate rises."""
    pretrain_optimizer: Literal["adam", "muon"] = "adam"
    """Of pretraining. muon: Muon for the kernels inside the generator, Adam for the rest. The adversarial phase uses Adam."""
    b1: float = 0.9
    """Adam's beta 1."""
    b2: float = 0.999
    """Adam's beta 2."""

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "batch_size")
        _check_at_least(self, 0, "pretrain_steps", "train_steps", "warmup", "discriminator_rate")
        for name in ("pretrain_learning_rate", "learning_rate", "drop"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise SettingsError(f"{name} is a number above 0, up to 1, got {getattr(self, name)}.")
        _check_fraction(self, "b1", "b2")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the generator's losses in adversarial training."""

    content_weight: float = 1.0
    """Factor on the content loss, beside the paper's 1/12.75 on the features."""
    adversarial_weight: float = 1e-3
    """Factor on the adversarial loss (Equation 3)."""
    total_variation_weight: float = 2e-8
    """Factor on the total variation loss; only with --content vgg22."""
    pixel_weight: float = 0.0
    """Factor on the pixels' mean absolute error; keeps colours, to which phi_54 is nearly blind."""
    texture_weight: float = 0.0
    """Factor on the texture loss: Gram matrices, patch by patch, of the features that --discriminator features sees."""
    grid_weight: float = 0.0
    """Factor on the part of the error that repeats at every LR pixel, a grid."""

    def __post_init__(self) -> None:
        _check_at_least(self, 0, *(weight.name for weight in fields(LossWeights)))


@dataclass(frozen=True, kw_only=True)
class Losses(LossWeights):
    """Losses of both phases and their weights."""

    pixel_loss: Literal["mse", "l1", "ensemble"] = "mse"
    """Loss of pretraining: mean squared or absolute error, or the squared distance to the mean of what the generator of --init gives for two symmetries of the LR (self-distillation, for a generator that pretraining has finished)."""
    content: Literal["auto", "vgg54", "vgg22", "mse"] = "vgg54"
    """Content loss of adversarial training (table 1). auto: vgg54 where VGG19's file is there, else mse."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Generator, discriminator and VGG19."""

    blocks: int = 16
    """Residual blocks of the generator (B)."""
    width: int = 64
    """Feature maps of the generator."""
    slopes: Literal["channel", "layer"] = "channel"
    """PReLU slopes: one per channel or one per layer."""
    icnr: bool = False
    """Start the sub-pixel convolutions without a checkerboard (Aitken et al. 2017)."""
    ema: float = 0.0
    """Decay of the moving average of the generator's weights that is validated and saved; 0 = the weights."""
    freeze_batchnorm: bool = False
    """Keep BatchNorm's statistics of the generator as they are at the start of each phase; pretraining then needs --init."""
    discriminator: Literal["figure4", "features"] = "figure4"
    """figure4: the paper's, which sees images. features: small convolutions on VGG19 features (after Sauer et al. 2021), for runs of thousands of steps instead of a hundred thousand; it needs a content loss on VGG19."""
    shift: bool = False
    """Shift the crops that the discriminator sees by 0 to 2 pixels, differently at each step, so that the generator does not learn the grid of its strides."""
    vgg: Path | None = None
    """VGG19's weights: a file made by `srgan data fetch vgg19`, Keras's "notop" file, or unpacked Caffe convolutions; or the folder of one. Default: <data>/vgg19."""

    def __post_init__(self) -> None:
        try:
            GeneratorConfig(blocks=self.blocks, width=self.width)
        except ValueError as error:
            raise SettingsError(f"{error}.") from None
        _check_fraction(self, "ema")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Device and arithmetic."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp64"] = "auto"
    """Of the networks' arithmetic; losses and BatchNorm statistics stay fp32. auto: bf16 on CUDA devices that have it. tf32: fp32 with CUDA's faster multiplications. fp64: for comparisons."""
    compile: bool = True
    """Use torch.compile on a GPU, with CUDA graphs on CUDA."""
    deterministic: bool = False
    """Use only algorithms that give the same bits every time."""
    sync_batchnorm: bool = False
    """With torchrun on CUDA: BatchNorm over the whole batch, not each process's part of it. Turns off --compile."""


@dataclass(frozen=True, kw_only=True)
class Reports:
    """Journal, validation and checkpoints."""

    report_interval: int = 50
    """Steps between reports in journal.jsonl."""
    validation_interval: int = 1000
    """Steps between validations (upscale the validation images, score, save sample crops)."""
    validation_pictures: int = 24
    """How many validation images to score."""
    checkpoint_interval: int = 1000
    """Steps between checkpoints and generators kept."""
    keep_checkpoints: int = 2
    """Checkpoints that stay on disk; generators are never deleted."""

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "report_interval", "validation_interval", "checkpoint_interval", "keep_checkpoints")
        _check_at_least(self, 0, "validation_pictures")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train. Steps count per phase; one step is one update of the generator."""

    run: Run = field(default_factory=Run)
    data: Data = field(default_factory=Data)
    schedule: Schedule = field(default_factory=Schedule)
    losses: Losses = field(default_factory=Losses)
    networks: Networks = field(default_factory=Networks)
    speed: Speed = field(default_factory=Speed)
    reports: Reports = field(default_factory=Reports)

    def __post_init__(self) -> None:
        run, losses, networks = self.run, self.losses, self.networks
        if networks.freeze_batchnorm and run.phase != "adversarial" and run.init == "none":
            raise SettingsError(
                "freeze_batchnorm keeps the statistics of a trained generator, and pretraining has none to start "
                "from: name one with init (srresnet, or a .safetensors file)."
            )
        if losses.pixel_loss == "ensemble" and run.phase != "adversarial" and run.init == "none":
            raise SettingsError(
                "pixel_loss ensemble learns from a trained generator: name one with init (srresnet, or a .safetensors file)."
            )
        if losses.texture_weight and networks.discriminator != "features":
            raise SettingsError(
                "texture_weight compares the VGG19 features that the discriminator sees, and this one sees images: "
                "set discriminator features, or texture_weight 0."
            )
        if networks.discriminator == "features" and losses.content == "mse":
            raise SettingsError(
                "discriminator features needs VGG19, which content mse does not load: use --content vgg54, or "
                "--discriminator figure4."
            )

    @classmethod
    def flat(cls, **values: Any) -> TrainSettings:
        """The defaults with other values, named as the flags are. Raises TypeError for an unknown name."""
        return config.replace(cls(), **values)


FREE_TO_CHANGE = frozenset(
    {
        *("output", "data", "pack", "vgg", "device", "loader", "workers", "report_interval", "validation_interval"),
        *("validation_pictures", "checkpoint_interval", "keep_checkpoints"),
        *("phase", "resume", "allow_change", "recipe", "on_divergence"),
    }
)
"""Settings that a resumed run may change without changing a weight (other data is noticed by its content)."""


def changed(before: dict[str, Any], after: TrainSettings) -> dict[str, tuple[Any, Any]]:
    """Settings of a checkpoint that differ now: name -> (then, now). Retired settings are left out."""
    then = config.to_mapping(TrainSettings()) | before  # an older version had fewer settings, and used the defaults
    then["init"] = then["init"] or "none"
    return {name: (then[name], value) for name, value in config.to_mapping(after).items() if then[name] != value}


def _check_at_least(group: Any, minimum: int, *names: str) -> None:
    for name in names:
        if not minimum <= getattr(group, name) < math.inf:
            kind = "a whole number of at least 1" if minimum else "a number of at least 0"
            raise SettingsError(f"{name} is {kind}, got {getattr(group, name)}.")


def _check_fraction(group: Any, *names: str) -> None:
    for name in names:
        if not 0.0 <= getattr(group, name) < 1.0:
            raise SettingsError(f"{name} is a number from 0 to less than 1, got {getattr(group, name)}.")
