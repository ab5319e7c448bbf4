"""Whether an image was compressed, is noisy or was drawn, so that restoring suits it, and how much texture it can take.

A JPEG says so itself, in its quantisation tables, and a lossy WebP by its kind.
For all others, and for what happened to an image before it was saved, the pixels say it: JPEG leaves the coefficients
of its 8 x 8 blocks at multiples of its steps, wherever the blocks begin, and noise is where the image is flattest.
Screenshots, drawings and palettes have few colours, and edges that no camera and no reduction made.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.image.resize import bicubic
from srgan.image.source import Source, jpeg_segments, open_bytes, webp_chunks
from srgan.upscale.flat import is_grey
from srgan.upscale.mixture import AUTO_TEXTURES, LESS_RESTORE
from srgan.upscale.tiled import PEAKS, ImageRegions

JPEG_QUALITY = 96
"""A JPEG of at most this quality comes out better restored (`scripts/restore-strength`, docs/log.md)."""
NOISE_SIGMA = 2.5
"""So does noise of at least this standard deviation, in 8-bit levels."""

_SIDE = 256
"""Side of the windows that are looked at; a whole image would cost more than it tells."""
_FITTED_SIDE, _RIM = 32, 4
"""Side of those that are upscaled, and the pixels at their edges that lack neighbours and are not compared."""
_QUALITIES, _TOLERANCES = (50.0, 75.0), (0.4, 0.95)
"""How much of bicubic's distance texture may change, by a JPEG's quality; linear between, constant outside.

Stronger compression leaves less detail in the file.
"""
_OWN_DETAIL = 3.0
"""Squared levels by which restoring may change an image more than its JPEG did; beyond, it takes away the image's own."""
_COMPRESSED = 0.8
"""The trust in compressed pixels (docs/log.md)."""
_SMALLEST = 24
"""Shortest side of an image that tells anything: three blocks."""
_WINDOWS = ((0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
Window = NDArray[np.float32]
"""Pixels (h, w, 3) in 0..255."""
_BLOCK = np.arange(8)
_DCT = (
    np.cos((2 * _BLOCK[None] + 1) * _BLOCK[:, None] * np.pi / 16) * np.where(_BLOCK, 0.5, 0.125**0.5)[:, None]
).astype(np.float32)
"""Orthonormal: coefficients of a column of 8 pixels are `_DCT @ column`."""
_HIGH = ((3, 3), (0, 5), (5, 0), (2, 5), (5, 2))
"""Frequencies that a JPEG sets to zero, on its own grid only."""
_Y = np.array([0.299, 0.587, 0.114], np.float32)
_DRAWN = "flat colours"


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How strongly to restore an image, 0 to 1, and why: "JPEG, quality about 52"; and its texture, 0 to 1.

    `quality`: of the JPEG that it is or was. `trust`: how exact its pixels are, 0 to 1 (`back_project`).
    """

    restore: float
    reason: str
    texture: float = AUTO_TEXTURES[0]
    quality: float | None = None
    trust: float = 0.0


def strength_of(image: ImageRegions, file: Source | None = None) -> Strength:
    """1 for an image whose header or pixels show compression or noise; 0 for a clean one.

    `file`: what the image was decoded from. Where its header cannot be read, the pixels alone decide.
    """
    # What the header says.
    if file is not None:
        quality = jpeg_quality(file)
        if quality is not None and quality <= JPEG_QUALITY:
            reason = f"JPEG, quality about {quality:.0f}"
            return Strength(restore=1.0, reason=reason, quality=quality, trust=_COMPRESSED)
        if is_lossy_webp(file):  # from quality 90 on, restoring costs up to 0.07 dB
            return Strength(restore=1.0, reason="lossy WebP", trust=_COMPRESSED)

    # What the pixels show.
    windows = _windows(image)
    if few := few_colours(windows):
        return Strength(restore=1.0, reason=few, trust=1.0 if few == _DRAWN else _COMPRESSED)
    quality = once_jpeg_quality(windows)
    if quality is not None and quality <= JPEG_QUALITY:
        reason = f"once a JPEG, quality about {quality:.0f}"
        return Strength(restore=1.0, reason=reason, quality=quality, trust=_COMPRESSED)
    sigma = noise_sigma(windows)
    if sigma >= NOISE_SIGMA:
        return Strength(restore=1.0, reason=f"noise, sigma about {sigma:.0f}")
    return Strength(restore=0.0, reason="clean", trust=1.0)


def fitted(
    strength: Strength,
    image: ImageRegions,
    upscale: Callable[[Window, float], Window],
    *,
    restore: bool = True,
    texture: bool = True,
) -> Strength:
    """The strength that fits a restored image: less where restoring takes away its own halos, and the texture it can take.

    `restore`, `texture`: which of the two may change.

    `upscale(window, texture)` makes (h, w, 3) in 0..255 four times larger with the given strength. With texture 0 that is
    about the mean of all images that the input may come from. Any other image's expected squared error is larger than
    that one's by the squared distance between the two. So texture may change the pixels as much as bicubic differs
    from texture 0.
    """
    quality = strength.quality if restore else None
    if quality is None and not texture:
        return strength
    windows = _windows(image, side=_FITTED_SIDE)
    exact = [upscale(window, 0.0) for window in windows]
    most, less = AUTO_TEXTURES
    if quality is not None and _removes_too_much(windows, exact, quality):
        return replace(strength, restore=LESS_RESTORE, texture=less if texture else strength.texture)
    if not texture:
        return strength
    lumas = [sr @ _Y for sr in exact]

    def distance(images: Sequence[Window]) -> float:
        return sum(_distance(a @ _Y, b, 4 * _RIM) for a, b in zip(images, lumas, strict=True))

    gained = distance([bicubic(window, 4 * window.shape[0], 4 * window.shape[1]) for window in windows])
    tolerance = float(np.interp(strength.quality or 100, _QUALITIES, _TOLERANCES))
    takes_most = distance([upscale(window, most) for window in windows]) <= tolerance * gained
    return replace(strength, texture=most if takes_most else less)


def _removes_too_much(windows: Sequence[Window], exact: Sequence[Window], quality: float) -> bool:
    """Whether the restored windows, made smaller again, differ from the input by more than a JPEG's error explains.

    That error is estimated by compressing the input again, its blocks shifted by half of their side.
    """
    removed = added = 0.0
    for window, sr in zip(windows, exact, strict=True):
        luma = window @ _Y
        shifted = np.pad(luma, ((4, 0), (4, 0)), mode="symmetric")
        file = io.BytesIO()
        Image.fromarray(np.rint(shifted).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=round(quality))
        removed += _distance(bicubic(sr @ _Y, *luma.shape), luma, _RIM)
        added += _distance(np.asarray(Image.open(file), np.float32)[4:, 4:], luma, _RIM)
    return removed > added + _OWN_DETAIL * len(windows)


def _distance(a: NDArray[np.float32], b: NDArray[np.float32], rim: int) -> float:
    """The mean squared difference inside the rim."""
    return float(np.square(a - b)[rim:-rim, rim:-rim].mean())


def few_colours(windows: Sequence[Window]) -> str | None:
    """What shows that the pixels were drawn as they are, or reduced to a palette: a photograph or a reduced image has ramps.

    `windows`: (h, w, 3) in 0..255. Both have edges. Drawn: at least 0.9 of the neighbours that are at most 4 levels apart
    are equal. A palette: at most 256 colours, not only greys, for four times as many pixels.
    """
    if not windows:
        return None
    lumas = [window @ _Y for window in windows]
    steps = np.abs(np.concatenate([np.diff(luma, axis=axis).ravel() for luma in lumas for axis in (0, 1)]))
    if np.count_nonzero(steps > 32) <= steps.size / 200:
        return None
    near = np.count_nonzero(steps <= 4)
    if np.count_nonzero(steps < 0.1) >= 0.9 * near and near > steps.size / 4:
        return _DRAWN
    pixels = np.concatenate([np.rint(window).astype(np.uint8).reshape(-1, 3) for window in windows])
    numbers = pixels @ np.array([1 << 16, 1 << 8, 1])
    if np.unique(numbers[::16]).size > 256 or is_grey(pixels):  # nearly all photographs
        return None
    return "at most 256 colours" if np.unique(numbers).size <= min(256, len(numbers) / 4) else None


def once_jpeg_quality(windows: Sequence[Window]) -> float | None:
    """The quality of the JPEG that these pixels once were, its blocks at any place; None for others.

    `windows`: (h, w, 3) in 0..255, their corners at multiples of 8. Follows Fan and de Queiroz (2003): the steps show
    as gaps between the coefficients.
    """
    lumas = [window @ _Y for window in windows]
    if not lumas:
        return None
    # Where do the blocks begin? Where most high frequencies are zero.
    zeros = sum(_zeros(luma, v, u) for luma in lumas for v, u in _HIGH)
    top, left = np.unravel_index(int(np.argmax(zeros)), (8, 8))
    blocks = np.concatenate([_blocks(luma[top:, left:]) for luma in lumas])
    # Each frequency's step, then the quality that most of them ask for.
    ratios = []
    for (v, u), step in LUMINANCE.items():
        quantised = _quantisation_step(np.einsum("i,nij,j->n", _DCT[v], blocks, _DCT[u]))
        ratios += [quantised / step] if quantised else []
    return quality(ratios) if len(ratios) > 3 else None


def noise_sigma(windows: Sequence[Window]) -> float:
    """The standard deviation of the noise, in 8-bit levels: where the image is flattest; 0 where texture may be all.

    Colour noise is measured between red and green, where images have little detail. Noise that is alike in all channels
    is believed where it is as strong at the finest frequencies as at the middle ones, which detail never is.
    """
    if not windows:
        return 0.0
    colour = np.concatenate([_laplacian_sigmas((window[..., 0] - window[..., 1]) / 2**0.5) for window in windows])
    sigma = 1.22 * float(np.percentile(colour, 10))
    if sigma > 2.4:
        return sigma
    blocks = np.concatenate([_blocks(window @ _Y) for window in windows])
    power = (_DCT @ blocks @ _DCT.T) ** 2
    v, u = np.indices((8, 8))
    finest, middle = power[:, (v >= 5) & (u >= 5)].mean(axis=1), power[:, (v + u >= 3) & (v + u <= 6)].mean(axis=1)
    flattest = np.argsort(middle)[: max(8, len(middle) // 10)]
    high, mid = finest[flattest].mean() ** 0.5, middle[flattest].mean() ** 0.5
    return float(high) if high > 2.2 and high > 0.75 * mid else 0.0


def _windows(image: ImageRegions, side: int = _SIDE) -> list[Window]:
    """Up to five windows, the middle and the corners, at multiples of 8; none of a tiny image."""
    height, width = min(side, image.height), min(side, image.width)
    if min(height, width) < _SMALLEST:
        return []
    places = [(int(y * (image.height - height)) // 8 * 8, int(x * (image.width - width)) // 8 * 8) for y, x in _WINDOWS]
    windows = []
    for top, left in dict.fromkeys(places):
        pixels = image.region(top, left, height, width)
        window = pixels.astype(np.float32) * np.float32(255.0 / PEAKS[pixels.dtype])
        windows.append(window if window.ndim == 3 else np.repeat(window[..., None], 3, axis=2))
    return windows


def _zeros(luma: NDArray[np.float32], v: int, u: int) -> NDArray[np.float64]:
    """(8, 8): for each place where blocks may begin, the number of blocks without this frequency."""
    height, width = (size - 7 for size in luma.shape)
    rows = sum(_DCT[v, i] * luma[i : i + height] for i in range(8))
    coefficients = sum(_DCT[u, j] * rows[:, j : j + width] for j in range(8))
    height, width = height // 8 * 8, width // 8 * 8
    zero = np.abs(coefficients[:height, :width]) < 0.7
    zeros: NDArray[np.float64] = zero.reshape(height // 8, 8, width // 8, 8).sum(axis=(0, 2), dtype=np.float64)
    return zeros


def _quantisation_step(coefficients: NDArray[np.float32]) -> int:
    """The largest whole step that the coefficients are multiples of, with rounding errors; 0 for none."""
    best = 0
    for step in range(2, 61):
        beyond = coefficients[np.abs(coefficients) > step / 2]  # those near zero fit every step
        if beyond.size < 24:
            break
        if np.cos(2 * np.pi / step * beyond).mean() > 0.3 + 2.5 / beyond.size**0.5:
            best = step
    return best


def _blocks(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) -> (n, 8, 8)."""
    height, width = (size // 8 for size in luma.shape)
    cut = luma[: 8 * height, : 8 * width].reshape(height, 8, width, 8)
    blocks: NDArray[np.float32] = cut.transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    return blocks


def _laplacian_sigmas(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise in each 8 x 8 block of (h, w) by Immerkaer (1996): blind to slopes, so detail adds little."""
    second = plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:]
    second = second[:-2] - 2 * second[1:-1] + second[2:]
    sigmas: NDArray[np.float32] = np.abs(_blocks(second)).mean(axis=(1, 2)) * np.float32((np.pi / 2) ** 0.5 / 6)
    return sigmas


LUMINANCE = {
    (0, 1): 11,
    (1, 0): 12,
    (2, 0): 14,
    (1, 1): 12,
    (0, 2): 10,
    (0, 3): 16,
    (1, 2): 14,
    (2, 1): 13,
    (3, 0): 14,
}
"""The nine lowest frequencies of the luminance table at quality 50, in a JPEG's zigzag order: (vertical, horizontal) -> step.

ITU-T T.81, table K.1.
"""


def jpeg_quality(source: Source) -> float | None:
    """libjpeg's quality, 1 to 100, whose luminance table is closest to the file's; None without readable tables."""
    try:
        with open_bytes(source) as file:
            if file.read(2) != b"\xff\xd8":
                return None
            for marker, _, body in jpeg_segments(file):
                tables = body if marker == 0xDB else b""
                while tables:
                    size = 2 if tables[0] >> 4 else 1
                    steps = [
                        int.from_bytes(tables[at : at + size], "big") for at in range(1 + size, 1 + 10 * size, size)
                    ]
                    if tables[0] & 15 == 0 and all(steps):
                        return quality([step / k1 for step, k1 in zip(steps, LUMINANCE.values(), strict=True)])
                    tables = tables[1 + 64 * size :]
    except OSError:
        pass
    return None


def is_lossy_webp(source: Source) -> bool:
    """Whether the file is a WebP with loss, a still or an animation."""
    try:
        with open_bytes(source) as file:
            return any(name == b"VP8 " for name, _, _ in webp_chunks(file))
    except OSError:
        return False


def quality(ratios: Sequence[float]) -> float:
    """libjpeg's quality from steps divided by those of quality 50."""
    scale = float(np.median(ratios))
    return 50 / scale if scale > 1 else 100 - 50 * scale
