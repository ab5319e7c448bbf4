"""Full settings for training, as functions; `docs/paper.md` lists the deviations from the paper."""

from collections.abc import Callable

from srgan import config
from srgan.train.settings import TrainSettings


def paper() -> TrainSettings:
    """Section 3.2: 1e6 steps at 1e-4, then 1e5 at 1e-4 and 1e5 at 1e-5, batches of 16, Adam(0.9, 0.999)."""
    return TrainSettings.flat(
        recipe="paper",
        pretrain_steps=1_000_000,
        train_steps=200_000,
        validation_interval=5_000,
        checkpoint_interval=5_000,
    )


def div2k() -> TrainSettings:
    """The original project's defaults: 2,286 and 457 steps, the rate halved at each phase's half."""
    return TrainSettings.flat(
        recipe="div2k",
        pretrain_steps=2286,
        train_steps=457,
        pretrain_decay="half",
        decay="half",
        drop=0.5,
        validation_interval=500,
        checkpoint_interval=500,
    )


def quick() -> TrainSettings:
    """Minutes on two CPU cores, from the packaged SRResNet: to see the whole path once, report included."""
    return TrainSettings.flat(
        recipe="quick",
        init="auto",
        pretrain_steps=100,
        train_steps=40,
        batch_size=4,
        pretrain_learning_rate=2e-5,
        learning_rate=2e-5,
        pretrain_decay="cosine",
        decay="half",
        content="auto",
        compile=False,
        report_interval=10,
        validation_interval=100,
        validation_pictures=2,
        checkpoint_interval=100,
    )


def best() -> TrainSettings:
    """What validates best at the budget of the packaged weights; see docs/results.md."""
    return TrainSettings.flat(
        recipe="best",
        pretrain_steps=300_000,
        train_steps=60_000,
        pretrain_learning_rate=2e-4,
        pretrain_decay="cosine",
        decay="cosine",
        pixel_loss="l1",
        ema=0.999,
        warmup=200,
        icnr=True,
        discriminator="features",
        discriminator_rate=8.0,
        adversarial_weight=0.15,
        content_weight=1 / 16,
        texture_weight=0.35,
        pixel_weight=0.7,
        grid_weight=300.0,
        shift=True,
        validation_interval=5_000,
        checkpoint_interval=5_000,
    )


def photo() -> TrainSettings:
    """From the packaged SRResNet on degraded LRs, for compressed and noisy images; see docs/results.md."""
    return config.replace(
        best(),
        recipe="photo",
        init="srresnet",
        degrade="all",
        freeze_batchnorm=True,
        pretrain_optimizer="muon",
        pretrain_steps=3_600,
        train_steps=1_500,
        batch_size=8,
        pretrain_learning_rate=3e-4,
        learning_rate=3e-4,
        warmup=50,
        texture_weight=0.5,
        adversarial_weight=0.1,
        pixel_weight=1.0,
        ema=0.998,
        validation_interval=500,
        validation_pictures=8,
        checkpoint_interval=250,
    )


RECIPES: dict[str, Callable[[], TrainSettings]] = {
    recipe.__name__: recipe for recipe in (paper, div2k, quick, best, photo)
}
