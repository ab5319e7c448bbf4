"""Which crops a step consists of: a function of (seed, phase, step)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError

_PHASES = {"pretrain": 1, "adversarial": 2, "sample": 3}


class Crops(NamedTuple):
    """The crops of one batch of N; positions in LR pixels, so that HR and LR always meet."""

    image: NDArray[np.int64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    symmetry: NDArray[np.int64]
    """Which of the eight of `srgan.image.symmetry`."""


def crops(
    seed: int,
    phase: str,
    step: int,
    *,
    batch: int,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    crop: int = 24,
) -> Crops:
    """The batch of a step: distinct images where there are enough (section 3.2), a random place and symmetry in each.

    `heights`, `widths`: of the LR images, pixels (P,); `crop`: of the LR, pixels. The same arguments give the
    same crops on every machine (NumPy's Philox). Raises DataError for an image smaller than the crop.
    """
    if min(heights.min(), widths.min()) < crop:
        smallest = int(np.argmin(np.minimum(heights, widths)))
        raise DataError(
            f"image {smallest} is {widths[smallest]}x{heights[smallest]} in LR pixels, smaller than the crop of {crop}."
        )
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _PHASES[phase], step])))
    image = rng.choice(len(heights), size=batch, replace=batch > len(heights)).astype(np.int64)
    top = rng.integers(0, heights[image] - crop + 1)
    left = rng.integers(0, widths[image] - crop + 1)
    symmetry = rng.integers(0, 8, size=batch)
    return Crops(image, top, left, symmetry)
