"""RGB -> Y, the one channel on which super-resolution is scored."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def y_from_rgb(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """Luma Y (H, W) in 16..235, not rounded, of RGB (H, W, 3) in 0..255: ITU-R BT.601, studio range."""
    red, green, blue = (rgb[..., channel].astype(np.float64) for channel in range(3))
    return np.asarray(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255)


def y_from_picture(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Y (H, W) of a picture in 0..255: of (H, W, 3) its luma; a grey (H, W) is its own Y, unscaled."""
    return picture.astype(np.float64) if picture.ndim == 2 else y_from_rgb(picture)
