"""The scores of one picture, and of a set: every number is about the 8-bit picture that would be saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.picture.files import read_array
from srgan.picture.luma import y_from_picture
from srgan.picture.metrics import psnr, shave, ssim_daala, ssim_wang
from srgan.picture.niqe import BLOCK, NiqeModel, niqe
from srgan.picture.resize import bicubic, cropped, downscaled

Picture = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB."""

SCALE = 4
SHAVED = 4
SMALLEST = 11 + 2 * SHAVED
"""Below this height or width no SSIM window fits."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one picture, or the means of several."""

    psnr_y: float
    """dB on Y; infinite for an equal picture."""
    psnr_rgb: float
    """dB over the three channels together."""
    ssim_wang: float
    ssim_daala: float
    niqe: float | None
    """None without NIQE's model, or for a picture under two blocks of 96 x 96 or without texture."""


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


def score(sr: Picture, hr: Picture, *, niqe_model: NiqeModel | None = None) -> Scores:
    """Scores of a super-resolved picture against the true one of the same height and width (protocol, 2).

    Where one is grey and the other RGB, `sr` becomes what `hr` is: the rounded mean of its channels, or its
    grey three times.
    """
    sr = _of_the_kind_of(hr, sr)
    sr, hr = shave(sr, SHAVED), shave(hr, SHAVED)
    sr_y, hr_y = y_from_picture(sr), y_from_picture(hr)
    return Scores(
        psnr_y=psnr(sr_y, hr_y),
        psnr_rgb=psnr(sr, hr),
        ssim_wang=ssim_wang(sr_y, hr_y),
        ssim_daala=ssim_daala(sr_y, hr_y),
        niqe=_niqe(sr_y, niqe_model),
    )


def mean(scores: Iterable[Scores]) -> Scores:
    """The mean of each score over pictures; NIQE's is None where a picture has none."""
    rows = list(scores)
    if not rows:
        raise ValueError("no pictures were scored, so there is no mean")
    naturalness = [row.niqe for row in rows if row.niqe is not None]
    return Scores(
        psnr_y=float(np.mean([row.psnr_y for row in rows])),
        psnr_rgb=float(np.mean([row.psnr_rgb for row in rows])),
        ssim_wang=float(np.mean([row.ssim_wang for row in rows])),
        ssim_daala=float(np.mean([row.ssim_daala for row in rows])),
        niqe=float(np.mean(naturalness)) if len(naturalness) == len(rows) else None,
    )


def bicubic_x4(lr: Picture) -> Picture:
    """The control: MATLAB's bicubic at x4."""
    return bicubic(lr, lr.shape[0] * SCALE, lr.shape[1] * SCALE)


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
    return SetScores(mean=mean(pictures.values()), pictures=pictures)


def _lr(pair: TestPair, hr: Picture) -> Picture:
    if pair.lr is None:
        return downscaled(hr, SCALE)
    lr = read_array(pair.lr)
    if (lr.shape[0] * SCALE, lr.shape[1] * SCALE) != hr.shape[:2]:
        quarter = f"{hr.shape[1] // SCALE}x{hr.shape[0] // SCALE}"
        raise DataError(f"{pair.lr} is {_size(lr)}, but {pair.hr} / {SCALE} is {quarter}; are they a pair?")
    return lr


def _of_the_kind_of(hr: Picture, sr: Picture) -> Picture:
    if sr.ndim == hr.ndim:
        return sr
    if hr.ndim == 2:
        return np.asarray(np.floor(sr.mean(axis=2) + 0.5), np.uint8)
    return np.repeat(sr[..., None], 3, axis=2)


def _niqe(y: NDArray[np.float64], model: NiqeModel | None) -> float | None:
    if model is None or (y.shape[0] // BLOCK) * (y.shape[1] // BLOCK) < 2:
        return None
    value = niqe(y, model)
    return None if math.isnan(value) else value


def _size(picture: Picture) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
