"""Is this what was asked for? Fetched pictures and models, judged by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.data.digests import DIGESTS, GREY, digest
from srgan.data.folders import Pair, PairFolders, complete, pair_folders
from srgan.errors import DataError, ImageError
from srgan.image import files, resize

Progress = Callable[[int, int], None]
_ROUNDING_MSE = 6.5  # 40 dB: any other kernel, border or order of passes is further off
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NIQE = "f6284a2b53fd40bb"


def verify_split(hr: Path, lr: Path, count: int, progress: Progress | None = None) -> None:
    """Every HR has its LR, of a quarter of its size, made by the bicubic. Errors: DataError naming the first."""
    pairing = pair_folders(PairFolders(hr=hr, lr=lr))
    pairs, spare = complete(pairing), len(pairing.spare)
    if len(pairs) != count or spare:
        raise DataError(f"{hr} holds {len(pairs)} images and {lr} {len(pairs) + spare}; expected {count} each.")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, error in enumerate(pool.map(_lr_mse, pairs), 1):
            if error > _ROUNDING_MSE:
                raise DataError(f"{pairs[done - 1].lr} is not the bicubic of {pairs[done - 1].hr} (MSE {error:.1f}).")
            if progress:
                progress(done, count)


def _lr_mse(pair: Pair) -> float:
    """Mean squared difference of a pair's LR to the exact bicubic. Errors: DataError."""
    try:
        made = resize.downscaled(files.read_rgb8(pair.hr))
        given = files.read_rgb8(pair.lr) if pair.lr else made
    except ImageError as error:
        raise DataError(str(error)) from error
    if made.shape != given.shape:
        raise DataError(
            f"{pair.lr} is {given.shape[1]}x{given.shape[0]}, but {pair.hr} / 4 is {made.shape[1]}x{made.shape[0]}."
        )
    return float(((made.astype(np.float64) - given) ** 2).mean())


def verify_test_set(name: str, folder: Path, count: int) -> None:
    """Each of a test set's pictures is the one of its number, and its LR the exact bicubic, bit for bit.

    Errors: DataError naming the first that is not.
    """
    for number in range(1, count + 1):
        hr_path, lr_path = (folder / f"img_{number:03d}_SRF_4_{kind}.png" for kind in ("HR", "LR"))
        try:
            hr, lr = files.read_array(hr_path), files.read_array(lr_path)
        except ImageError as error:
            raise DataError(str(error)) from error
        if name in DIGESTS and digest(hr) != DIGESTS[name][number - 1]:
            raise DataError(f"{hr_path} is not picture {number} of {name}; scores on it would not compare.")
        if not np.array_equal(_as_rgb(resize.downscaled(hr)), _as_rgb(lr)):
            raise DataError(f"{lr_path} is not the exact bicubic of {hr_path}; scores on it would not compare.")


def write_test_set(name: str, found: Sequence[Path], folder: Path) -> None:
    """The x4 files of a test set from its full pictures, recognised by content. Errors: DataError."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {known: number for number, known in enumerate(DIGESTS.get(name, ()), 1)}
    for path in found:
        try:
            picture = resize.cropped(files.read_array(path))
        except ImageError as error:
            raise DataError(str(error)) from error
        number = numbers.pop(digest(picture), None)
        if number is None:
            raise DataError(f"{path.name} is none of the pictures of {name}; scores on it would not compare.")
        hr = picture[..., 0] if picture.ndim == 3 and number in GREY.get(name, ()) else picture
        files.write_array(folder / f"img_{number:03d}_SRF_4_HR.png", np.ascontiguousarray(hr))
        files.write_array(folder / f"img_{number:03d}_SRF_4_LR.png", resize.downscaled(hr))
    if numbers:
        raise DataError(f"{len(numbers)} pictures of {name} are missing: numbers {sorted(numbers.values())}.")


def verify_vgg19(path: Path) -> None:
    """An HDF5 file (its hash is checked by the download). Errors: DataError."""
    with path.open("rb") as file:
        start = file.read(len(_HDF5))
    if start != _HDF5:
        raise DataError(f"{path} is not an HDF5 file; VGG19's weights were expected.")


def verify_niqe(path: Path) -> None:
    """NIQE's pristine model, number by number. Errors: DataError."""
    from srgan.image.niqe import read_niqe_model

    model = read_niqe_model(path)
    got = hashlib.sha256(model.mean.tobytes() + np.ascontiguousarray(model.covariance).tobytes())
    if got.hexdigest()[:16] != _NIQE:
        raise DataError(f"{path} holds other numbers than NIQE's pristine model.")


def _as_rgb(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
