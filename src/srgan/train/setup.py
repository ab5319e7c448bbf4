"""What a run starts from: device, images, VGG19, a first generator, a phase; UsageError for what is missing."""

import logging
from functools import partial
from pathlib import Path

import torch

from srgan import config
from srgan.data.folders import offers_training_images, sample_pairs, training_pairs, validation_pairs
from srgan.data.image_files import ImageFiles
from srgan.data.loader import TrainingImages, images_digest
from srgan.data.packed import pack_images
from srgan.errors import CheckpointError, UsageError
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import FEATURE_SCALES
from srgan.model.generator import Generator, freeze_batchnorm, generator_from_weights, init_weights
from srgan.model.vgg import VGG19
from srgan.train import checkpoints, validation
from srgan.train.checkpoints import Checkpoint
from srgan.train.distributed import Ranks, synchronise_batchnorm
from srgan.train.folder import RunFolder
from srgan.train.phases import Phase, adversarial, pretraining
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


def resolve(settings: TrainSettings, folder: RunFolder) -> TrainSettings:
    """The settings as they are used: the folder, the content loss that there is a VGG19 for, the first generator."""
    content, init = settings.losses.content, settings.run.init
    if content == "auto":
        content = "vgg54" if vgg_file(settings) else "mse"
        if content == "mse" and settings.run.phase != "pretrain":
            log.warning("There is no VGG19 file: the content loss is the pixels' mean squared error (--content mse).")
    if init == "auto":
        init = "srresnet" if weights.read("srresnet").config == generator_config(settings) else "none"
        if init == "none":
            log.info("The packaged srresnet has other blocks, width or slopes: starting from random weights.")
    if settings.run.phase == "adversarial" and init != "none" and init == _init_of_pretraining(folder):
        init = "none"  # what the pretraining in this folder made of it
    return config.replace(settings, output=folder.root, content=content, init=init)


def _init_of_pretraining(folder: RunFolder) -> str | None:
    """What the pretraining in a folder began with; None where there is none that the adversarial phase can follow."""
    paths = checkpoints.list_checkpoints(folder.checkpoints)
    if not paths or not folder.best("pretrain").exists():
        return None
    try:
        newest = checkpoints.read(paths[0])
    except CheckpointError:
        return None
    return str(newest.metadata["settings"]["init"]) if newest.phase == "pretrain" else None


def load_images(settings: TrainSettings, folder: RunFolder) -> tuple[TrainingImages, list[validation.ValidationImage]]:
    """The training images, packed or left in their files, and the validation images, decoded."""
    root = settings.data.root
    if settings.data.data is not None or offers_training_images(root):
        pairs, valid = training_pairs(root), validation_pairs(root)
    else:
        pairs, valid = sample_pairs()
        log.warning(
            f"No --data and no training images in {root}/: training on the {len(pairs)} public-domain photographs of "
            "scikit-image. Enough to see it work, not to get good images."
        )
    images: TrainingImages
    if settings.data.loader == "files":
        images = ImageFiles(pairs, min_side=settings.data.crop)
    else:
        target = settings.data.pack or folder.root / "data.pack"
        images = pack_images(pairs, target, min_side=settings.data.crop, workers=settings.data.workers)
    count = settings.reports.validation_pictures
    validation_images = validation.load_validation(valid, count, degrade=settings.data.degrade)
    if not validation_images:
        log.warning("There are no validation images (valid/): the last generator counts as the best.")
    return images, validation_images


def vgg_file(settings: TrainSettings) -> Path | None:
    """VGG19's file; None where the content loss is the pixels', or `auto` and there is none."""
    given = settings.networks.vgg
    folder = given if given is not None and given.is_dir() else settings.data.root / "vgg19"
    below = sorted(path for path in folder.glob("*") if path.suffix in (".safetensors", ".npz", ".h5"))
    path = given if given is not None and given != folder else next(iter(below), None)
    on_features = settings.networks.discriminator == "features"
    content = settings.losses.content
    if content == "mse" or (content == "auto" and path is None and given is None and not on_features):
        return None
    if path is None or not path.is_file():
        user = "the discriminator on features" if on_features else f"the content loss {content}"
        without = "--discriminator figure4" if on_features else "--content mse"
        raise UsageError(
            f"{user} needs VGG19's weights, and there are none at {path or folder}. Fetch them "
            f"with `srgan data fetch vgg19`, name the file with --vgg, or train with {without}."
        )
    return path


def load_vgg(settings: TrainSettings) -> VGG19 | None:
    """VGG19 for the content loss and the discriminator on features; None where neither needs it."""
    path = vgg_file(settings)
    if path is None:
        return None
    seen = FEATURE_SCALES if settings.networks.discriminator == "features" else ()
    return VGG19(path, layers=(settings.losses.content.removeprefix("vgg"), *seen))


def generator_config(settings: TrainSettings) -> GeneratorConfig:
    """The generator that the settings describe."""
    networks = settings.networks
    return GeneratorConfig(blocks=networks.blocks, width=networks.width, slopes=networks.slopes)


def first_weights(name: str, settings: TrainSettings, folder: RunFolder) -> weights.Weights | None:
    """What a phase starts from that follows no other: --init, else (adversarial) the best SRResNet; None: the seed."""
    init, best = settings.run.init, folder.best("pretrain")
    if init == "none" and name == "pretrain":
        return None
    if init == "none" and not best.exists():
        raise UsageError(
            "the adversarial phase starts from a trained SRResNet: name one with --init "
            f"(srresnet, or a .safetensors file), or pretrain into {folder.root} first."
        )
    source = weights.read(best) if init == "none" else weights.read_sum(init)
    if source.config != (wanted := generator_config(settings)):
        raise UsageError(f"{source.name} is a {source.config}, but the settings ask for {wanted}.")
    return source


def build_phase(
    name: str,
    settings: TrainSettings,
    device: torch.device,
    *,
    ranks: Ranks,
    folder: RunFolder,
    vgg: VGG19 | None,
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
    elif source := first_weights(name, settings, folder):
        generator = generator_from_weights(source).train()
    else:
        init_weights(generator, seed=settings.run.seed, icnr=settings.networks.icnr)

    # BatchNorm, then the phase around it.
    if settings.networks.freeze_batchnorm:
        freeze_batchnorm(generator)
    if settings.speed.sync_batchnorm and ranks.world_size > 1:
        synchronise_batchnorm(generator, device)
    teacher = None
    if settings.losses.pixel_loss == "ensemble" and name == "pretrain":
        teacher = generator_from_weights(weights.read_sum(settings.run.init), folded=True)
    build = partial(pretraining, teacher=teacher) if name == "pretrain" else partial(adversarial, vgg=vgg)
    phase = build(generator, settings=settings, device=device, ranks=ranks)

    # Its state.
    if checkpoint is not None:
        phase.load_state_dict(checkpoint.tensors)
    ranks.broadcast(phase.state_dict().values())
    return phase


def check_same_run(checkpoint: Checkpoint, settings: TrainSettings, images: TrainingImages) -> None:
    """Raise CheckpointError where resuming with these settings or images would change the result."""
    differences = changed(dict(checkpoint.metadata["settings"]), settings)
    for name, (then, now) in differences.items():
        if name not in ("resume", "allow_change"):
            log.info(f"Setting changed since the checkpoint: {name} was {then}, is {now}.")
    allowed = settings.run.allow_change
    shapes = {"blocks", "width", "slopes"}
    if checkpoint.phase == "adversarial":
        shapes |= {"discriminator"} if settings.networks.discriminator == "features" else {"discriminator", "crop"}
    if impossible := sorted(shapes & set(differences)):
        raise CheckpointError(
            f"the checkpoint's networks have another {' and '.join(impossible)}, which a resumed run cannot change. "
            "Leave it as it was, or start a new run in another --output."
        )
    refused = sorted(set(differences) - FREE_TO_CHANGE - set(allowed))
    if refused:
        raise CheckpointError(
            f"resuming with other settings would change the result: {', '.join(refused)}. "
            f"Leave them as they were, or allow it: --allow-change {' '.join(refused)}."
        )
    if "loader" in differences and "files" in differences["loader"]:
        # The fingerprints of packed images and of image files are of different kinds.
        same = checkpoint.metadata.get("sizes", images_digest(images)) == images_digest(images)
    else:
        same = checkpoint.metadata["data"] == images.fingerprint
    if not same and "data" not in allowed:
        raise CheckpointError(
            "the training images are not those of the checkpoint; restore them, or allow it: --allow-change data."
        )
    threads = checkpoint.metadata["threads"]
    if settings.speed.deterministic and threads != torch.get_num_threads():
        log.warning(
            f"the checkpoint was made with {threads} threads, this process has {torch.get_num_threads()}: "
            "sums are computed in another order, so the bits will differ."
        )
