"""Fetched images and models, verified by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.data.catalogue import DIGESTS, GREY, pixel_digest
from srgan.data.pairs import Pair, PairFolders, complete, pair_folders
from srgan.errors import DataError, ImageError
from srgan.image import files, resize
from srgan.progress import Progress

_MAX_MSE = 6.5
"""40 dB: every other kernel, border or order of passes than the exact bicubic is further off."""
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NIQE_DIGEST = "f6284a2b53fd40bb"


def verify_split(hr: Path, lr: Path, count: int) -> None:
    """Raises DataError unless each of `count` HRs has its LR, of a quarter of its size, made by the bicubic."""
    pairing = pair_folders(PairFolders(hr=hr, lr=lr))
    pairs, spare = complete(pairing), len(pairing.spare)
    if len(pairs) != count or spare:
        raise DataError(f"{hr} holds {len(pairs)} images and {lr} {len(pairs) + spare}; expected {count} each.")
    with ThreadPoolExecutor(os.cpu_count()) as pool, Progress(f"verifying {hr.name}", count, unit="image") as bar:
        for done, mse in enumerate(pool.map(_lr_mse, pairs), 1):
            if mse > _MAX_MSE:
                raise DataError(f"{pairs[done - 1].lr} is not the bicubic of {pairs[done - 1].hr} (MSE {mse:.1f}).")
            bar.update(done)


def verify_test_set(name: str, folder: Path, count: int) -> None:
    """Raises DataError unless each image is the one of its number, and its LR the exact bicubic, bit for bit."""
    for number in range(1, count + 1):
        hr_path, lr_path = (folder / f"img_{number:03d}_SRF_4_{kind}.png" for kind in ("HR", "LR"))
        hr, lr = _read(hr_path), _read(lr_path)
        if name in DIGESTS and pixel_digest(hr) != DIGESTS[name][number - 1]:
            raise DataError(f"{hr_path} is not image {number} of {name}; scores on it would not compare.")
        if not np.array_equal(_as_rgb(resize.downscaled(hr)), _as_rgb(lr)):
            raise DataError(f"{lr_path} is not the exact bicubic of {hr_path}; scores on it would not compare.")


def verify_vgg19(path: Path) -> None:
    """Raises DataError unless it is an HDF5 file; the download checks its hash."""
    with path.open("rb") as file:
        start = file.read(len(_HDF5))
    if start != _HDF5:
        raise DataError(f"{path} is not an HDF5 file; VGG19's weights were expected.")


def verify_niqe(path: Path) -> None:
    """Raises DataError unless it holds the numbers of NIQE's pristine model."""
    from srgan.image.niqe import read_niqe_model

    model = read_niqe_model(path)
    digest = hashlib.sha256(model.mean.tobytes() + np.ascontiguousarray(model.covariance).tobytes())
    if digest.hexdigest()[:16] != _NIQE_DIGEST:
        raise DataError(f"{path} holds other numbers than NIQE's pristine model.")


def write_test_set(name: str, images: Sequence[Path], folder: Path) -> None:
    """The x4 files of a test set from its full images, recognised by content. Raises DataError."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {digest: number for number, digest in enumerate(DIGESTS.get(name, ()), 1)}
    for path in images:
        image = resize.cropped(_read(path))
        number = numbers.pop(pixel_digest(image), None)
        if number is None:
            raise DataError(f"{path.name} is none of the images of {name}; scores on it would not compare.")
        hr = image[..., 0] if image.ndim == 3 and number in GREY.get(name, ()) else image
        files.write_array(folder / f"img_{number:03d}_SRF_4_HR.png", np.ascontiguousarray(hr))
        files.write_array(folder / f"img_{number:03d}_SRF_4_LR.png", resize.downscaled(hr))
    if numbers:
        raise DataError(f"{len(numbers)} images of {name} are missing: numbers {sorted(numbers.values())}.")


def _lr_mse(pair: Pair) -> float:
    """Mean squared difference of a pair's LR to the exact bicubic. Raises DataError."""
    expected = resize.downscaled(_read_rgb(pair.hr))
    lr = _read_rgb(pair.lr) if pair.lr else expected
    if expected.shape != lr.shape:
        raise DataError(
            f"{pair.lr} is {lr.shape[1]}x{lr.shape[0]}, but {pair.hr} / 4 is {expected.shape[1]}x{expected.shape[0]}."
        )
    return float(((expected.astype(np.float64) - lr) ** 2).mean())


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return files.read_array(path)
    except ImageError as error:
        raise DataError(str(error)) from error


def _read_rgb(path: Path) -> NDArray[np.uint8]:
    return _as_rgb(_read(path))


def _as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
