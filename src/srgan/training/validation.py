"""How good the generator is at this step: scores on validation pictures, fixed crops to look at, GAN artefacts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from srgan import evaluation
from srgan.data.folders import Pair
from srgan.networks.generator import Generator
from srgan.picture import files, resize
from srgan.picture.niqe import NiqeModel

SAMPLE = 192
"""Side of a sample crop, HR pixels."""


class Example(NamedTuple):
    """A validation picture: its name, LR (H, W, 3) and HR (4H, 4W, 3), uint8."""

    name: str
    lr: NDArray[np.uint8]
    hr: NDArray[np.uint8]


def examples(pairs: Sequence[Pair], count: int) -> list[Example]:
    """The first `count` validation pictures, decoded; LR by the exact bicubic where no file is given."""
    found = []
    for pair in pairs[:count]:
        hr = resize.cropped(files.read_rgb8(pair.hr))
        lr = files.read_rgb8(pair.lr) if pair.lr is not None else resize.downscaled(hr)
        found.append(Example(pair.name, lr, hr))
    return found


@torch.no_grad()
def upscaled(generator: Generator, lr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) through a generator in evaluation mode, rounded as it would be saved: (4H, 4W, 3)."""
    device = next(generator.parameters()).device
    unit = torch.from_numpy(lr.copy()).to(device).permute(2, 0, 1)[None].float() / 255.0
    return rounded(generator(unit.contiguous(memory_format=torch.channels_last)))


def rounded(sr_signed: torch.Tensor) -> NDArray[np.uint8]:
    """Output of a generator (1, 3, H, W) -> uint8 (H, W, 3), clamped and rounded half up, once."""
    levels = ((sr_signed[0].float() + 1.0) * 127.5 + 0.5).clamp(0.0, 255.0).floor()
    return np.ascontiguousarray(levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def scores(generator: Generator, found: Sequence[Example], niqe_model: NiqeModel | None) -> dict[str, float]:
    """Mean scores over the examples; `niqe` only with its model."""
    each = [evaluation.score(upscaled(generator, e.lr), e.hr, niqe_model=niqe_model) for e in found]
    mean = dataclasses.asdict(evaluation.mean(each))
    return {name: value for name, value in mean.items() if value is not None}


def sample_sheet(generator: Generator, found: Sequence[Example], columns: int = 3) -> NDArray[np.uint8]:
    """Centre crops of the first six examples, upscaled, side by side: (rows * 192, columns * 192, 3)."""
    side = SAMPLE // 4
    tiles = []
    for example in found[:6]:
        height, width = example.lr.shape[:2]
        top, left = max(0, (height - side) // 2), max(0, (width - side) // 2)
        sr = upscaled(generator, example.lr[top : top + side, left : left + side])
        tile = np.full((SAMPLE, SAMPLE, 3), 128, np.uint8)
        tile[: sr.shape[0], : sr.shape[1]] = sr
        tiles.append(tile)
    tiles += [np.full_like(tiles[0], 128)] * (-len(tiles) % columns)
    return np.concatenate([np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)])


@torch.no_grad()
def batchnorm_gap(generator: Generator, lr_unit: torch.Tensor) -> float:
    """Mean difference, in levels of 255, between the output in training mode and in evaluation mode."""
    was = generator.training
    evaluated = generator.eval()(lr_unit)
    twin = copy.deepcopy(generator).train()
    gap = (twin(lr_unit) - evaluated).abs().mean() * 127.5
    generator.train(was)
    return float(gap)


def checkerboard(picture: NDArray[np.uint8]) -> float:
    """Strength, in levels of 255, of a pattern that repeats every 4 pixels: 0 for a picture without one.

    The standard deviation over the 16 places of a 4x4 grid of what remains of Y after a 5x5 box blur is taken away.
    """
    y = picture.astype(np.float64).mean(axis=2)
    padded = np.pad(y, 2, mode="reflect")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    blurred = (sums[5:, 5:] - sums[:-5, 5:] - sums[5:, :-5] + sums[:-5, :-5]) / 25.0
    rest = (y - blurred)[: y.shape[0] // 4 * 4, : y.shape[1] // 4 * 4]
    phases = rest.reshape(rest.shape[0] // 4, 4, rest.shape[1] // 4, 4).mean(axis=(0, 2))
    return float(phases.std())
