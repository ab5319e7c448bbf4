"""Pack images: decode in threads, write in order, resume after a kill, rebuild when the sources change."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from srgan.data.packed import (
    ALIGNMENT,
    Index,
    PackedImage,
    PackedImages,
    has_first_format,
    index_path,
    open_packed,
    read_index,
)
from srgan.data.pairs import Pair
from srgan.errors import DataError, ImageError
from srgan.fs import FileLock, check_free_space
from srgan.image import files, resize
from srgan.progress import Progress

log = logging.getLogger("srgan")

IMAGES_PER_SAVE = 64


def pack_images(pairs: list[Pair], target: Path, *, min_side: int = 96, workers: int | None = None) -> PackedImages:
    """Pack images into `target`, or open it where it already holds exactly these.

    `min_side`: shorter side of an HR, after cropping to multiples of 4, below which an image is skipped.
    Raises DataError for no usable image, a pair whose sizes do not match, a full or unwritable disk, and where
    `target` is another file.
    """
    _refuse_foreign_files(target)
    current = _current(pairs, target, min_side)
    if isinstance(current, PackedImages):
        return current
    with FileLock(target.with_name(f".{target.name}.lock"), error=DataError):
        # Another process may have packed the images meanwhile.
        current = _current(pairs, target, min_side)
        if isinstance(current, PackedImages):
            return current
        if current:
            log.info(current)
        _build(pairs, target, min_side, workers or os.cpu_count() or 1)
    return open_packed(target)


def _current(pairs: list[Pair], target: Path, min_side: int) -> PackedImages | str:
    """The packed images that are there, if they were made of exactly these files; else why not."""
    if not target.exists():
        return ""
    try:
        old = open_packed(target)
    except DataError as error:
        return str(error)
    if old.index.min_side != min_side:
        return f"{target} was packed for a shorter side of {old.index.min_side}, now {min_side}; rebuilding."
    before = {(image.name, image.source) for image in old.index.images}
    now = {(pair.name, _source(pair)) for pair in pairs}
    if before != now:
        names = {name for name, _ in before ^ now}
        return f"{target} does not match its images: {len(names)} are new, changed or gone; rebuilding."
    return old


def _build(pairs: list[Pair], target: Path, min_side: int, workers: int) -> None:
    """Pack the images that the index lacks."""
    done = _resumable(pairs, target, min_side)
    if done:
        log.info("Resuming %s: %d of %d images are packed.", target, len(done), len(pairs))
    else:
        # Another process may still read the old file: leave it its pixels.
        target.unlink(missing_ok=True)
    needed = sum(map(_pixel_bytes, pairs[len(done) :]))
    check_free_space(target.parent, needed, "The file of packed images", error=DataError)
    try:
        index = Index(min_side=min_side, total=len(pairs), images=tuple(done))
        index.save(target)
        with target.open("r+b" if done else "w+b") as file:
            file.truncate(done[-1].offset + done[-1].length if done else 0)
            images = _append(pairs, index, file, target, workers)
    except OSError as error:
        raise DataError(f"Cannot write {target}: {error.strerror}; the images so far are kept.") from error
    if all(image.skipped for image in images):
        target.unlink()
        index_path(target).unlink()
        raise DataError(f"None of the {len(images)} images can be used; the first: {images[0].skipped}")


def _append(pairs: Sequence[Pair], index: Index, file: IO[bytes], target: Path, workers: int) -> list[PackedImage]:
    """Decode with a few images in flight, write in order, and save the index after the pixels; all images."""
    images = list(index.images)
    saved = len(images)

    def save() -> None:
        file.flush()
        os.fsync(file.fileno())
        replace(index, images=tuple(images)).save(target)

    pool = ThreadPoolExecutor(workers)
    in_flight: deque[Future[tuple[PackedImage, list[NDArray[np.uint8]]]]] = deque()
    todo = iter(pairs[saved:])
    try:
        with Progress("packing", len(pairs), unit="image") as bar:
            while len(images) < len(pairs):
                while len(in_flight) < workers + 2 and (pair := next(todo, None)):
                    in_flight.append(pool.submit(_decode, pair, index.min_side))
                image, arrays = in_flight.popleft().result()
                image = replace(image, offset=images[-1].end if images else 0)
                file.seek(image.offset)
                for array in arrays:
                    file.write(array.data)
                images.append(image)
                bar.update(len(images))
                # The index is written whole: the longer it is, the more images wait for it.
                if len(images) - saved >= max(IMAGES_PER_SAVE, saved // 16):
                    save()
                    saved = len(images)
    finally:
        pool.shutdown(cancel_futures=True)
        save()
    return images


def _decode(pair: Pair, min_side: int) -> tuple[PackedImage, list[NDArray[np.uint8]]]:
    """One image and its [HR, LR] pixels; no pixels for one that is skipped."""
    image = PackedImage(name=pair.name, source=_source(pair))
    try:
        whole = files.read_rgb8(pair.hr)
        lr = files.read_rgb8(pair.lr) if pair.lr else None
    except ImageError as error:
        return replace(image, skipped=str(error)), []
    if lr is not None:
        pair.check_sizes(whole.shape[:2], lr.shape[:2])
    hr = np.ascontiguousarray(resize.cropped(whole))
    height, width = hr.shape[:2]
    if min(height, width) < min_side:
        small = f"{pair.hr} is {whole.shape[1]}x{whole.shape[0]}, smaller than the crop of {min_side}."
        return replace(image, skipped=small), []
    lr = np.ascontiguousarray(resize.downscaled(hr) if lr is None else lr)
    digest = hashlib.sha256(hr.data)
    digest.update(lr.data)
    return replace(image, height=height, width=width, digest=digest.hexdigest()), [hr, lr]


def _source(pair: Pair) -> tuple[int, ...]:
    """Size and mtime of the files of a pair, which show that they changed; empty for a link to nothing."""
    try:
        stats = [path.stat() for path in (pair.hr, pair.lr) if path]
    except OSError:
        return ()
    return tuple(number for s in stats for number in (s.st_size, s.st_mtime_ns))


def _pixel_bytes(pair: Pair) -> int:
    """Bytes that an image takes, from its file's header."""
    try:
        height, width = files.size(pair.hr)
    except ImageError:
        return 0
    return height * width * 3 * 17 // 16 + ALIGNMENT


def _resumable(pairs: list[Pair], target: Path, min_side: int) -> list[PackedImage]:
    """The leading images of an incomplete build whose pixels are there and whose sources have not changed."""
    try:
        index = read_index(target)
        size = target.stat().st_size
    except (DataError, OSError):
        return []
    if index.min_side != min_side or len(index.images) == index.total:
        return []
    done: list[PackedImage] = []
    for pair, image in zip(pairs, index.images, strict=False):
        if (image.name, image.source) != (pair.name, _source(pair)) or image.offset + image.length > size:
            break
        done.append(image)
    return done


def _refuse_foreign_files(target: Path) -> None:
    """Raises DataError where `target` or its index exists and is not ours."""
    if index_path(target).exists():
        read_index(target)
    elif target.exists() and not has_first_format(target):
        raise DataError(f"{target} exists and holds no packed images; it stays as it is. Choose another name.")
