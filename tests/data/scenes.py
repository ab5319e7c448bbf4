"""Images like photographs, made from seeds."""

import functools

import numpy as np
from numpy.typing import NDArray

from srgan.image import resize


@functools.cache
def scene(seed: int) -> NDArray[np.uint8]:
    """Noise with a falling spectrum, in colour, 150 to 250 pixels a side."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(150, 250, 2)
    sums = np.zeros((height, width, 3), np.float64)
    for cells in (4, 8, 16, 32):
        sums += resize.bicubic(rng.normal(size=(cells, cells, 3)), int(height), int(width)) * (8 / cells)
    return np.clip(128 + 30 * sums, 0, 255).astype(np.uint8)


def half(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At half the size."""
    return resize.bicubic(image, image.shape[0] // 2, image.shape[1] // 2).astype(np.uint8)
