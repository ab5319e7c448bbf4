"""What a data folder holds, what is wrong with it, and whether its training images leak into a test set."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan.data import folders, pairs
from srgan.data.pairs import Pair
from srgan.errors import DataError, ImageError
from srgan.image import files, resize
from srgan.image.metrics import y_from_image
from srgan.image.source import SUFFIXES
from srgan.image.symmetry import apply_symmetry
from srgan.progress import Progress

Kind = Literal["damaged", "unpaired", "leak", "small", "grey", "duplicate", "lr", "note"]
FATAL: frozenset[Kind] = frozenset({"damaged", "unpaired", "leak"})
_MAX_LR_MSE = 100.0
"""Squared levels: an LR that is only noisy or blurred is still of its HR."""


class Finding(NamedTuple):
    """One sentence about a folder; the fatal kinds make it unusable."""

    kind: Kind
    text: str

    @property
    def fatal(self) -> bool:
        """Whether the exit code is 2 for it."""
        return self.kind in FATAL


class ImageCheck(NamedTuple):
    """What decoding a pair showed. `lr_error`: largest difference to the exact bicubic, None without an LR."""

    pair: Pair
    findings: tuple[Finding, ...] = ()
    height: int = 0
    width: int = 0
    grey: bool = False
    digest: str = ""
    thumbnail: NDArray[np.uint8] | None = None
    lr_error: int | None = None


@dataclass
class Group:
    """The images of one role: training, validation or a test set."""

    role: str
    folder: Path
    pairs: list[Pair]
    findings: list[Finding]
    checks: list[ImageCheck] = field(default_factory=list)
    lr: str = "bicubic"
    """How exact the LRs are: "exact", or by how many levels they are off; "bicubic" without any."""

    @property
    def megapixels(self) -> float:
        """Of the HRs that can be decoded."""
        return sum(check.height * check.width for check in self.checks) / 1e6


@dataclass(frozen=True, kw_only=True)
class Report:
    """All groups of a folder, and the training images that leak into the others."""

    groups: list[Group]
    leaks: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        """All of them, group by group."""
        return [finding for group in self.groups for finding in group.findings] + self.leaks

    @property
    def usable(self) -> bool:
        """Nothing is damaged, unpaired or leaking."""
        return not any(finding.fatal for finding in self.findings)


def check(root: Path, *, min_side: int = 96) -> Report:
    """Decode every image of a data folder. Raises DataError where it holds none.

    `min_side`: shorter side in pixels below which a training image is too small for a crop.
    """
    groups = _groups(root)
    done, total = 0, sum(len(group.pairs) for group in groups)
    with ThreadPoolExecutor(os.cpu_count()) as pool, Progress("checking", total, unit="image") as bar:
        for group in groups:
            for result in pool.map(check_image, group.pairs):
                group.checks.append(result)
                done += 1
                bar.update(done)
            _add_findings(group, min_side)
    return Report(groups=groups, leaks=_leaks(groups))


def check_image(pair: Pair) -> ImageCheck:
    """Decode a pair whole: an image is only known to be sound when its last row is decoded."""
    try:
        image = files.read_array(pair.hr)
        lr = files.read_array(pair.lr) if pair.lr else None
    except ImageError as error:
        return ImageCheck(pair, (Finding("damaged", str(error)),))
    height, width = image.shape[:2]
    digest = hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()
    result = ImageCheck(pair, (), height, width, image.ndim == 2, digest, thumbnail(image))
    if lr is None or min(height, width) < 4:
        return result
    try:
        pair.check_sizes((height, width), lr.shape[:2])
    except DataError as error:
        return result._replace(findings=(Finding("unpaired", str(error)),))
    bicubic = resize.downscaled(image)
    difference = np.abs(np.atleast_3d(lr).astype(np.int16) - np.atleast_3d(bicubic))
    if float((difference.astype(np.float64) ** 2).mean()) > max(0.5 * float(bicubic.var()), _MAX_LR_MSE):
        return result._replace(findings=(Finding("unpaired", f"{pair.lr} does not show what {pair.hr} shows"),))
    return result._replace(lr_error=int(difference.max()))


def _groups(root: Path) -> list[Group]:
    groups, refusal = [], None
    try:
        training = folders.training_folders(root)
        groups.append(_group("training", training.hr, pairs.pair_folders(training)))
    except DataError as error:
        refusal = error
    if root.is_dir() and (validation := folders.validation_folders(root)):
        groups.append(_group("validation", validation.hr, pairs.pair_folders(validation)))
    for name, folder in folders.test_folders(root).items():
        groups.append(_group(f"test {name}", folder, pairs.pair_by_mark(folder)))
    if not any(group.pairs for group in groups):
        raise refusal or DataError(f"No images in {root}; expected {', '.join(sorted(SUFFIXES))}.")
    if refusal:
        groups[0].findings.append(Finding("note", f"nothing to train on: {refusal}"))
    return groups


def _group(role: str, folder: Path, pairing: pairs.Pairing) -> Group:
    texts = pairing.unpaired + [f"{lr} has no HR in {folder}" for lr in pairing.spare]
    findings = [Finding("unpaired", text) for text in texts]
    if unread := folders.unread_files(folder):
        findings.append(Finding("note", f"{folder}: {unread} are not read"))
    return Group(role, folder, pairing.pairs, findings)


def _add_findings(group: Group, min_side: int) -> None:
    """Add what the images that were decoded show."""
    group.findings += [finding for result in group.checks for finding in result.findings]
    decoded = [result for result in group.checks if result.height]
    for result in decoded if group.role == "training" else ():
        if min(result.height, result.width) // 4 * 4 < min_side:
            text = f"{result.pair.hr} is {result.width}x{result.height}, smaller than {min_side}; it is skipped"
            group.findings.append(Finding("small", text))
        if result.grey:
            group.findings.append(Finding("grey", f"{result.pair.hr} is grey; it is used as RGB"))
    by_pixels = defaultdict(list)
    for result in decoded:
        by_pixels[result.height, result.width, result.digest].append(result.pair.hr)
    for first, *same in by_pixels.values():
        if same:
            text = f"{first} has the same pixels as {', '.join(map(str, same))}"
            group.findings.append(Finding("duplicate", text))
    if with_lr := [result for result in decoded if result.lr_error is not None]:
        worst = max(with_lr, key=lambda result: result.lr_error or 0)
        group.lr = f"±{worst.lr_error}" if worst.lr_error else "exact"
        if worst.lr_error and worst.lr_error > 2:
            text = f"the LRs are not the exact bicubic: {worst.pair.lr} is off by up to {worst.lr_error} levels"
            group.findings.append(Finding("lr", text))


def _leaks(groups: Sequence[Group]) -> list[Finding]:
    """Training images that show what a validation or test image shows."""
    training, unseen = [
        [r for group in groups if (group.role == "training") is train for r in group.checks if r.thumbnail is not None]
        for train in (True, False)
    ]
    matches = same_images(*([r.thumbnail for r in each if r.thumbnail is not None] for each in (unseen, training)))
    text = "{} shows the same image as {} (agreement {:.2f}); take it out of training"
    return [
        Finding("leak", text.format(training[right].pair.hr, unseen[left].pair.hr, agreement))
        for left, right, agreement in matches
    ]


Grid = NDArray[np.float32]

SIDE = 64
"""Height and width of a thumbnail."""
SAME = 0.7
"""Agreement from which two images show the same.

Measured with 143 test and validation images against 592 training images: different images reach 0.676. Found are all
143 after JPEG 50, halved and mirrored, a quarter turn, darker, or cut to 95, 90 or 85 % of a side; 122 at 80 %; 43 at
72 % and mirrored.
"""
WINDOWS = (0.9, 0.8, 0.7)
"""Sides of the windows as parts of the whole, each at 4 x 4 places."""
_CELLS = 16
_BLOCK = 1024


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The luma of an image (H, W[, 3]) as SIDE x SIDE area means."""
    height, width = image.shape[:2]
    rows = _averaging(0, height, SIDE, height) @ np.atleast_3d(image).reshape(height, -1).astype(np.float32)
    cells = _averaging(0, width, SIDE, width) @ rows.reshape(SIDE, width, -1)
    return np.rint(y_from_image(cells[..., 0] if image.ndim == 2 else cells)).astype(np.uint8)


def same_images(left: Sequence[NDArray[np.uint8]], right: Sequence[NDArray[np.uint8]]) -> list[tuple[int, int, float]]:
    """(index in left, index in right, agreement from SAME to 1) of every pair of thumbnails that show the same."""
    matches = []
    for start in range(0, len(right) if left else 0, _BLOCK):
        agreement = _agreement(np.stack(left), np.stack(right[start : start + _BLOCK]))
        matches += [(i, start + j, float(agreement[i, j])) for i, j in np.argwhere(agreement >= SAME).tolist()]
    return sorted(matches)


def _agreement(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> Grid:
    """The highest correlation of each pair (L, R) over windows and the eight symmetries of the left ones."""
    best = np.full((len(left), len(right)), -1, np.float32)
    of_right = _signatures(right.astype(np.float32))
    for symmetry in range(8):
        of_left = _signatures(apply_symmetry(left, symmetry, axis=1).astype(np.float32))
        for window in range(len(of_left)):
            np.maximum(best, of_left[window] @ of_right[0].T, out=best)
            np.maximum(best, of_left[0] @ of_right[window].T, out=best)
    return best


def _signatures(grids: Grid) -> Grid:
    """(windows, N, _CELLS**2): unit vectors of what is finer than 5 x 5 cells in each window of (N, SIDE, SIDE)."""
    offsets = np.arange(_CELLS)[:, None] + np.arange(-2, 3)
    blur = (np.clip(offsets, 0, _CELLS - 1)[..., None] == np.arange(_CELLS)).mean(axis=1, dtype=np.float32)
    signatures = []
    for top, left, side in _windows():
        rows = _averaging(top, top + side, _CELLS, SIDE)
        columns = _averaging(left, left + side, _CELLS, SIDE)
        cells = rows @ grids @ columns.T
        detail = (cells - blur @ cells @ blur.T).reshape(len(grids), -1)
        signatures.append(detail / (np.linalg.norm(detail, axis=1, keepdims=True) + np.float32(1e-6)))
    return np.stack(signatures)


def _windows() -> Iterator[tuple[float, float, float]]:
    """(top, left, side) of the windows of a thumbnail, in its pixels; the first is the whole."""
    yield 0.0, 0.0, float(SIDE)
    for part in WINDOWS:
        places = np.linspace(0, SIDE - part * SIDE, 4).tolist()
        yield from ((top, left, part * SIDE) for top in places for left in places)


def _averaging(start: float, stop: float, cells: int, length: int) -> Grid:
    """The matrix (cells, length) that takes the means of equal cells between two positions."""
    edges = np.linspace(start, stop, cells + 1)[:, None]
    pixels = np.arange(length)
    shared = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    means: Grid = (np.maximum(shared, 0) * (cells / (stop - start))).astype(np.float32)
    return means
