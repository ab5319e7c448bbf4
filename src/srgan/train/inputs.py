"""What a run starts from: device, pictures, VGG19, a first generator; each missing thing is a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from srgan.data.folders import sample_pairs, training_pairs, validation_pairs
from srgan.data.image_files import ImageFiles, open_image_files
from srgan.data.packed import PackedImages, pack_images
from srgan.errors import UsageError
from srgan.image.niqe import NiqeModel, read_niqe_model
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import FEATURE_SCALES
from srgan.model.generator import Generator, generator_from_weights
from srgan.model.vgg import VGG19
from srgan.train import validation
from srgan.train.settings import TrainSettings

Say = Callable[[str], None]


def device(settings: TrainSettings) -> torch.device:
    """The device that the settings name; auto: CUDA, else Apple's MPS, else the CPU."""
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if settings.device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if have[name]))
    if not have[settings.device]:
        raise UsageError(f"there is no {settings.device} device on this machine; use --device auto.")
    return torch.device(settings.device)


def config(settings: TrainSettings) -> GeneratorConfig:
    """The generator that the settings describe."""
    return GeneratorConfig(blocks=settings.blocks, width=settings.width, slopes=settings.slopes)


def pictures(
    settings: TrainSettings, target: Path, say: Say
) -> tuple[PackedImages | ImageFiles, list[validation.Example]]:
    """The training pictures, packed at `target` or left in their files, and the validation pictures, decoded."""
    root = data_root(settings)
    if root is not None:
        pairs, valid = training_pairs(root), validation_pairs(root)
    else:
        pairs, valid = sample_pairs()
        say(
            f"No --data and no folder data/: training on the {len(pairs)} public-domain photographs of "
            "scikit-image. Enough to see it work, not to get good pictures."
        )
    made: PackedImages | ImageFiles
    if settings.loader == "files":
        made = open_image_files(pairs, min_side=settings.crop)
    else:
        made = pack_images(pairs, target, min_side=settings.crop, workers=settings.workers)
    if not valid:
        say("There is no valid/ folder: no validation, and the last generator counts as the best.")
    return made, validation.examples(valid, settings.validation_pictures, degrade=settings.degrade)


def vgg_file(settings: TrainSettings) -> Path | None:
    """VGG19's file; None where the content loss is the pixels', as it may be for `quick`."""
    root = data_root(settings) or Path("data")
    path = settings.vgg or _vgg_below(root / "vgg19")
    judges = settings.discriminator == "features"
    if settings.content == "mse" or (path is None and settings.recipe == "quick" and not judges):
        return None
    if path is None or not path.is_file():
        needing = "the discriminator on features" if judges else f"the content loss {settings.content}"
        without = "--discriminator figure4" if judges else "--content mse"
        raise UsageError(
            f"{needing} needs VGG19's weights, and there are none in {settings.vgg or root / 'vgg19'}. Fetch them "
            f"with `srgan data fetch vgg19`, name the file with --vgg, or train with {without}."
        )
    return path


def features(settings: TrainSettings, say: Say) -> VGG19 | None:
    """VGG19 for the content loss and the discriminator on features; None where neither needs it."""
    path = vgg_file(settings)
    if path is None:
        if settings.content != "mse":
            say("There is no VGG19 file: the content loss is the pixels' mean squared error (--content mse).")
        return None
    seen = FEATURE_SCALES if settings.discriminator == "features" else ()
    return VGG19(path, layers=(settings.content.removeprefix("vgg"), *seen))


def initial(name: str | Path, settings: TrainSettings) -> Generator:
    """The generator of a weights file or a packaged model, if it is the network that the settings describe."""
    found = weights.read(name)
    if found.config != config(settings):
        raise UsageError(f"{name} is a {found.config}, but the settings ask for {config(settings)}.")
    return generator_from_weights(found).train()


def niqe_model(settings: TrainSettings) -> NiqeModel | None:
    """NIQE's model below the data folder, if it is there."""
    found = sorted(((data_root(settings) or Path("data")) / "niqe").glob("*.npz"))
    return read_niqe_model(found[0]) if found else None


def data_root(settings: TrainSettings) -> Path | None:
    """The data folder: the one named, else data/ if there is one."""
    return settings.data or (Path("data") if Path("data").is_dir() else None)


def _vgg_below(folder: Path) -> Path | None:
    found = sorted(path for path in folder.glob("*") if path.suffix in (".safetensors", ".npz", ".h5"))
    return found[0] if found else None
