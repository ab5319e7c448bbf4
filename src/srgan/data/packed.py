"""Images decoded once: raw uint8 pixels in a memory-mapped file X, and an index in X.json.

Each image starts at a multiple of 64 bytes: its HR (H, W, 3), then its LR (H/4, W/4, 3). The index names no image until
all pixels are on the disk, so an interrupted build is begun again.
"""

import hashlib
import json
import logging
import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from srgan.data.pairs import Pair
from srgan.errors import DataError, ImageError
from srgan.fs import atomic_write, check_free_space, file_lock, may_replace
from srgan.image import files
from srgan.progress import Progress

log = logging.getLogger("srgan")

FORMAT = "srgan.packed.2"
FIRST_FORMAT = b"SRGANPK1"
"""The first bytes of a pack of srgan 1, which had no index beside it."""
ALIGNMENT = 64


@dataclass(frozen=True, kw_only=True)
class PackedImage:
    """One image: where it came from, and either its place or the reason why it is skipped.

    `source`: size in bytes and mtime in ns of the HR file, then of the LR file where there is one.
    `height`, `width`: pixels of the HR. `offset`: bytes from the start of the file. `digest`: SHA-256
    of the HR's and the LR's bytes.
    """

    name: str
    source: tuple[int, ...]
    height: int = 0
    width: int = 0
    offset: int = 0
    digest: str = ""
    skipped: str = ""

    @property
    def length(self) -> int:
        """Bytes of HR and LR together."""
        return self.height * self.width * 3 // 16 * 17

    @property
    def end(self) -> int:
        """Where the next image starts."""
        return -(-(self.offset + self.length) // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, kw_only=True)
class Index:
    """What X.json holds. `total`: how many images a complete build has."""

    min_side: int
    total: int
    images: tuple[PackedImage, ...] = ()
    format: str = FORMAT

    def save(self, target: Path) -> None:
        """Write it beside the pixels."""
        atomic_write(index_path(target), json.dumps(asdict(self)).encode())


class PackedImages:
    """Packed images, memory-mapped; positions run over the usable images, in the order of their names.

    `pixels`: uint8, 1-D, read-only. `heights`, `widths`: of the HRs, int64 (P,). `hr_offsets`, `lr_offsets`: into
    `pixels`, int64 (P,). `fingerprint`: SHA-256 over names, sizes and pixels. `skipped`: a sentence for each image that
    is not used. Raises DataError where the images are missing, incomplete or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.index = path, read_index(path)
        images, total, size = self.index.images, self.index.total, path.stat().st_size
        if len(images) < total:
            raise DataError(f"{path} is not complete; srgan data pack DIR makes it again.")
        used = [image for image in images if not image.skipped]
        if used and size < used[-1].offset + used[-1].length:
            raise DataError(f"{path} is cut off at {size} bytes; srgan data pack DIR rebuilds it.")
        self.pixels = np.memmap(path, dtype=np.uint8, mode="r")
        self.names = tuple(image.name for image in used)
        self.heights = np.array([image.height for image in used], dtype=np.int64)
        self.widths = np.array([image.width for image in used], dtype=np.int64)
        self.hr_offsets = np.array([image.offset for image in used], dtype=np.int64)
        self.lr_offsets = self.hr_offsets + self.heights * self.widths * 3
        self.fingerprint = fingerprint(used)
        self.skipped = tuple(image.skipped for image in images if image.skipped)

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedImages, (self.path,)  # a process maps the file anew

    def crop(self, position: int, top: int, left: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """LR (side, side, 3) and HR (4 side, 4 side, 3) at `top`, `left`, views; all in LR pixels."""
        lr, hr = self.lr(position), self.hr(position)
        return lr[top : top + side, left : left + side], hr[4 * top : 4 * (top + side), 4 * left : 4 * (left + side)]

    def hr(self, position: int) -> NDArray[np.uint8]:
        """The HR of an image, (H, W, 3), a view."""
        return self._view(self.hr_offsets[position], self.heights[position], self.widths[position])

    def lr(self, position: int) -> NDArray[np.uint8]:
        """The LR of an image, (H/4, W/4, 3), a view."""
        return self._view(self.lr_offsets[position], self.heights[position] // 4, self.widths[position] // 4)

    def _view(self, offset: np.int64, height: np.int64, width: np.int64) -> NDArray[np.uint8]:
        start, shape = int(offset), (int(height), int(width), 3)
        return self.pixels[start : start + shape[0] * shape[1] * 3].reshape(shape)


def fingerprint(images: Iterable[PackedImage]) -> str:
    """SHA-256 over the names, sizes and pixels of the images: equal for the same training set. Checkpoints hold it."""
    total = hashlib.sha256()
    for image in images:
        total.update(json.dumps([image.name, image.height, image.width, image.digest]).encode() + b"\n")
    return total.hexdigest()


def index_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def read_index(target: Path) -> Index:
    """The index beside `target`. Raises DataError where there is none."""
    path = index_path(target)
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        images = (PackedImage(**{**fields, "source": tuple(fields["source"])}) for fields in content["images"])
        index = Index(**{**content, "images": tuple(images)})
    except FileNotFoundError as error:
        raise DataError(f"There is no {error.filename}; srgan data pack DIR makes it.") from error
    except OSError as error:
        raise DataError(f"Cannot read the packed images {target}: {error.strerror}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} exists and is not an index of packed images; it stays as it is.") from error
    if index.format != FORMAT:
        raise DataError(f"{path} is of another format ({index.format}) than this srgan's; rebuild it.")
    return index


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
    with file_lock(target.with_name(f".{target.name}.lock"), error=DataError):
        # Another process may have packed the images meanwhile.
        current = _current(pairs, target, min_side)
        if isinstance(current, PackedImages):
            return current
        if current:
            log.info(current)
        _build(pairs, target, min_side, workers or os.cpu_count() or 1)
    return PackedImages(target)


def _current(pairs: list[Pair], target: Path, min_side: int) -> PackedImages | str:
    """The packed images that are there, if they were made of exactly these files; else why not."""
    if not target.exists():
        return ""
    try:
        old = PackedImages(target)
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
    """Pack all images into a new file; the index names them once their pixels are on the disk."""
    # Another process may still read the old file: leave it its pixels.
    target.unlink(missing_ok=True)
    check_free_space(target.parent, sum(map(_pixel_bytes, pairs)), "The file of packed images", error=DataError)
    try:
        index = Index(min_side=min_side, total=len(pairs))
        index.save(target)
        with target.open("wb") as file:
            images = _write(pairs, min_side, file, workers)
        replace(index, images=tuple(images)).save(target)
    except OSError as error:
        raise DataError(f"Cannot write {target}: {error.strerror}.") from error
    if all(image.skipped for image in images):
        target.unlink()
        index_path(target).unlink()
        raise DataError(f"No training image (of {len(images)}) can be used; the first: {images[0].skipped}")


def _write(pairs: list[Pair], min_side: int, file: IO[bytes], workers: int) -> list[PackedImage]:
    """Decode with a few images in flight and write their pixels in order, onto the disk; all images."""
    images: list[PackedImage] = []
    in_flight: deque[Future[tuple[PackedImage, list[NDArray[np.uint8]]]]] = deque()
    todo = iter(pairs)
    with ThreadPoolExecutor(workers) as pool, Progress("packing", len(pairs), unit="image") as bar:
        while len(images) < len(pairs):
            while len(in_flight) < workers + 2 and (pair := next(todo, None)):
                in_flight.append(pool.submit(_decode, pair, min_side))
            image, arrays = in_flight.popleft().result()
            image = replace(image, offset=images[-1].end if images else 0)
            file.seek(image.offset)
            for array in arrays:
                file.write(array.data)
            images.append(image)
            bar.update(len(images))
    file.flush()
    os.fsync(file.fileno())
    return images


def _decode(pair: Pair, min_side: int) -> tuple[PackedImage, list[NDArray[np.uint8]]]:
    """One image and its [HR, LR] pixels; no pixels for one that is skipped."""
    image = PackedImage(name=pair.name, source=_source(pair))
    try:
        height, width = files.size(pair.hr)
        if min(height, width) // 4 * 4 < min_side:
            small = f"{pair.hr} is {width}x{height}, smaller than the crop of {min_side}."
            return replace(image, skipped=small), []
        hr, lr = pair.read()
    except ImageError as error:
        return replace(image, skipped=str(error)), []
    height, width = hr.shape[:2]
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


def _refuse_foreign_files(target: Path) -> None:
    """Raises DataError where `target` or its index exists and is not ours."""
    if index_path(target).exists():
        read_index(target)
    elif target.is_dir() or not may_replace(target, FIRST_FORMAT):
        raise DataError(f"{target} exists and holds no packed images; it stays as it is. Choose another name.")
