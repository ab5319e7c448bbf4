"""Scores on a test set: of a model, or of somebody's images. Every number is of the 8-bit image that would be saved."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.data import degrade
from srgan.data.pairs import Pair
from srgan.errors import DataError, ImageError
from srgan.image import metrics
from srgan.image.files import read_array
from srgan.image.metrics import SCALE, SMALLEST_HR, NiqeModel, Scores
from srgan.image.resize import cropped, downscaled
from srgan.image.source import ImageBytes

log = logging.getLogger("srgan")

Image = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""
Upscale = Callable[[Image | ImageBytes], Image]
"""An LR image, or a JPEG of one -> the image, four times larger."""
OnImage = Callable[[str, Scores], None]
"""Called with each image's name and scores as they come."""


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """A set's means over images, and each image's scores by name."""

    mean: Scores
    images: Mapping[str, Scores]


def scorable(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs that can be scored; others are named in a warning. Every file is decoded, so that none fails later.

    Raises DataError for an LR that is not a quarter of its HR, and where no pair is left.
    """
    usable, reasons = [], []
    for pair in pairs:
        try:
            hr_size, *lr_size = (read_array(path).shape[:2] for path in (pair.hr, pair.lr) if path)
        except ImageError as error:
            reasons.append(str(error))
            continue
        if min(hr_size) < SMALLEST_HR:
            needed = f"scoring needs at least {SMALLEST_HR} pixels on each side"
            reasons.append(f"{pair.hr} is {hr_size[1]}x{hr_size[0]}, and {needed}.")
            continue
        if lr_size:
            pair.check_sizes(hr_size, lr_size[0])
        usable.append(pair)
    for reason in reasons if usable else ():
        log.warning(f"left out: {reason}")
    if not usable:
        raise DataError(f"no image can be scored: {reasons[0]}")
    return usable


def evaluate(
    upscale: Upscale,
    pairs: Iterable[Pair],
    *,
    niqe_model: NiqeModel | None = None,
    on_image: OnImage | None = None,
    jpeg: int | None = None,
) -> SetScores:
    """Scores of `upscale`. `jpeg`: quality of a JPEG (4:2:0) that each LR image becomes first. Raises DataError."""

    def sr(pair: Pair, hr: Image) -> Image:
        lr = read_array(pair.lr) if pair.lr else downscaled(hr, SCALE)
        if jpeg is None:
            image = upscale(lr)
        else:
            file = degrade.compressed(lr, "JPEG", quality=jpeg, subsampling="4:2:0")
            image = upscale(ImageBytes(data=file, name=f"{pair.name}.jpg"))
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
    """Scores of super-resolved `files`, one of the right size for each pair's name, as `match_results` finds them."""
    return _evaluate(lambda pair, hr: read_array(files[pair.name]), pairs, niqe_model, on_image)


def _evaluate(
    sr: Callable[[Pair, Image], Image],
    pairs: Iterable[Pair],
    niqe_model: NiqeModel | None,
    on_image: OnImage | None,
) -> SetScores:
    images = {}
    for pair in pairs:
        hr = cropped(read_array(pair.hr), SCALE)
        height, width = hr.shape[:2]
        if min(height, width) < SMALLEST_HR:
            needed = f"scoring needs at least {SMALLEST_HR} x {SMALLEST_HR} pixels"
            raise DataError(f"{pair.hr}, cropped to a multiple of {SCALE}, is {width}x{height}; {needed}.")
        images[pair.name] = metrics.score(sr(pair, hr), hr, niqe_model=niqe_model)
        if on_image:
            on_image(pair.name, images[pair.name])
    return SetScores(mean=metrics.mean_scores(images.values()), images=images)
