"""Bytes of a picture to bytes of a picture, by the very steps of `srgan upscale`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from math import isfinite
from pathlib import Path

from srgan import Upscaler
from srgan.errors import PictureError
from srgan.picture import files
from srgan.picture.files import Limits, Picture, eight_bit
from srgan.picture.opening import format_of
from srgan.picture.resize import bicubic
from srgan.web.wish import SUFFIX, Wish

Progress = Callable[[int, int], None]
LEAST_SCORED = 32
"""Pixels that each side needs for the windows of the scores."""


def _ram() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(dir="/dev/shm")


def size(data: bytes, limits: Limits) -> tuple[int, int]:
    """(height, width) from the header. Raises PictureError."""
    with _ram() as d:
        p = Path(d) / "picture"
        p.write_bytes(data)
        return files.size(p, limits=limits)


def read_buffer(data: bytes, limits: Limits) -> Picture:
    with _ram() as d:
        p = Path(d) / "picture"
        p.write_bytes(data)
        return files.read(p, limits=limits)


def kind_of(data: bytes) -> str:
    with _ram() as d:
        p = Path(d) / "picture"
        p.write_bytes(data)
        return format_of(p).lower().replace("gif", "png")


def write_buffer(picture: Picture, kind: str, provenance: dict[str, str] | None = None) -> bytes:
    with _ram() as d:
        p = Path(d) / ("picture" + SUFFIX[kind])
        files.write(p, picture, provenance=provenance)
        return p.read_bytes()


def upscaled(
    upscaler: Upscaler,
    data: bytes,
    wish: Wish,
    limits: Limits,
    began: Callable[[Picture], None],
    progress: Progress,
) -> tuple[bytes, str]:
    """The larger picture's bytes and its format, a key of FORMATS."""
    kind = wish.format or kind_of(data)
    picture = read_buffer(data, limits)
    began(picture)
    larger = upscaler._picture(picture, wish.scale, progress)
    return write_buffer(larger, kind, upscaler.describe() if wish.provenance else None), kind


def views(picture: Picture, scale: int) -> tuple[bytes, bytes]:
    """The picture, and its exact bicubic enlargement, as PNG for a browser to show."""
    height, width = picture.pixels.shape[:2]
    larger = dataclasses.replace(
        picture,
        pixels=bicubic(picture.pixels, scale * height, scale * width),
        alpha=None if picture.alpha is None else bicubic(picture.alpha, scale * height, scale * width),
    )
    return write_buffer(picture, "png"), write_buffer(larger, "png")


def view(data: bytes) -> bytes:
    """A picture of ours as PNG."""
    return write_buffer(read_buffer(data, Limits()), "png")


def scored(sr: bytes, reference: bytes, limits: Limits, niqe: Path | None) -> dict[str, float | None]:
    """psnr_y, ssim_daala and niqe of a result against its reference, by the protocol; None where there is none.

    A reference that is a few pixels larger loses them at its right and lower edge, as the protocol crops.
    """
    from srgan.evaluation import score
    from srgan.picture.niqe import read_niqe_model

    ours = eight_bit(read_buffer(sr, limits).pixels)
    true = eight_bit(read_buffer(reference, limits).pixels)
    (height, width), (true_height, true_width) = ours.shape[:2], true.shape[:2]
    if not (0 <= true_height - height < 4 and 0 <= true_width - width < 4):
        raise PictureError(
            f"the original is {true_width}x{true_height}, but the result is {width}x{height}; "
            "choose the picture that the small one was made from."
        )
    if min(height, width) < LEAST_SCORED:
        raise PictureError(
            f"the result is {width}x{height}; scores need at least {LEAST_SCORED} pixels a side."
        )
    model = read_niqe_model(niqe) if niqe is not None else None
    scores = score(ours, true[:height, :width], niqe_model=model)
    values = {"psnr_y": scores.psnr_y, "ssim_daala": scores.ssim_daala, "niqe": scores.niqe}
    return {name: value if value is not None and isfinite(value) else None for name, value in values.items()}
