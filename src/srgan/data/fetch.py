"""Download a known data set, unpack it, verify its content, and move it into its place; each step resumes."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from srgan.data.catalogue import CATALOGUE, DIGESTS, GREY, Dataset, RemoteFile, pixel_digest
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

    Raises DataError for an unknown name, when no source works, when the disk is too small, or when something else
    lies in the set's place.
    """
    if name not in CATALOGUE:
        raise DataError(f"There is no set {name!r}; known are {', '.join(CATALOGUE)}.")
    dataset, staging = CATALOGUE[name], root / STAGING
    log.info(f"{dataset.title}, licence: {dataset.licence}.")
    places = _places(dataset, root)
    receipt = staging / f"{name}.json"
    if _has_receipt(places, receipt):
        log.info(f"{dataset.title} is there and was verified before.")
        return places
    failures = []
    for source in dataset.sources:
        try:
            _check_space(source, root, staging)
            archives = _fetch_from(source, dataset, root, staging)
        except OSError as error:
            where = error.filename or root
            raise DataError(f"Cannot write {where}: {error.strerror or error}; choose another --to.") from error
        except (DataError, ImageError) as error:
            failures.append(str(error))
            log.warning(f"This source failed: {error}")
            continue
        with contextlib.suppress(OSError):  # a read-only data folder is verified every time
            receipt.parent.mkdir(parents=True, exist_ok=True)
            receipt.write_text(json.dumps({"listing": _listing(places)}))
        for archive in archives:
            archive.unlink(missing_ok=True)
        return places
    raise DataError(f"{dataset.title} could not be fetched. " + " ".join(dict.fromkeys(failures)))


def _places(dataset: Dataset, root: Path) -> list[Path]:
    """What the data set consists of in the end."""
    if dataset.layout == "test":
        return [root / dataset.title / "image_SRF_4"]
    return [root / (file.into or file.name) for file in dataset.sources[0]]


def _fetch_from(source: tuple[RemoteFile, ...], dataset: Dataset, root: Path, staging: Path) -> list[Path]:
    """Fetch from one source; returns the archives that were used."""
    if dataset.layout == "div2k":
        return _fetch_div2k(source, root, staging)
    (place,), (file, *_) = _places(dataset, root), source
    verifiers: dict[str, Callable[[Path], None]] = {
        "test": partial(verify_test_set, dataset.title, count=dataset.images),
        "vgg19": partial(_verify_digest, dataset.title, digest=file.digest),
        "niqe": verify_niqe,
    }
    verify = verifiers[dataset.layout]
    if place.exists():
        try:
            verify(place)
        except (DataError, ImageError) as error:
            raise DataError(f"{error} Move {place} away, then fetch.") from error
        return []
    staged = staging / place.relative_to(root)
    archives = _fetch_test_set(source, dataset, staging, staged) if dataset.layout == "test" else []
    if dataset.layout != "test":
        _download(file, staging)
    _verify_or_delete(partial(verify, staged), staged)
    _move(staged, place)
    return archives


def _fetch_div2k(source: tuple[RemoteFile, ...], root: Path, staging: Path) -> list[Path]:
    folders = {}
    for file in source:
        # Download and unpack what is not there.
        place, staged = root / file.into, staging / file.into
        if place.is_dir():
            staged = place
        elif not staged.is_dir():
            _unpack(_download(file, staging), file.folder, staged)
        count = len(files.find_images(staged))
        if count != file.images:
            action = "move it away" if staged == place else "remove it"
            raise DataError(f"{staged} holds {count} images, {file.images} were expected; {action}, then fetch.")
        folders[file.folder] = (place, staged, file.images)
    # Verify each split, then move its folders, the HRs last.
    for name, (_, hr, count) in folders.items():
        if name.endswith("_HR"):
            _, lr, _ = folders[name.removesuffix("_HR") + "_LR_bicubic/X4"]
            unverified = [folder for folder in (hr, lr) if staging in folder.parents]
            _verify_or_delete(partial(verify_split, hr, lr, count), *unverified)
    for place, staged, _ in folders.values():
        if staged != place:
            _move(staged, place)
    return [staging / file.name for file in source]


def _fetch_test_set(source: tuple[RemoteFile, ...], dataset: Dataset, staging: Path, staged: Path) -> list[Path]:
    """The images of a test set in `staged`; returns the archive that was used, if any."""
    file, *_ = source
    if file.count:
        # The numbered files of a source, each a small download; progress counts files.
        numbered = [(file, f"{n:03d}") for n in range(1, file.count + 1) for file in source]
        with Progress("downloading images", len(numbered), unit="image") as bar:
            for done, (file, number) in enumerate(numbered, 1):
                urls = [url.replace("{n}", number) for url in file.urls]
                download(urls, staging / file.name.replace("{n}", number))
                bar.update(done)
        return []
    # An archive of full images: make the x4 files from them.
    archive, raw = _download(file, staging), staging / "raw" / dataset.title
    _unpack(archive, file.folder, raw)
    shutil.rmtree(staged, ignore_errors=True)
    write_test_set(dataset.title, files.find_images(raw), staged)
    shutil.rmtree(raw)
    return [archive]


def _download(file: RemoteFile, staging: Path) -> Path:
    with Progress(f"downloading {Path(file.name).name}", file.length, unit="byte") as bar:
        return download(file.urls, staging / file.name, length=file.length, digest=file.digest, bar=bar)


def _unpack(archive: Path, folder: str, target: Path) -> None:
    """The images directly in `folder` of an archive whose hash matched; `target` appears when it is whole."""
    partial = target.with_name(target.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with Progress(f"unpacking {archive.name}", None, unit="image") as bar:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as opened:
                    for done, entry in enumerate(e for e in opened.infolist() if _is_image_in(folder, e.filename)):
                        entry.filename = PurePosixPath(entry.filename).name
                        opened.extract(entry, partial)
                        bar.update(done + 1)
            else:
                with tarfile.open(archive) as tar:
                    for done, member in enumerate(m for m in tar if m.isfile() and _is_image_in(folder, m.name)):
                        tar.extract(member.replace(name=PurePosixPath(member.name).name), partial, filter="data")
                        bar.update(done + 1)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is damaged ({error}); remove it and fetch again.") from error
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)


def _is_image_in(folder: str, name: str) -> bool:
    path = PurePosixPath(name.removeprefix("./"))
    return str(path.parent) == folder and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _verify_or_delete(check_content: Callable[[], None], *paths: Path) -> None:
    """Wrong content is removed, so that the next try fetches it again."""
    try:
        check_content()
    except (DataError, ImageError):
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _move(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    source.replace(place)


def _check_space(source: tuple[RemoteFile, ...], root: Path, staging: Path) -> None:
    """Raises DataError before the first byte where the rest of the downloads and their content would not fit."""
    needed = 0
    for file in source:
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
    """Raises DataError unless each image is the one of its number, and its LR the exact bicubic, bit for bit."""
    for number in range(1, count + 1):
        hr_path, lr_path = (folder / f"img_{number:03d}_SRF_4_{kind}.png" for kind in ("HR", "LR"))
        hr, lr = files.read_rgb8(hr_path), files.read_rgb8(lr_path)
        if name in DIGESTS and pixel_digest(hr) != DIGESTS[name][number - 1]:
            raise DataError(f"{hr_path} is not image {number} of {name}; scores on it would not compare.")
        if not np.array_equal(resize.downscaled(hr), lr):
            raise DataError(f"{lr_path} is not the exact bicubic of {hr_path}; scores on it would not compare.")


def _verify_digest(title: str, path: Path, digest: str) -> None:
    if digest and digest_of(path, digest) != digest:
        raise DataError(f"{path} is not {title} ({digest} was expected).")


def verify_niqe(path: Path) -> None:
    """Raises DataError unless it holds the numbers of NIQE's pristine model."""
    from srgan.image.metrics import read_niqe_model

    model = read_niqe_model(path)
    digest = hashlib.sha256(model.mean.tobytes() + np.ascontiguousarray(model.covariance).tobytes())
    if digest.hexdigest()[:16] != _NIQE_DIGEST:
        raise DataError(f"{path} holds other numbers than NIQE's pristine model.")


def write_test_set(name: str, images: Sequence[Path], folder: Path) -> None:
    """The x4 files of a test set from its full images, recognised by content. Raises DataError, ImageError."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {digest: number for number, digest in enumerate(DIGESTS.get(name, ()), 1)}
    for path in images:
        image = resize.cropped(files.read_rgb8(path))
        number = numbers.pop(pixel_digest(image), None)
        if number is None:
            raise DataError(f"{path.name} is none of the images of {name}; scores on it would not compare.")
        hr = image[..., 0] if number in GREY.get(name, ()) else image
        files.write_array(folder / f"img_{number:03d}_SRF_4_HR.png", np.ascontiguousarray(hr))
        files.write_array(folder / f"img_{number:03d}_SRF_4_LR.png", resize.downscaled(hr))
    if numbers:
        raise DataError(f"{len(numbers)} images of {name} are missing: numbers {sorted(numbers.values())}.")


def _lr_mse(pair: Pair) -> float:
    """Mean squared difference of a pair's LR to the exact bicubic. Raises DataError, ImageError."""
    hr, lr = pair.read()
    return float(((resize.downscaled(hr).astype(np.float64) - lr) ** 2).mean())
