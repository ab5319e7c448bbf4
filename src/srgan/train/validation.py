"""The generator's quality at a step: scores on validation images, sample crops, GAN artefacts."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srgan.data.degrade import Damage, degrade_batch
from srgan.data.pairs import Pair
from srgan.errors import ImageError
from srgan.image import metrics
from srgan.image.metrics import NiqeModel
from srgan.model.config import receptive_field
from srgan.model.generator import Generator, freeze_batchnorm
from srgan.upscale.tile_plan import cheapest_grid, whole

log = logging.getLogger("srgan")

Image = NDArray[np.uint8]
TILE_PIXELS = 1 << 18
"""LR pixels that go through the network at once: 1.1 GB for the largest activation of 64 feature maps."""
SAMPLE = 192
"""Side of a sample crop, HR pixels."""


class ValidationImage(NamedTuple):
    """A validation image: its name, LR (H, W, 3) and HR (4H, 4W, 3), uint8."""

    name: str
    lr: Image
    hr: Image


def load_validation(pairs: Sequence[Pair], count: int, *, degrade: Damage = "none") -> list[ValidationImage]:
    """The first `count` validation images, decoded; LR by the exact bicubic where no file is given.

    `degrade`: each LR gets its own damage, the same in every run. Images that cannot be read or are too small to score
    are named in a warning and left out. Raises DataError for an LR of another size.
    """
    images: list[ValidationImage] = []
    for pair in pairs:
        if len(images) == count:
            break
        try:
            hr, lr = pair.read()
        except ImageError as error:
            log.warning(f"Left out of the validation: {error}")
            continue
        if min(hr.shape[:2]) < metrics.SMALLEST_HR:
            log.warning(f"Left out of the validation: {pair.hr} is smaller than {metrics.SMALLEST_HR} pixels.")
            continue
        lr = degrade_batch(lr[None], degrade, seed=0, phase="validation", step=0, first=len(images))[0]
        images.append(ValidationImage(pair.name, lr, hr))
    return images


def digest(images: Sequence[ValidationImage], niqe_model: NiqeModel | None) -> str:
    """A hash over what a validation score depends on, beside the generator: scores compare where it is equal."""
    total = hashlib.sha256(f"niqe: {niqe_model is not None}".encode())
    for pixels in (pixels for image in images for pixels in (image.lr, image.hr)):
        total.update(np.ascontiguousarray(pixels).data)
    return total.hexdigest()


@torch.no_grad()
def upscaled(generator: Generator, lr: Image) -> Image:
    """An image (H, W, 3) through a generator in evaluation mode, rounded as it would be saved: (4H, 4W, 3).

    A large image goes through in tiles whose halo is the receptive field, so that memory stays bounded.
    """
    like = next(generator.parameters())
    bounds, halo = whole(*lr.shape[:2]), receptive_field(generator.config).total
    grid = cheapest_grid(*lr.shape[:2], halo, TILE_PIXELS)
    assert grid is not None, "a tile of one pixel with its halo fits"
    sr = np.empty((4 * lr.shape[0], 4 * lr.shape[1], 3), np.uint8)
    for tile in grid.tiles(bounds):
        region = tile.padded(halo, bounds)
        unit = torch.from_numpy(lr[region.slices()].copy()).permute(2, 0, 1)[None].to(like) / 255.0
        sr_region = uint8_from_signed(generator(unit.contiguous(memory_format=torch.channels_last)))
        sr[tile.scaled(4).slices()] = sr_region[tile.relative_to(region).scaled(4).slices()]
    return sr


def uint8_from_signed(sr_signed: torch.Tensor) -> Image:
    """Output of a generator (1, 3, H, W) -> uint8 (H, W, 3), clamped and rounded half up, once."""
    levels = ((sr_signed[0].float() + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0).floor()
    return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def scores(
    upscale: Callable[[Image], Image], images: Sequence[ValidationImage], niqe_model: NiqeModel | None
) -> dict[str, float]:
    """Mean scores of `upscale` over the images; `niqe` only with its model."""
    each = [metrics.score(upscale(e.lr), e.hr, niqe_model=niqe_model) for e in images]
    mean = dataclasses.asdict(metrics.mean_scores(each))
    return {name: value for name, value in mean.items() if value is not None}


def sample_sheet(generator: Generator, images: Sequence[ValidationImage]) -> Image:
    """Centre crops of the first six images, upscaled, at most three in a row: (rows * 192, columns * 192, 3)."""
    return _sheet([upscaled(generator, _centre(image.lr, SAMPLE // 4)) for image in images[:6]])


def reference_sheets(images: Sequence[ValidationImage]) -> dict[str, Image]:
    """The same crops by bicubic, and the originals, to compare samples with; none without images."""
    if not images:
        return {}
    bicubic = [metrics.bicubic_x4(_centre(image.lr, SAMPLE // 4)) for image in images[:6]]
    return {"bicubic": _sheet(bicubic), "hr": _sheet([_centre(image.hr, SAMPLE) for image in images[:6]])}


def _centre(image: Image, side: int) -> Image:
    """At most `side` pixels square from the middle, at a multiple of side / 48 so that LR and HR meet."""
    unit = side // (SAMPLE // 4)
    top, left = (max(0, (length // unit - SAMPLE // 4) // 2) * unit for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def _sheet(images: Sequence[Image]) -> Image:
    columns, tiles = min(3, len(images)), []
    for image in images:
        tile = np.full((SAMPLE, SAMPLE, 3), 128, np.uint8)
        tile[: image.shape[0], : image.shape[1]] = image
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 128)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)])


@torch.no_grad()
def batchnorm_gap(generator: Generator, lr_unit: torch.Tensor) -> float:
    """Mean difference, in levels of 255, between the output in training mode and in evaluation mode; 0 when frozen."""
    was = generator.training
    evaluated = generator.eval()(lr_unit)
    plain = Generator(generator.config).to(lr_unit).train()  # with BatchNorms that wait for no other process
    plain.load_state_dict(generator.state_dict())
    if generator.batchnorm_frozen:
        freeze_batchnorm(plain)
    gap = (plain(lr_unit) - evaluated).abs().mean() * 127.5
    generator.train(was)
    return float(gap)


def checkerboard(image: Image) -> float:
    """Strength, in levels of 255, of a pattern that repeats every 4 pixels: 0 for an image without one.

    The standard deviation over the 16 places of a 4x4 grid of what remains of Y after a 5x5 box blur is taken away.
    """
    y = image.astype(np.float64).mean(axis=2)
    sums = np.pad(np.pad(y, 2, mode="reflect").cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    blurred = (sums[5:, 5:] - sums[:-5, 5:] - sums[5:, :-5] + sums[:-5, :-5]) / 25.0
    rest = (y - blurred)[: y.shape[0] // 4 * 4, : y.shape[1] // 4 * 4]
    phases = rest.reshape(rest.shape[0] // 4, 4, rest.shape[1] // 4, 4).mean(axis=(0, 2))
    return float(phases.std())
