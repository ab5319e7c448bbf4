"""Bytes of a picture to bytes of a picture, by the very steps of `srgan upscale`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import numpy as np

from srgan import Upscaler
from srgan.errors import ImageError
from srgan.image import files
from srgan.image.decode import format_of
from srgan.image.files import Image, ImageBytes, Limits, uint8_from_uint16
from srgan.image.metrics import score
from srgan.image.niqe import read_niqe_model
from srgan.image.resize import bicubic
from srgan.serve.wish import SUFFIX, Wish
from srgan.upscale.array import ArraySource, array_put

Progress = Callable[[int, int], None]
LEAST_SCORED = 32
"""Pixels that each side needs for the windows of the scores."""


def size(source: ImageBytes, limits: Limits) -> tuple[int, int]:
    """(height, width) from the header. Raises ImageError."""
    return files.size(source, limits=limits)


def upscaled(
    upscaler: Upscaler,
    source: ImageBytes,
    wish: Wish,
    limits: Limits,
    began: Callable[[Image], None],
    progress: Progress,
) -> tuple[bytes, str]:
    """The larger picture's bytes and its format, a key of FORMATS. Raises ImageError."""
    own = format_of(source).lower()
    kind = wish.format or (own if own in SUFFIX else "png")
    picture = files.read_image(source, limits=limits)
    height, width = (wish.scale * side for side in picture.pixels.shape[:2])
    target = f"the answer{SUFFIX[kind]}"
    files.check_target(target, height=height, width=width, alpha=picture.alpha is not None)
    began(picture)
    pixels = np.empty((height, width, *picture.pixels.shape[2:]), picture.pixels.dtype)
    alpha = None if picture.alpha is None else np.empty((height, width), picture.alpha.dtype)
    made = upscaler.deliver(
        ArraySource(picture.pixels, picture.alpha),
        array_put(pixels, alpha),
        scale=wish.scale,
        progress=progress,
    )
    larger = dataclasses.replace(picture, pixels=pixels, alpha=alpha)
    provenance = upscaler.provenance(made.grid, scale=wish.scale) if wish.provenance else None
    return files.encode_image(larger, SUFFIX[kind], provenance=provenance), kind


def views(picture: Image, scale: int) -> tuple[bytes, bytes]:
    """The picture, and its exact bicubic enlargement, as PNG for a browser to show."""
    height, width = picture.pixels.shape[:2]
    larger = dataclasses.replace(
        picture,
        pixels=bicubic(picture.pixels, scale * height, scale * width),
        alpha=None if picture.alpha is None else bicubic(picture.alpha, scale * height, scale * width),
    )
    return files.encode_image(picture, ".png"), files.encode_image(larger, ".png")


def view(data: bytes) -> bytes:
    """A picture of ours as PNG."""
    return files.encode_image(files.read_image(ImageBytes(data=data, name="the result")), ".png")


def scored(sr: bytes, reference: ImageBytes, limits: Limits, niqe: Path | None) -> dict[str, float | None]:
    """psnr_y, ssim_daala and niqe of a result against its reference, by the protocol; None where there is none.

    A reference that is a few pixels larger loses them at its right and lower edge, as the protocol crops.
    """
    ours = uint8_from_uint16(files.read_image(ImageBytes(data=sr, name="the result"), limits=limits).pixels)
    true = uint8_from_uint16(files.read_image(reference, limits=limits).pixels)
    (height, width), (true_height, true_width) = ours.shape[:2], true.shape[:2]
    if not (0 <= true_height - height < 4 and 0 <= true_width - width < 4):
        raise ImageError(
            f"the original is {true_width}x{true_height}, but the result is {width}x{height}; "
            "choose the picture that the small one was made from."
        )
    if min(height, width) < LEAST_SCORED:
        raise ImageError(f"the result is {width}x{height}; scores need at least {LEAST_SCORED} pixels a side.")
    model = read_niqe_model(niqe) if niqe is not None else None
    scores = score(ours, true[:height, :width], niqe_model=model)
    values = {"psnr_y": scores.psnr_y, "ssim_daala": scores.ssim_daala, "niqe": scores.niqe}
    return {name: value if value is not None and isfinite(value) else None for name, value in values.items()}
