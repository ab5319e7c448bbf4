"""Every setting of a training run; the recipes are functions that return these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srgan.config import to_mapping
from srgan.errors import SettingsError
from srgan.train.schedule import Decay


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How to train. Steps count per phase; one step is one update of the generator."""

    fetch: bool = False
    """First fetch DIV2K, VGG19, NIQE's model and the test sets into the data folder and check them; in the end score
    and report. The same command again goes on where it stopped."""
    evaluate: bool = False
    """In the end score both generators on the test sets below the data folder, and write report.html."""
    recipe: str = "paper"
    """Where the defaults come from: paper, div2k, quick or best."""
    data: Path | None = None
    """Folder with training pictures (DIV2K/, train/, or any pictures). Default: data/, if there is one."""
    output: Path | None = None
    """The run's folder. Default: runs/<recipe>."""
    phase: Literal["both", "pretrain", "adversarial"] = "both"
    """Train SRResNet (pretrain), SRGAN (adversarial), or one after the other."""
    init: str = ""
    """Start from this generator: a packaged model's name or a .safetensors file."""
    vgg: Path | None = None
    """VGG19's weights: a file made by `srgan data fetch vgg19`, Keras's "notop" file, or unpacked Caffe
    convolutions. Default: the one below <data>/vgg19."""

    degrade: bool = False
    """Train on LR crops with blur, noise and JPEG or WebP compression, as the images that people have; the HRs stay clean."""

    pretrain_steps: int = 1_000_000
    """Updates of the generator with the pixel loss alone (section 3.2: 1e6)."""
    train_steps: int = 200_000
    """Updates against the discriminator (section 3.2: 1e5, then 1e5 more at a tenth of the rate)."""
    batch_size: int = 16
    """Crops per update, over all GPUs together."""
    crop: int = 96
    """Side of the HR crops, pixels; a multiple of 16."""
    pretrain_learning_rate: float = 1e-4
    """Adam's step at its highest, pretraining."""
    learning_rate: float = 1e-4
    """Adam's step at its highest, adversarial training (both networks)."""
    discriminator_rate: float = 1.0
    """The discriminator's learning rate, in those of the generator."""
    pretrain_decay: Decay = "none"
    """Learning rate over pretraining: constant, dropped half-way, or cosine to zero."""
    decay: Decay = "half"
    """Learning rate over adversarial training."""
    drop: float = 0.1
    """Factor of the drop half-way."""
    warmup: int = 0
    """Steps at the start of each phase over which the learning rate climbs."""
    pretrain_optimizer: Literal["adam", "muon"] = "adam"
    """Of pretraining. muon: Muon for the kernels inside the generator, Adam for the rest. The adversarial phase has Adam."""
    b1: float = 0.9
    """Adam's beta 1."""
    b2: float = 0.999
    """Adam's beta 2."""
    ema: float = 0.0
    """Decay of the moving average of the generator's weights that is validated and saved; 0 = the weights."""

    pixel_loss: Literal["mse", "l1"] = "mse"
    """Loss of pretraining."""
    discriminator: Literal["figure4", "features"] = "figure4"
    """figure4: the paper's, which sees pictures. features: small convolutions on VGG19's maps (after Sauer et al. 2021), for
    runs of thousands of steps in place of a hundred thousand; with it the content loss has to be one of VGG19."""
    content: Literal["vgg54", "vgg22", "mse"] = "vgg54"
    """Content loss of adversarial training (table 1)."""
    content_weight: float = 1.0
    """Factor on the content loss, beside the paper's 1/12.75 on the features."""
    adversarial_weight: float = 1e-3
    """Factor on the adversarial loss (Equation 3)."""
    pixel_weight: float = 0.0
    """Factor on the pixels' mean absolute error in adversarial training; keeps colours, which phi_54 hardly sees."""
    texture_weight: float = 0.0
    """Factor on the difference of texture: Gram matrices, patch by patch, of the maps that --discriminator features sees."""
    grid_weight: float = 0.0
    """Factor on the part of the error that repeats at every LR pixel, a grid, in adversarial training."""
    shift: bool = False
    """Show the discriminator each step's crops moved by another 0 to 2 pixels, so that the generator does not
    learn the grid of its strides."""
    total_variation_weight: float = 2e-8
    """Factor on the total variation loss; only with --content vgg22."""

    blocks: int = 16
    """Residual blocks of the generator (B)."""
    width: int = 64
    """Feature maps of the generator."""
    slopes: Literal["channel", "layer"] = "channel"
    """PReLU slopes: one per channel or one per layer."""
    icnr: bool = False
    """Start the sub-pixel convolutions without a checkerboard (Aitken et al. 2017)."""

    freeze_batchnorm: bool = False
    """Train the generator with BatchNorm's statistics as they are at the start of each phase; pretraining
    then needs --init."""

    seed: int = 0
    """Decides the first weights and the crops of every step."""
    deterministic: bool = False
    """Only algorithms that give the same bits every time."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp64"] = "auto"
    """Of the networks' arithmetic; losses and BatchNorm statistics stay fp32. auto: bf16 on CUDA that has it.
    tf32: fp32 with CUDA's quicker multiplications. fp64: for comparisons."""
    compile: bool = True
    """On a GPU let torch.compile fuse the networks; where that fails, go on without and say so."""
    graph: bool = True
    """On CUDA, in one process, launch each step as one captured graph."""
    sync_batchnorm: bool = False
    """With torchrun: BatchNorm over the whole batch, not each process's part of it. Turns off --compile."""
    loader: Literal["auto", "device", "mapped", "files"] = "auto"
    """Where crops come from: the packed pictures on the device, in a memory-mapped file, or the picture files
    themselves (nothing is packed, every crop is decoded). auto: the device where they fit, else mapped."""
    workers: int = 2
    """Threads that decode pictures: when packing, or at every step with --loader files."""

    report_interval: int = 50
    """Steps between reports in journal.jsonl."""
    validation_interval: int = 1000
    """Steps between validations (upscale the validation pictures, score, save sample crops)."""
    validation_pictures: int = 24
    """How many validation pictures to score."""
    checkpoint_interval: int = 1000
    """Steps between checkpoints and generators kept."""
    keep_checkpoints: int = 2
    """Checkpoints to go on from that stay on disk; generators are never deleted."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """When a number is no longer finite: stop with exit code 3, or go back to the last checkpoint at half the rate."""
    max_rollbacks: int = 3
    """How often to go back before giving up."""
    resume: bool = False
    """Go on from the newest checkpoint of the output folder."""
    allow_change: tuple[str, ...] = ()
    """With --resume: settings that may differ from the checkpoint's although they change the result."""
    quiet: bool = False
    """No progress on stderr; warnings and errors remain."""

    def __post_init__(self) -> None:
        positive = (
            "batch_size",
            "crop",
            "blocks",
            "width",
            "report_interval",
            "validation_interval",
            "checkpoint_interval",
            "keep_checkpoints",
            "workers",
        )
        for name in positive:
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is a whole number of at least 1, got {getattr(self, name)}.")
        for name in (
            "pretrain_steps",
            "train_steps",
            "warmup",
            "validation_pictures",
            "seed",
            "max_rollbacks",
            "content_weight",
            "adversarial_weight",
            "pixel_weight",
            "texture_weight",
            "grid_weight",
            "discriminator_rate",
            "total_variation_weight",
        ):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} is at least 0, got {getattr(self, name)}.")
        for name in ("pretrain_learning_rate", "learning_rate", "drop"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise SettingsError(f"{name} is a number above 0, up to 1, got {getattr(self, name)}.")
        for name in ("b1", "b2", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingsError(f"{name} is a number from 0 to less than 1, got {getattr(self, name)}.")
        if self.freeze_batchnorm and self.phase != "adversarial" and not self.init:
            raise SettingsError(
                "freeze_batchnorm keeps the statistics of a trained generator, and pretraining has none to start "
                "from: name one with init (srresnet, or a .safetensors file)."
            )
        if self.texture_weight and self.discriminator != "features":
            raise SettingsError(
                "texture_weight compares VGG19's maps that the discriminator sees, and this one sees pictures: "
                "set discriminator features, or texture_weight 0."
            )
        if self.discriminator == "features" and self.content == "mse":
            raise SettingsError(
                "discriminator features looks through VGG19, which content mse does without: take --content vgg54 "
                "with it, or --discriminator figure4."
            )
        if self.degrade and self.loader == "device":
            raise SettingsError("degrade compresses the crops on the CPU: set loader auto, mapped or files.")
        if self.crop % 16:
            raise SettingsError(f"crop is a multiple of 16 (the discriminator halves it four times), got {self.crop}.")


FREE_TO_CHANGE = frozenset(
    {
        "output",
        "data",
        "vgg",
        "device",
        "graph",
        "loader",
        "workers",
        "report_interval",
        "validation_interval",
        "validation_pictures",
        "checkpoint_interval",
        "keep_checkpoints",
        "resume",
        "allow_change",
        "quiet",
        "recipe",
        "fetch",
        "evaluate",
    }
)
"""Settings that a resumed run may have otherwise without changing a weight (other data is noticed by its content)."""


def changed(before: dict[str, Any], after: TrainSettings) -> dict[str, tuple[Any, Any]]:
    """Settings of a checkpoint that differ now: name -> (then, now)."""
    then = to_mapping(TrainSettings()) | before  # an older version has fewer, and did as the defaults do
    return {name: (then[name], value) for name, value in to_mapping(after).items() if then[name] != value}
