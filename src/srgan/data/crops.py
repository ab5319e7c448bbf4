"""Which crops a step is made of: a function of (seed, phase, step), and the only randomness there is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError

_PHASES = {"pretrain": 1, "adversarial": 2, "sample": 3}


class Crops(NamedTuple):
    """The crops of one batch of N; positions in LR pixels, so that HR and LR always meet."""

    picture: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    turn: NDArray[np.int64]
    """Which of the eight symmetries of the square: 1 = mirrored left-right, + 2 = upside down, + 4 = transposed."""


def crops(
    *,
    seed: int,
    phase: str,
    step: int,
    batch: int,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    crop: int = 24,
    turn: bool = True,
) -> Crops:
    """The batch of a step: distinct pictures where there are enough (section 3.2), a random place and turn in each.

    `heights`, `widths`: of the LR pictures, pixels (P,); `crop`: of the LR, pixels. The same arguments give the
    same crops on every machine (NumPy's Philox).
    """
    if min(heights.min(), widths.min()) < crop:
        smallest = int(np.argmin(np.minimum(heights, widths)))
        raise DataError(
            f"picture {smallest} is {widths[smallest]}x{heights[smallest]} in LR pixels, smaller than the crop of {crop}."
        )
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _PHASES[phase], step])))
    picture = rng.choice(len(heights), size=batch, replace=batch > len(heights)).astype(np.int64)
    top = rng.integers(0, heights[picture] - crop + 1)
    left = rng.integers(0, widths[picture] - crop + 1)
    turns = rng.integers(0, 8, size=batch) if turn else np.zeros(batch, np.int64)
    return Crops(picture, top, left, turns)


def turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """A square crop (S, S, 3) after one of the eight symmetries; a view."""
    if turn & 1:
        pixels = pixels[:, ::-1]
    if turn & 2:
        pixels = pixels[::-1]
    if turn & 4:
        pixels = pixels.transpose(1, 0, 2)
    return pixels
