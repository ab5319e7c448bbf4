"""What a data folder is worth: what it holds, what is wrong with it, and whether it leaks into a test set."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srgan.data import folders
from srgan.data.folders import Pair
from srgan.data.likeness import same_pictures, thumbnail
from srgan.errors import DataError, ImageError
from srgan.image import files, resize

Kind = Literal["damaged", "unpaired", "leak", "small", "grey", "duplicate", "lr", "note"]
SERIOUS: frozenset[Kind] = frozenset({"damaged", "unpaired", "leak"})
_NOISE = 100.0  # mean squared levels: an LR that is merely noisy or blurred is of its HR all the same


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing worth saying; the serious kinds make a folder unusable as it is."""

    kind: Kind
    text: str

    @property
    def serious(self) -> bool:
        """Whether the exit code is 2 for it."""
        return self.kind in SERIOUS


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures that serve one purpose: training, validation or a test set. `lr` says how well the LRs fit."""

    role: str
    folder: Path
    pictures: int
    megapixels: float
    lr: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All groups of a folder, and what was found between them."""

    groups: tuple[Group, ...]
    between: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything, group by group."""
        return tuple(f for group in self.groups for f in group.findings) + self.between

    @property
    def usable(self) -> bool:
        """Nothing damaged, unpaired or leaking."""
        return not any(f.serious for f in self.findings)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What one look at a pair told. `lr_error`: largest difference to the exact bicubic, None without an LR."""

    pair: Pair
    height: int = 0
    width: int = 0
    grey: bool = False
    digest: str = ""
    small_picture: NDArray[np.uint8] | None = None
    lr_error: int | None = None
    findings: tuple[Finding, ...] = ()


@dataclass
class _Room:
    """A group before its pictures are looked at."""

    role: str
    folder: Path
    pairs: list[Pair]
    findings: list[Finding] = field(default_factory=list)


def check(
    root: Path,
    *,
    against: Path | None = None,
    minimum: int = 96,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at every picture of a data folder. Errors: DataError where it holds none.

    `against`: another folder whose test sets and validation pictures must not be trained on either.
    `minimum`: shorter side in pixels under which a training picture is too small for a crop.
    """
    rooms = _rooms(root)
    if against and against.resolve() != root.resolve():
        rooms += _rooms(against, tests_only=True)
    total = sum(len(room.pairs) for room in rooms)
    done = 0
    seen: list[list[_Seen]] = []
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        for room in rooms:
            looks = []
            for look in pool.map(_look, room.pairs):
                done += 1
                looks.append(look)
                if progress:
                    progress(done, total)
            seen.append(looks)
    groups = tuple(_group(room, looks, minimum) for room, looks in zip(rooms, seen, strict=True))
    return Report(groups=groups, between=tuple(_leaks(rooms, seen)))


def _rooms(root: Path, *, tests_only: bool = False) -> list[_Room]:
    rooms = []
    refused = None
    if not tests_only:
        try:
            rooms.append(_room("training", folders.training_folders(root)))
        except DataError as error:
            refused = error
    if root.is_dir() and (source_of_validation := folders.validation_folders(root)):
        rooms.append(_room("validation", source_of_validation))
    rooms += [
        _paired(f"test {name}", folder, folders.pair_by_mark(folder))
        for name, folder in folders.test_folders(root).items()
    ]
    if not any(room.pairs for room in rooms):
        raise refused or DataError(f"No pictures in {root}; wanted {', '.join(sorted(files.SUFFIXES))}.")
    if refused:
        rooms[0].findings.append(Finding(kind="note", text=f"nothing to train on: {refused}"))
    return rooms


def _room(role: str, source: folders.PairFolders) -> _Room:
    """Pairs of a source; those without a partner become findings."""
    return _paired(role, source.hr, folders.pair_folders(source))


def _paired(role: str, folder: Path, pairing: folders.Pairing) -> _Room:
    texts = pairing.unpaired + [f"{lr} has no HR in {folder}" for lr in pairing.spare]
    return _Room(role, folder, pairing.pairs, [Finding(kind="unpaired", text=text) for text in texts])


def _look(pair: Pair) -> _Seen:
    """Decode one pair whole: a picture is only known to be sound when its last row came out."""
    try:
        picture = files.read_array(pair.hr)
        given = files.read_array(pair.lr) if pair.lr else None
    except ImageError as error:
        return _Seen(pair=pair, findings=(Finding(kind="damaged", text=str(error)),))
    height, width = picture.shape[:2]
    grey = picture.ndim == 2
    seen = _Seen(
        pair=pair,
        height=height,
        width=width,
        grey=grey,
        digest=hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest(),
        small_picture=thumbnail(picture),
    )
    if given is None or min(height, width) < 4:
        return seen
    made = resize.downscaled(picture)
    if given.shape[:2] != made.shape[:2]:
        sizes = f"{given.shape[1]}x{given.shape[0]}, but {pair.hr} / 4 is {made.shape[1]}x{made.shape[0]}"
        return replace(seen, findings=(Finding(kind="unpaired", text=f"{pair.lr} is {sizes}"),))
    difference = np.abs(np.atleast_3d(given).astype(np.int16) - np.atleast_3d(made))
    if float((difference.astype(np.float64) ** 2).mean()) > max(0.5 * float(made.var()), _NOISE):
        text = f"{pair.lr} does not show what {pair.hr} shows"
        return replace(seen, findings=(Finding(kind="unpaired", text=text),))
    return replace(seen, lr_error=int(difference.max()))


def _group(room: _Room, looks: Sequence[_Seen], minimum: int) -> Group:
    findings = [*room.findings, *(f for look in looks for f in look.findings)]
    sound = [look for look in looks if look.height]
    for look in sound:
        if room.role == "training" and min(look.height, look.width) // 4 * 4 < minimum:
            text = f"{look.pair.hr} is {look.width}x{look.height}, smaller than {minimum}; it is left out"
            findings.append(Finding(kind="small", text=text))
        if room.role == "training" and look.grey:
            findings.append(Finding(kind="grey", text=f"{look.pair.hr} is grey; it is used as RGB"))
    findings += _duplicates(sound)
    errors = [look.lr_error for look in sound if look.lr_error is not None]
    if errors and max(errors) > 2:
        worst = max(sound, key=lambda look: look.lr_error or 0)
        text = f"the LRs are not the exact bicubic: {worst.pair.lr} is off by up to {max(errors)} levels"
        findings.append(Finding(kind="lr", text=text))
    return Group(
        role=room.role,
        folder=room.folder,
        pictures=len(looks),
        megapixels=sum(look.height * look.width for look in sound) / 1e6,
        lr="made" if not errors else "exact" if max(errors) == 0 else f"±{max(errors)}",
        findings=tuple(findings),
    )


def _duplicates(looks: Iterable[_Seen]) -> list[Finding]:
    by_digest = defaultdict(list)
    for look in looks:
        by_digest[look.height, look.width, look.digest].append(look.pair.hr)
    return [
        Finding(kind="duplicate", text=f"{same[0]} has the same pixels as {', '.join(map(str, same[1:]))}")
        for same in by_digest.values()
        if len(same) > 1
    ]


def _leaks(rooms: Sequence[_Room], seen: Sequence[Sequence[_Seen]]) -> list[Finding]:
    """Training pictures that show what a picture shows that training must not see."""
    training = [look for r, looks in zip(rooms, seen, strict=True) if r.role == "training" for look in looks]
    unseen = [look for r, looks in zip(rooms, seen, strict=True) if r.role != "training" for look in looks]
    training = [look for look in training if look.small_picture is not None]
    unseen = [look for look in unseen if look.small_picture is not None]
    found = same_pictures(
        [look.small_picture for look in unseen if look.small_picture is not None],
        [look.small_picture for look in training if look.small_picture is not None],
    )
    return [
        Finding(
            kind="leak",
            text=f"{training[same.right].pair.hr} shows the same picture as {unseen[same.left].pair.hr} "
            f"(agreement {same.agreement:.2f}); take it out of training",
        )
        for same in found
    ]
