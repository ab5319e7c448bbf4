"""What a run starts from: device, images, VGG19, a first generator, a phase; each missing thing is a sentence."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from srgan.data.folders import sample_pairs, training_pairs, validation_pairs
from srgan.data.image_files import ImageFiles, open_image_files
from srgan.data.packed import PackedImages
from srgan.data.packing import pack_images
from srgan.errors import CheckpointError, UsageError
from srgan.image.niqe import NiqeModel, read_niqe_model
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import FEATURE_SCALES
from srgan.model.generator import Generator, freeze_batchnorm, generator_from_weights, init_weights
from srgan.model.vgg import VGG19
from srgan.train import validation
from srgan.train.checkpoints import Checkpoint
from srgan.train.distributed import Ranks, synchronise_batchnorm
from srgan.train.folder import RunFolder
from srgan.train.phases import Adversarial, Phase, Pretraining
from srgan.train.settings import FREE_TO_CHANGE, TrainSettings, changed

log = logging.getLogger("srgan")


def pick_device(settings: TrainSettings) -> torch.device:
    """The device that the settings name; auto: CUDA, else Apple's MPS, else the CPU."""
    name = settings.speed.device
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(each for each, there in available.items() if there))
    if not available[name]:
        raise UsageError(f"there is no {name} device on this machine; use --device auto.")
    return torch.device(name)


def data_root(settings: TrainSettings) -> Path | None:
    """The data folder: --data, else data/ if it exists."""
    return settings.data.data or (Path("data") if Path("data").is_dir() else None)


def load_images(
    settings: TrainSettings, target: Path
) -> tuple[PackedImages | ImageFiles, list[validation.ValidationImage]]:
    """The training images, packed at `target` or left in their files, and the validation images, decoded."""
    root = data_root(settings)
    if root is not None:
        pairs, valid = training_pairs(root), validation_pairs(root)
    else:
        pairs, valid = sample_pairs()
        log.warning(
            f"No --data and no folder data/: training on the {len(pairs)} public-domain photographs of "
            "scikit-image. Enough to see it work, not to get good images."
        )
    images: PackedImages | ImageFiles
    if settings.data.loader == "files":
        images = open_image_files(pairs, min_side=settings.data.crop)
    else:
        images = pack_images(pairs, target, min_side=settings.data.crop, workers=settings.data.workers)
    if not valid:
        log.warning("There is no valid/ folder: no validation, and the last generator counts as the best.")
    return images, validation.load_validation(
        valid, settings.reports.validation_pictures, degrade=settings.data.degrade
    )


def load_niqe_model(settings: TrainSettings) -> NiqeModel | None:
    """NIQE's model below the data folder, if it is there."""
    paths = sorted(((data_root(settings) or Path("data")) / "niqe").glob("*.npz"))
    return read_niqe_model(paths[0]) if paths else None


def vgg_file(settings: TrainSettings) -> Path | None:
    """VGG19's file; None where the content loss is the pixels', which recipe `quick` falls back to."""
    folder = (data_root(settings) or Path("data")) / "vgg19"
    below = sorted(path for path in folder.glob("*") if path.suffix in (".safetensors", ".npz", ".h5"))
    path = settings.networks.vgg or (below[0] if below else None)
    on_features = settings.networks.discriminator == "features"
    content = settings.losses.content
    if content == "mse" or (path is None and settings.run.recipe == "quick" and not on_features):
        return None
    if path is None or not path.is_file():
        user = "the discriminator on features" if on_features else f"the content loss {content}"
        without = "--discriminator figure4" if on_features else "--content mse"
        raise UsageError(
            f"{user} needs VGG19's weights, and there are none in {settings.networks.vgg or folder}. Fetch them "
            f"with `srgan data fetch vgg19`, name the file with --vgg, or train with {without}."
        )
    return path


def load_vgg(settings: TrainSettings) -> VGG19 | None:
    """VGG19 for the content loss and the discriminator on features; None where neither needs it."""
    path = vgg_file(settings)
    if path is None:
        if settings.losses.content != "mse":
            log.warning("There is no VGG19 file: the content loss is the pixels' mean squared error (--content mse).")
        return None
    seen = FEATURE_SCALES if settings.networks.discriminator == "features" else ()
    return VGG19(path, layers=(settings.losses.content.removeprefix("vgg"), *seen))


def generator_config(settings: TrainSettings) -> GeneratorConfig:
    """The generator that the settings describe."""
    networks = settings.networks
    return GeneratorConfig(blocks=networks.blocks, width=networks.width, slopes=networks.slopes)


def load_generator(name: str | Path, settings: TrainSettings) -> Generator:
    """The generator of a weights file or a packaged model, if it is the network that the settings describe."""
    source = weights.read(name)
    if source.config != generator_config(settings):
        raise UsageError(f"{name} is a {source.config}, but the settings ask for {generator_config(settings)}.")
    return generator_from_weights(source).train()


def build_phase(
    name: str,
    settings: TrainSettings,
    device: torch.device,
    *,
    ranks: Ranks,
    folder: RunFolder,
    checkpoint: Checkpoint | None,
    previous: Generator | None,
) -> Phase:
    """A phase at its start, or in the state of `checkpoint`, the same on every rank.

    The generator comes from the checkpoint, else from the `previous` phase, else from --init, else (adversarial) from the
    best SRResNet in the run's folder, else (pretrain) from the seed.
    """
    # The generator's start.
    generator = Generator(generator_config(settings))
    if checkpoint is not None or not ranks.is_main:
        pass  # its tensors come from the checkpoint, or from rank 0
    elif previous is not None:
        generator.load_state_dict(previous.state_dict())
    elif settings.run.init:
        generator = load_generator(settings.run.init, settings)
    elif name == "adversarial":
        best = folder.best("pretrain")
        if not best.exists():
            raise UsageError(
                "the adversarial phase starts from a trained SRResNet: name one with --init "
                f"(srresnet, or a .safetensors file), or pretrain into {folder.root} first."
            )
        generator = load_generator(best, settings)
    else:
        init_weights(generator, seed=settings.run.seed, icnr=settings.networks.icnr)

    # BatchNorm, then the phase around it.
    if settings.networks.freeze_batchnorm:
        freeze_batchnorm(generator)
    if settings.speed.sync_batchnorm and ranks.world_size > 1:
        synchronise_batchnorm(generator, device)
    phase: Phase
    if name == "pretrain":
        phase = Pretraining(generator, settings, device, ranks=ranks)
    else:
        phase = Adversarial(generator, load_vgg(settings), settings, device, ranks=ranks)

    # Its state.
    if checkpoint is not None:
        phase.load_state_dict(checkpoint.tensors)
    ranks.broadcast(phase.state_dict().values())
    return phase


def check_same_run(checkpoint: Checkpoint, settings: TrainSettings, fingerprint: str) -> None:
    """Raise CheckpointError where resuming with these settings or images (`fingerprint`) would change the result."""
    differences = changed(dict(checkpoint.metadata["settings"]), settings)
    for name, (then, now) in differences.items():
        if name not in ("resume", "allow_change"):
            log.info(f"Setting changed since the checkpoint: {name} was {then}, is {now}.")
    allowed = settings.run.allow_change
    refused = sorted(set(differences) - FREE_TO_CHANGE - set(allowed))
    if refused:
        raise CheckpointError(
            f"resuming with other settings would change the result: {', '.join(refused)}. "
            f"Leave them as they were, or allow it: --allow-change {' '.join(refused)}."
        )
    if checkpoint.metadata["data"] != fingerprint and "data" not in allowed:
        raise CheckpointError(
            "the training images are not those of the checkpoint; restore them, or allow it: --allow-change data."
        )
    threads = checkpoint.metadata["threads"]
    if settings.speed.deterministic and threads != torch.get_num_threads():
        log.warning(
            f"the checkpoint was made with {threads} threads, this process has {torch.get_num_threads()}: "
            "sums are computed in another order, so the bits will differ."
        )
