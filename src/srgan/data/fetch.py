"""Download a known data set, unpack it, verify its content, and move it into its place; each step resumes."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import numpy as np

from srgan.data.catalogue import CATALOGUE, DIGESTS, Dataset, RemoteFile, pixel_digest
from srgan.data.download import digest_of, download
from srgan.data.pairs import Pair, PairFolders, complete, pair_folders
from srgan.errors import DataError, ImageError
from srgan.fs import check_free_space
from srgan.image import files, resize
from srgan.image.source import SUFFIXES
from srgan.progress import Progress

log = logging.getLogger("srgan")

STAGING = ".fetch"
"""Hidden folder below the data folder for whatever is not finished; no training data."""
_SMALL_FILE = 1 << 20


def fetch(name: str, root: Path) -> list[Path]:
    """Fetch a data set of the catalogue below `root`, or verify the one that is there; returns its places.

    Raises DataError for an unknown name, when no address works, when the disk is too small, or when something else
    lies in the set's place.
    """
    if name not in CATALOGUE:
        raise DataError(f"There is no set {name!r}; known are {', '.join(CATALOGUE)}.")
    dataset, staging = CATALOGUE[name], root / STAGING
    log.info(f"{dataset.title}, licence: {dataset.licence}.")
    places = [root / place for place, _ in _parts(dataset)]
    receipt = staging / f"{name}.json"
    if _has_receipt(places, receipt):
        log.info(f"{dataset.title} is there and was verified before.")
        return places
    try:
        _check_space(dataset, root, staging)
        _fetch_missing(dataset, root, staging)
    except OSError as error:
        where = error.filename or root
        raise DataError(f"Cannot write {where}: {error.strerror or error}; choose another --to.") from error
    except (DataError, ImageError) as error:
        raise DataError(f"{dataset.title} could not be fetched. {error}") from error
    with contextlib.suppress(OSError):  # a read-only data folder is verified every time
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_text(json.dumps({"listing": _listing(places)}))
    for file in dataset.files:
        (staging / file.name).unlink(missing_ok=True)  # its archives
    return places


def _parts(dataset: Dataset) -> list[tuple[Path, tuple[RemoteFile, ...]]]:
    """What the data set consists of in the end, below the data folder, and the files that each part is made of."""
    if dataset.layout == "test":
        return [(Path(dataset.title, "image_SRF_4"), dataset.files)]
    return [(Path(file.into or file.name), (file,)) for file in dataset.files]


def _fetch_missing(dataset: Dataset, root: Path, staging: Path) -> None:
    """Fetch what is not there, verify all of it, and move it into its place."""
    paths, fetched = [], []
    for place, remote_files in _parts(dataset):
        paths.append(root / place)
        if not paths[-1].exists():
            paths[-1] = staging / place
            fetched.append(place)
            _fetch_part(remote_files, staging, paths[-1])
    try:
        _verify(dataset, paths)
    except (DataError, ImageError) as error:
        # Wrong content is removed, so that the next try fetches it again.
        for path in (staging / place for place in fetched):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        there = " and ".join(str(path) for path in paths if staging not in path.parents)
        raise DataError(f"{error} Move {there} away, then fetch." if there else str(error)) from error
    for place in fetched:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (staging / place).replace(root / place)


def _fetch_part(remote_files: tuple[RemoteFile, ...], staging: Path, staged: Path) -> None:
    """Put the images of a folder, or a file, at `staged`, from the downloads in `staging`."""
    file, *_ = remote_files
    if file.count:
        # Numbered files, each a small download; progress counts files.
        numbered = [(file, f"{n:03d}") for n in range(1, file.count + 1) for file in remote_files]
        log.info(f"Downloading {len(numbered)} images from {urlsplit(file.urls[0]).hostname}.")
        with Progress("downloading images", len(numbered), unit="image") as bar:
            for done, (file, number) in enumerate(numbered, 1):
                urls = [url.replace("{n}", number) for url in file.urls]
                download(urls, staging / file.name.replace("{n}", number))
                bar.update(done)
    elif not file.folder:
        _download(file, staging)
    elif not staged.is_dir():
        _unpack(_download(file, staging), file.folder, staged)


def _verify(dataset: Dataset, paths: Sequence[Path]) -> None:
    """Raises DataError or ImageError unless the parts of a data set have the right content."""
    if dataset.layout == "test":
        verify_test_set(dataset.title, paths[0], count=dataset.files[0].count)
    elif dataset.layout == "niqe":
        verify_niqe(paths[0])
    elif dataset.layout == "vgg19":
        digest = dataset.files[0].digest
        if digest and digest_of(paths[0], digest) != digest:
            raise DataError(f"{paths[0]} is not {dataset.title} ({digest} was expected).")
    else:
        folders = {file.folder: path for file, path in zip(dataset.files, paths, strict=True)}
        for file in (file for file in dataset.files if file.folder.endswith("_HR")):
            lr = folders[f"{file.folder.removesuffix('_HR')}_LR_bicubic/X4"]
            verify_split(folders[file.folder], lr, file.images)


def _download(file: RemoteFile, staging: Path) -> Path:
    with Progress(f"downloading {Path(file.name).name}", file.length, unit="byte") as bar:
        return download(file.urls, staging / file.name, length=file.length, digest=file.digest, bar=bar)


def _unpack(archive: Path, folder: str, target: Path) -> None:
    """The images directly in `folder` of an archive whose hash matched; `target` appears when it is whole."""
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with Progress(f"unpacking {archive.name}", None, unit="image") as bar, zipfile.ZipFile(archive) as opened:
            for done, entry in enumerate(e for e in opened.infolist() if _is_image_in(folder, e.filename)):
                entry.filename = PurePosixPath(entry.filename).name
                opened.extract(entry, partial)
                bar.update(done + 1)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is damaged ({error}); remove it and fetch again.") from error
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def _is_image_in(folder: str, name: str) -> bool:
    path = PurePosixPath(name.removeprefix("./"))
    return str(path.parent) == folder and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _check_space(dataset: Dataset, root: Path, staging: Path) -> None:
    """Raises DataError before the first byte where the rest of the downloads and their content would not fit."""
    needed = 0
    for file in dataset.files:
        if not (root / (file.into or file.name)).exists():
            part, whole = staging / f"{file.name}.part", (staging / file.name).exists()
            rest = (file.length or _SMALL_FILE * max(file.count, 1)) - (part.stat().st_size if part.exists() else 0)
            needed += file.unpacked + (0 if whole else rest)
    check_free_space(root, needed, "The download with its unpacked images", error=DataError)


def _has_receipt(places: list[Path], receipt: Path) -> bool:
    """Whether the set was verified before and has the same files since."""
    try:
        return bool(json.loads(receipt.read_text())["listing"] == _listing(places))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _listing(places: list[Path]) -> str:
    """A hash over the names and sizes of all files of a set."""
    total = hashlib.sha256()
    for place in places:
        for path in files.find_images(place) if place.is_dir() else [place]:
            total.update(f"{path.name} {path.stat().st_size}\n".encode())
    return total.hexdigest()


_MAX_MSE = 6.5
"""40 dB: every other kernel, border or order of passes than the exact bicubic is further off."""
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
    """Raises DataError unless the HRs are those of the set, and each LR is the exact bicubic, bit for bit."""
    hrs = []
    for number in range(1, count + 1):
        hr_path, lr_path = (folder / f"img_{number:03d}_SRF_4_{kind}.png" for kind in ("HR", "LR"))
        hrs.append(files.read_rgb8(hr_path))
        if not np.array_equal(resize.downscaled(hrs[-1]), files.read_rgb8(lr_path)):
            raise DataError(f"{lr_path} is not the exact bicubic of {hr_path}; scores on it would not compare.")
    if pixel_digest(hrs) != DIGESTS[name]:
        raise DataError(f"The images in {folder} are not those of {name}; scores on them would not compare.")


def verify_niqe(path: Path) -> None:
    """Raises DataError unless it holds the numbers of NIQE's pristine model."""
    from srgan.image.metrics import read_niqe_model

    model = read_niqe_model(path)
    digest = hashlib.sha256(model.mean.tobytes() + np.ascontiguousarray(model.covariance).tobytes())
    if digest.hexdigest()[:16] != _NIQE_DIGEST:
        raise DataError(f"{path} holds other numbers than NIQE's pristine model.")


def _lr_mse(pair: Pair) -> float:
    """Mean squared difference of a pair's LR to the exact bicubic. Raises DataError, ImageError."""
    hr, lr = pair.read()
    return float(((resize.downscaled(hr).astype(np.float64) - lr) ** 2).mean())
