"""Scores on a test set: of a model, or of somebody's images. Every number is of the 8-bit image that would be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.data.pairs import Pair
from srgan.errors import DataError
from srgan.image import metrics
from srgan.image.files import read_array
from srgan.image.metrics import SCALE, SMALLEST, Scores
from srgan.image.niqe import NiqeModel
from srgan.image.resize import cropped, downscaled

Image = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""
OnImage = Callable[[str, Scores], None]
"""Called with each image's name and scores as they come."""


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """A set's means over images, and each image's scores by name."""

    mean: Scores
    images: Mapping[str, Scores]


def evaluate(
    upscale: Callable[[Image], Image],
    pairs: Iterable[Pair],
    *,
    niqe_model: NiqeModel | None = None,
    on_image: OnImage | None = None,
) -> SetScores:
    """Scores of `upscale`: (H, W) or (H, W, 3) -> the same kind, four times larger. Raises DataError."""

    def sr(pair: Pair, hr: Image) -> Image:
        image = upscale(_lr(pair, hr))
        if image.dtype != np.uint8 or image.shape[:2] != hr.shape[:2]:
            raise ValueError(f"upscaling gave {image.dtype} {image.shape}, {pair.name} is uint8 {hr.shape}")
        return image

    return _evaluate(sr, pairs, niqe_model, on_image)


def evaluate_images(
    files: Mapping[str, Path],
    pairs: Iterable[Pair],
    *,
    niqe_model: NiqeModel | None = None,
    on_image: OnImage | None = None,
) -> SetScores:
    """Scores of super-resolved `files`, one for each pair's name. Raises DataError."""

    def sr(pair: Pair, hr: Image) -> Image:
        image = read_array(files[pair.name])
        if image.shape[:2] != hr.shape[:2]:
            expected = f"{pair.hr} (cropped to a multiple of {SCALE}) is {_size(hr)}"
            raise DataError(f"{files[pair.name]} is {_size(image)}, but {expected}; is it of another set or scale?")
        return image

    return _evaluate(sr, pairs, niqe_model, on_image)


def _evaluate(
    sr: Callable[[Pair, Image], Image],
    pairs: Iterable[Pair],
    niqe_model: NiqeModel | None,
    on_image: OnImage | None,
) -> SetScores:
    images = {}
    for pair in pairs:
        hr = cropped(read_array(pair.hr), SCALE)
        if min(hr.shape[:2]) < SMALLEST:
            raise DataError(f"{pair.hr} is {_size(hr)}; scoring needs at least {SMALLEST} x {SMALLEST} pixels.")
        images[pair.name] = metrics.score(sr(pair, hr), hr, niqe_model=niqe_model)
        if on_image:
            on_image(pair.name, images[pair.name])
    return SetScores(mean=metrics.mean_scores(images.values()), images=images)


def _lr(pair: Pair, hr: Image) -> Image:
    if pair.lr is None:
        return downscaled(hr, SCALE)
    lr = read_array(pair.lr)
    pair.check_sizes((hr.shape[0], hr.shape[1]), (lr.shape[0], lr.shape[1]))
    return lr


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
