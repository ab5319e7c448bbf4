"""Clean LR crops -> LR crops as people have them: blurred, sharpened, noisy, compressed; a function of the seed."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Crop = NDArray[np.uint8]
Damage = Literal["none", "compression", "all"]
"""What happens to the LRs of a training run: nothing; JPEG or WebP; these, blur, sharpening and noise."""

GRID = 16
"""LR pixels after which a JPEG's blocks repeat (4:2:0)."""
_PHASES = {"pretrain": 1, "adversarial": 2, "validation": 3}
_SUBSAMPLINGS = ("4:2:0", "4:4:4", "4:2:2")


def degrade_batch(lr: Crop, damage: Damage, *, seed: int, phase: str, step: int, first: int = 0) -> Crop:
    """Degrade each crop of (N, H, W, 3) by its own random choice; "none": the crops as they are.

    `first` is the index of the first crop in the whole batch of the step, so that each rank of a job degrades its part
    as one process would. The same arguments give the same crops (NumPy's Philox, libjpeg, libwebp).
    """
    if damage == "none":
        return lr
    keys = [np.random.SeedSequence([seed, 0xDE6, _PHASES[phase], step, first + i]) for i in range(len(lr))]
    rngs = [np.random.Generator(np.random.Philox(key)) for key in keys]
    return np.stack([degrade(crop, damage, rng) for crop, rng in zip(lr, rngs, strict=True)])


def degrade(lr: Crop, damage: Damage, rng: np.random.Generator) -> Crop:
    """One image (H, W, 3) after the damage's parts, each with its own probability.

    "all": one image in five stays as it is; "compression": one in 25.
    """
    everything = damage == "all"
    if rng.random() < (0.2 if everything else 0.04):
        return lr
    # Mirror the image, so that the blocks of the compression begin anywhere in it.
    height, width = lr.shape[:2]
    top, left = (int(offset) for offset in rng.integers(0, GRID, 2))
    margins = ((top, GRID - top), (left, GRID - left), (0, 0))
    pixels = np.pad(lr, margins, mode="symmetric")
    if everything:
        pixels = _camera(pixels, rng)
    # Storage.
    if not everything or rng.random() < 0.85:
        if rng.random() < 0.15:
            pixels = _compressed_before(pixels, rng)
        pixels = _compress(pixels, rng)
    return pixels[top : top + height, left : left + width]


def jpeg(pixels: Crop, quality: int, subsampling: str = "4:2:0") -> Crop:
    """The pixels (H, W, 3) or (H, W) after a JPEG of this quality (libjpeg's scale, 1 to 100)."""
    return _decoded(compressed(pixels, "JPEG", quality=quality, subsampling=subsampling))


def compressed(pixels: Crop, form: str, **options: object) -> bytes:
    """The pixels as a file that Pillow writes: "JPEG" (quality, subsampling), "WEBP" ..."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def _camera(pixels: Crop, rng: np.random.Generator) -> Crop:
    """Blur of a lens, sharpening and a sensor's noise."""
    image = pixels.astype(np.float32)
    if rng.random() < 0.3:
        image = _blur(image, rng.uniform(0.2, 0.9))
    if rng.random() < 0.15:
        image += rng.uniform(0.2, 0.8) * (image - _blur(image, rng.uniform(0.5, 1.2)))
    if rng.random() < 0.35:
        image += _noise(image.shape, rng)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _compress(pixels: Crop, rng: np.random.Generator) -> Crop:
    quality = int(rng.integers(25, 96))
    if rng.random() < 0.1:
        return _decoded(compressed(pixels, "WEBP", quality=quality, method=0))
    return jpeg(pixels, quality, str(rng.choice(_SUBSAMPLINGS, p=(0.7, 0.25, 0.05))))


def _compressed_before(pixels: Crop, rng: np.random.Generator) -> Crop:
    """Compressed an earlier time: on another grid, or at a larger size and then made smaller."""
    height, width = pixels.shape[:2]
    if rng.random() < 0.5:
        scale = rng.uniform(1.1, 2.0)
        larger = Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
        filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
        smaller = Image.fromarray(_compress(np.asarray(larger), rng)).resize((width, height), filters[rng.integers(3)])
        return np.asarray(smaller)
    shift = tuple(int(offset) for offset in rng.integers(0, GRID, 2))
    return np.roll(_compress(np.roll(pixels, shift, (0, 1)), rng), (-shift[0], -shift[1]), (0, 1))


def _decoded(file: bytes) -> Crop:
    image = Image.open(io.BytesIO(file))
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise of up to 8 levels: grey, coloured, or coloured alone; at times as coarse as demosaicing makes it."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    kind = rng.choice(("grey", "colour", "chroma"), p=(0.35, 0.45, 0.2))
    if kind == "grey":
        noise = np.repeat(noise[..., :1], 3, axis=2)
    elif kind == "chroma":
        noise -= noise.mean(axis=2, keepdims=True)
    if rng.random() < 0.4:
        noise = _blur(noise, rng.uniform(0.4, 1.0))
        noise /= noise.std() + 1e-6
    return np.float32(rng.uniform(0.0, 8.0)) * noise


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur along both axes, border mirrored."""
    reach = max(1, round(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, padding, mode="symmetric")
        length = image.shape[axis]
        image = sum(k * padded.take(range(i, i + length), axis=axis) for i, k in enumerate(kernel))
    return image
