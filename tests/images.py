"""Images that the tests make, as arrays and as files in memory."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.image.source import ImageBytes

Pixels = NDArray[np.uint8]


def photo(height: int = 200, width: int = 240, seed: int = 0) -> Pixels:
    """Smooth waves and a few edges, in colour, without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = []
    waves = sum(
        rng.normal() * np.sin(y * rng.uniform(0, 0.5) + x * rng.uniform(0, 0.5) + rng.uniform(0, 6)) for _ in range(12)
    )
    disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2
    for shift in (0, 20, -15):
        planes.append(128 + 18 * waves + shift * np.sin(x / 40) + 40 * disc)
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, form: str = "JPEG", **options: Any) -> ImageBytes:
    """The pixels as a file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return ImageBytes(data=file.getvalue(), name=f"image.{form.lower()}")


def decoded(file: ImageBytes) -> Pixels:
    """(H, W) of a grey file, (H, W, 3) of others."""
    image = Image.open(io.BytesIO(file.data))
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))
