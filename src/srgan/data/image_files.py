"""Training images that stay in their files: their sizes are read at the start, each crop is decoded when due."""

import hashlib
import itertools
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from srgan.data.pairs import Pair
from srgan.errors import DataError, ImageError
from srgan.image import files, resize

log = logging.getLogger("srgan")

BICUBIC_SUPPORT = 8
"""HR pixels beyond a crop that the x1/4 bicubic reads, rounded up to a multiple of 4."""


class ImageFiles:
    """A training set in its files, in the order of `names`; the counterpart of `PackedImages`.

    `heights`, `widths`: of the HRs after cropping to multiples of 4, int64 (P,). `fingerprint`: SHA-256 over names, sizes
    and lengths of the files; it differs from that of the same images packed. `skipped`: a sentence for each image that is
    not used. Raises DataError where no HR has `min_side` pixels on its shorter side, or a pair's sizes do not match.
    """

    def __init__(self, pairs: Sequence[Pair], *, min_side: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(_size_or_reason, pairs))
        used: list[tuple[Pair, int, int]] = []
        skipped: list[str] = []
        for pair, size in zip(pairs, sizes, strict=True):
            if isinstance(size, str):
                skipped.append(size)
            elif min(size) < min_side:
                skipped.append(f"{pair.hr} is {size[1]}x{size[0]}, smaller than the crop of {min_side}.")
            else:
                used.append((pair, size[0] // 4 * 4, size[1] // 4 * 4))
        if not used:
            raise DataError(f"No training image (of {len(pairs)}) can be used; the first: {skipped[0]}")
        self.pairs, self.skipped = [pair for pair, _, _ in used], tuple(skipped)
        self.damaged: set[int] = set()
        """Positions of the images that could not be decoded."""
        self.names = tuple(pair.name for pair in self.pairs)
        self.heights, self.widths = np.array([size for _, *size in used], dtype=np.int64).T
        lengths = [[path.stat().st_size for path in (pair.hr, pair.lr) if path] for pair in self.pairs]
        identity = [(p.name, height, width, *each) for (p, height, width), each in zip(used, lengths, strict=True)]
        self.fingerprint = hashlib.sha256(json.dumps(["unpacked", identity]).encode()).hexdigest()

    def crop(self, index: int, top: int, left: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """LR (side, side, 3) and HR (4 side, 4 side, 3) at `top`, `left`; all in LR pixels.

        A damaged image is left out: the crop is one of the next image. Raises DataError where a file is gone or has
        another size than at the start, and where all images are damaged.
        """
        order = itertools.chain(range(index, len(self.pairs)), range(index))
        for position in itertools.filterfalse(self.damaged.__contains__, order):
            pair, height, width = self.pairs[position], int(self.heights[position]), int(self.widths[position])
            try:
                hr = resize.cropped(files.read_rgb8(pair.hr))
                lr = files.read_rgb8(pair.lr) if pair.lr else None
            except ImageError as error:
                if not all(path.exists() for path in (pair.hr, pair.lr) if path):
                    raise DataError(f"{error} Restore it, then use --resume.") from error
                self.damaged.add(position)
                log.warning(f"{error} It is left out; `srgan data check` finds all such files.")
                continue
            if hr.shape[:2] != (height, width) or (lr is not None and lr.shape[:2] != (height // 4, width // 4)):
                raise DataError(f"{pair.hr} or its LR changed its size during training; start again.")
            # The next image may be smaller.
            top, left = top % (height // 4 - side + 1), left % (width // 4 - side + 1)
            hr_crop = hr[4 * top : 4 * (top + side), 4 * left : 4 * (left + side)]
            if lr is None:
                return lr_from_hr_region(hr, top, left, side), hr_crop
            return lr[top : top + side, left : left + side], hr_crop
        raise DataError(f"All {len(self.pairs)} training images are damaged, {self.pairs[index].hr} among them.")


def lr_from_hr_region(hr: NDArray[np.uint8], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """The part of `resize.downscaled(hr)` at `top`, `left` (LR pixels), from just the HR pixels that it needs.

    The region starts and ends at multiples of 4 and at least 8 pixels beyond the part, or at the image's
    border, so the pixels are those of the whole image's LR, bit for bit.
    """
    rows = slice(max(4 * top - BICUBIC_SUPPORT, 0), min(4 * (top + side) + BICUBIC_SUPPORT, hr.shape[0]))
    columns = slice(max(4 * left - BICUBIC_SUPPORT, 0), min(4 * (left + side) + BICUBIC_SUPPORT, hr.shape[1]))
    lr = resize.downscaled(hr[rows, columns])
    y, x = top - rows.start // 4, left - columns.start // 4
    return lr[y : y + side, x : x + side]


def _size_or_reason(pair: Pair) -> tuple[int, int] | str:
    """(height, width) of the HR, or why the image is skipped. Raises DataError for an LR of another size."""
    try:
        hr_size = files.size(pair.hr, readable=True)
        if pair.lr:
            pair.check_sizes(hr_size, files.size(pair.lr, readable=True))
    except ImageError as error:
        return str(error)
    return hr_size
