"""The scores of one picture, and of a set: every number is about the 8-bit picture that would be saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.image.files import read_array
from srgan.image.metrics import SCALE, SMALLEST, Scores, mean_scores, score
from srgan.image.niqe import NiqeModel
from srgan.image.resize import cropped, downscaled

Picture = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """A set's means over pictures, and each picture's scores by name."""

    mean: Scores
    pictures: Mapping[str, Scores]


class TestPair(Protocol):
    """A picture to be scored on; without `lr` it is made by the exact bicubic."""

    @property
    def name(self) -> str: ...
    @property
    def hr(self) -> Path: ...
    @property
    def lr(self) -> Path | None: ...


Report = Callable[[str, Scores], None]
"""Called with each picture's name and scores as they come."""


def evaluate(
    upscale: Callable[[Picture], Picture],
    pairs: Iterable[TestPair],
    *,
    niqe_model: NiqeModel | None = None,
    report: Report | None = None,
) -> SetScores:
    """Scores of `upscale`, which takes and gives (H, W) or (H, W, 3), on each pair. Errors: DataError."""

    def sr(pair: TestPair, hr: Picture) -> Picture:
        made = upscale(_lr(pair, hr))
        if made.dtype != np.uint8 or made.shape[:2] != hr.shape[:2]:
            raise ValueError(f"upscaling gave {made.dtype} {made.shape}, {pair.name} is uint8 {hr.shape}")
        return made

    return _evaluate(sr, pairs, niqe_model, report)


def evaluate_pictures(
    pictures: Mapping[str, Path],
    pairs: Iterable[TestPair],
    *,
    niqe_model: NiqeModel | None = None,
    report: Report | None = None,
) -> SetScores:
    """Scores of the files `pictures`, one for each pair's name. Errors: DataError."""

    def sr(pair: TestPair, hr: Picture) -> Picture:
        made = read_array(pictures[pair.name])
        if made.shape[:2] != hr.shape[:2]:
            found, wanted = _size(made), f"{pair.hr} (cropped to a multiple of {SCALE}) is {_size(hr)}"
            raise DataError(f"{pictures[pair.name]} is {found}, but {wanted}; is it of another set or scale?")
        return made

    return _evaluate(sr, pairs, niqe_model, report)


def _evaluate(
    sr: Callable[[TestPair, Picture], Picture],
    pairs: Iterable[TestPair],
    niqe_model: NiqeModel | None,
    report: Report | None,
) -> SetScores:
    pictures = {}
    for pair in pairs:
        hr = cropped(read_array(pair.hr), SCALE)
        if min(hr.shape[:2]) < SMALLEST:
            raise DataError(f"{pair.hr} is {_size(hr)}; scoring needs at least {SMALLEST} x {SMALLEST} pixels.")
        pictures[pair.name] = score(sr(pair, hr), hr, niqe_model=niqe_model)
        if report:
            report(pair.name, pictures[pair.name])
    return SetScores(mean=mean_scores(pictures.values()), pictures=pictures)


def _lr(pair: TestPair, hr: Picture) -> Picture:
    if pair.lr is None:
        return downscaled(hr, SCALE)
    lr = read_array(pair.lr)
    if (lr.shape[0] * SCALE, lr.shape[1] * SCALE) != hr.shape[:2]:
        quarter = f"{hr.shape[1] // SCALE}x{hr.shape[0] // SCALE}"
        raise DataError(f"{pair.lr} is {_size(lr)}, but {pair.hr} / {SCALE} is {quarter}; are they a pair?")
    return lr


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
