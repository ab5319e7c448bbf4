"""Images decoded once: raw uint8 pixels in a memory-mapped file X, and an index in X.json.

Each image starts at a multiple of 64 bytes: its HR (H, W, 3), then its LR (H/4, W/4, 3). The index is replaced
atomically after every few images, once their pixels are on the disk. An interrupted build resumes behind the last
image of the index.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.fs import atomic_write

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


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedImages:
    """Packed images opened for reading; positions run over the usable images, in the order of their names.

    `pixels`: uint8, 1-D, memory-mapped, read-only. `heights`, `widths`: of the HRs, int64 (P,). `hr_offsets`,
    `lr_offsets`: into `pixels`, int64 (P,). `fingerprint`: SHA-256 over names, sizes and pixels. `skipped`: a
    sentence for each image that is not used.
    """

    path: Path
    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    hr_offsets: NDArray[np.int64]
    lr_offsets: NDArray[np.int64]
    fingerprint: str
    skipped: tuple[str, ...]
    index: Index = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def megapixels(self) -> float:
        """Of all HRs together."""
        return float((self.heights * self.widths).sum()) / 1e6

    def hr(self, position: int) -> NDArray[np.uint8]:
        """The HR of an image, (H, W, 3), a view."""
        return self._view(self.hr_offsets[position], self.heights[position], self.widths[position])

    def lr(self, position: int) -> NDArray[np.uint8]:
        """The LR of an image, (H/4, W/4, 3), a view."""
        return self._view(self.lr_offsets[position], self.heights[position] // 4, self.widths[position] // 4)

    def _view(self, offset: np.int64, height: np.int64, width: np.int64) -> NDArray[np.uint8]:
        start, shape = int(offset), (int(height), int(width), 3)
        return self.pixels[start : start + shape[0] * shape[1] * 3].reshape(shape)


def open_packed(path: Path) -> PackedImages:
    """Packed images, memory-mapped. Raises DataError where they are missing, incomplete, of srgan 1, or cut off."""
    index = read_index(Path(path))
    if len(index.images) < index.total:
        raise DataError(f"{path} holds {len(index.images)} of {index.total} images; srgan data pack DIR completes it.")
    used = [image for image in index.images if not image.skipped]
    size = path.stat().st_size
    if used and size < used[-1].offset + used[-1].length:
        raise DataError(f"{path} is cut off at {size} bytes; srgan data pack DIR rebuilds it.")
    offsets = np.array([image.offset for image in used], dtype=np.int64)
    heights = np.array([image.height for image in used], dtype=np.int64)
    widths = np.array([image.width for image in used], dtype=np.int64)
    return PackedImages(
        path=Path(path),
        pixels=np.memmap(path, dtype=np.uint8, mode="r"),
        names=tuple(image.name for image in used),
        heights=heights,
        widths=widths,
        hr_offsets=offsets,
        lr_offsets=offsets + heights * widths * 3,
        fingerprint=fingerprint(used),
        skipped=tuple(image.skipped for image in index.images if image.skipped),
        index=index,
    )


def fingerprint(images: Iterable[PackedImage]) -> str:
    """SHA-256 over the names, sizes and pixels of the images: equal for the same training set. Checkpoints hold it."""
    total = hashlib.sha256()
    for image in images:
        total.update(json.dumps([image.name, image.height, image.width, image.digest]).encode() + b"\n")
    return total.hexdigest()


def index_path(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def has_first_format(target: Path) -> bool:
    with target.open("rb") as file:
        return file.read(len(FIRST_FORMAT)) == FIRST_FORMAT


def read_index(target: Path) -> Index:
    """The index beside `target`. Raises DataError where there is none."""
    path = index_path(target)
    try:
        if not path.exists() and has_first_format(target):
            raise DataError(f"{target} was packed by an earlier srgan; srgan data pack DIR rebuilds it.")
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
