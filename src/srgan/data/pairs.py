"""An HR image and its LR: paired by name, by folder or by mark; and the result that belongs to a pair."""

import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan.errors import DataError
from srgan.image import resize
from srgan.image.files import find_images, read_array, read_rgb8, size

log = logging.getLogger("srgan")

_MARKED = re.compile(r"(?P<name>.+?)(?:_SRF_4)?[ _-](?P<kind>HR|GT|LR)(?:[ _-]?x4)?", re.IGNORECASE)
_MARKED_BEFORE = re.compile(r"(?P<kind>HR|GT|LR)[ _-](?P<name>.+)", re.IGNORECASE)
_MARK = re.compile(r"(?:[ _-]?x4|[ _-](?:SRF_4|HR|GT|LR))+$", re.IGNORECASE)
_SCALE_MARK = re.compile(r"[_-]?x4$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An HR file and its LR file; `lr` None: the exact bicubic makes it.

    `name`: of a training image, its path below the HR folder; of a test image, its stem without marks.
    """

    name: str
    hr: Path
    lr: Path | None

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """HR (4H, 4W, 3), cropped to multiples of 4, and LR (H, W, 3). Raises ImageError; DataError for sizes that differ."""
        whole = read_rgb8(self.hr)
        hr = np.ascontiguousarray(resize.cropped(whole))
        lr = np.ascontiguousarray(read_rgb8(self.lr) if self.lr else resize.downscaled(hr))
        self.check_sizes(whole.shape[:2], lr.shape[:2])
        return hr, lr

    def check_sizes(self, hr_size: tuple[int, int], lr_size: tuple[int, int]) -> None:
        """Raises DataError unless the LR is a quarter of the HR, cropped to multiples of 4; sizes (height, width)."""
        height, width = (side // 4 for side in hr_size)
        if lr_size != (height, width):
            raise DataError(
                f"{self.lr} is {lr_size[1]}x{lr_size[0]}, but {self.hr} / 4 is {width}x{height} "
                f"(of {hr_size[1]}x{hr_size[0]}); are the folders paired?"
            )


@dataclass(frozen=True, kw_only=True)
class PairFolders:
    """The folder of the HRs and, if there is one, the folder of the LRs."""

    hr: Path
    lr: Path | None


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """HRs with their LRs. `unpaired`: a sentence per HR without an LR; `spare`: LRs without an HR."""

    pairs: list[Pair]
    unpaired: list[str] = field(default_factory=list)
    spare: list[Path] = field(default_factory=list)


def pair_folders(folders: PairFolders) -> Pairing:
    """The images of an HR folder with those of its LR folder; names are paths below the HR folder.

    Without an LR folder an LR may lie beside its HR: v_LR.png beside v_HR.png or v.png.
    """
    hrs = {path: path.relative_to(folders.hr) for path in find_images(folders.hr)}
    if folders.lr is None:
        places = {path: _place(path) for path in hrs}
        of_hrs = {place for place, is_lr in places.values() if not is_lr}
        lrs_beside = {place: path for path, (place, is_lr) in places.items() if is_lr and place in of_hrs}
        used = [(path, place) for path, (place, is_lr) in places.items() if not (is_lr and place in of_hrs)]
        return Pairing(pairs=[Pair(name=hrs[p].as_posix(), hr=p, lr=lrs_beside.get(place)) for p, place in used])
    lrs = [(_stem(path.relative_to(folders.lr)), path) for path in find_images(folders.lr)]
    pairing = pair_by_name([(_stem(name), path) for path, name in hrs.items()], lrs, folders.lr)
    return replace(pairing, pairs=[replace(pair, name=hrs[pair.hr].as_posix()) for pair in pairing.pairs])


def pair_by_mark(folder: Path) -> Pairing:
    """The images of one folder whose names end, or begin, in HR (or GT) and LR; where no LR is there, none is missing.

    Without any such HR, an HR is an image without a mark, and its LR is called as it is with _LR or x4 behind.
    """
    marks = {path: _marked(path.stem) for path in find_images(folder, recursive=False)}
    hrs: list[tuple[str, Path]] = []
    lrs: list[tuple[str, Path]] = []
    for path, match in marks.items():
        if match:
            (lrs if match["kind"].upper() == "LR" else hrs).append((match["name"], path))
    if not hrs:
        stems = {_nfc(path.stem) for path in marks}
        for path, match in marks.items():
            bare = _MARK.sub("", _nfc(path.stem))
            if not match:
                is_lr = bare != _nfc(path.stem) and bare in stems
                (lrs if is_lr else hrs).append((bare if is_lr else path.stem, path))
    return pair_by_name(hrs, lrs, folder if lrs else None)


def complete(pairing: Pairing) -> list[Pair]:
    """The pairs; a warning counts LRs that are not used. Raises DataError that names the first HR without an LR."""
    if pairing.unpaired:
        raise DataError(f"{pairing.unpaired[0]}.")
    if pairing.spare:
        log.warning(f"LR images without an HR are not used: {len(pairing.spare)}, the first is {pairing.spare[0]}.")
    return pairing.pairs


def match_results(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The one file in `folder` for each pair: `img_001.png`, `img_001_SRF_4_LR.png`, `img_001_x4.webp`, ...

    A file belongs to the longest name that it starts with, up to a mark. Of several, those of the right size
    and not called HR are taken. Raises DataError for an image without a file, with several, or with one of another size.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold a super-resolved file per image of the set.")
    files = find_images(folder, recursive=False)
    names = sorted((pair.name for pair in pairs), key=len, reverse=True)
    owners: dict[str, list[Path]] = {name: [] for name in names}
    for file in files:
        for name in names:
            stem, rest = file.stem.lower(), file.stem.lower().removeprefix(name.lower())
            # The name alone, or followed by a mark.
            if stem == name.lower() + rest and (not rest or rest[0] in "_-. " or _SCALE_MARK.fullmatch(rest)):
                owners[name].append(file)
                break
    return {pair.name: _choose_result(owners[pair.name], pair, folder, len(files)) for pair in pairs}


def _choose_result(files: list[Path], pair: Pair, folder: Path, count: int) -> Path:
    height, width = (side - side % 4 for side in size(pair.hr))
    if len(files) > 1:
        right = [f for f in files if not f.stem.lower().endswith("_hr") and size(f) == (height, width)]
        files = right or files
    if not files:
        raise DataError(
            f"{folder} has no image for {pair.name} among its {count}; expected {pair.name}.png, or with an "
            "ending such as _SRF_4_LR or _x4. Do they belong to another test set?"
        )
    if len(files) > 1:
        both = " and ".join(file.name for file in files[:2])
        raise DataError(f"{folder} has several images for {pair.name}: {both}; keep one per image.")
    got = read_array(files[0]).shape  # decoded, so that none fails later
    if got[:2] != (height, width):
        expected = f"{pair.hr} (cropped to a multiple of 4) is {width}x{height}"
        raise DataError(f"{files[0]} is {got[1]}x{got[0]}, but {expected}; is it of another set or scale?")
    return files[0]


def pair_by_name(hrs: Sequence[tuple[str, Path]], lrs: Sequence[tuple[str, Path]], lr_folder: Path | None) -> Pairing:
    """Pair (name, file) by equal names, else by names without marks (x4, _SRF_4, _HR, _LR).

    Without an `lr_folder` no LR is missing.
    """
    unpaired = [f"{a} and {b} are both image {name}; keep one of them" for name, a, b in (*_twice(hrs), *_twice(lrs))]
    names = {_nfc(name) for name, _ in hrs}
    exact = {_nfc(name): path for name, path in lrs}
    marked = {_MARK.sub("", name): path for name, path in exact.items() if name not in names}
    pairs: list[Pair] = []
    owners: dict[Path, Path] = {}
    for name, path in hrs:
        lr = exact.get(_nfc(name)) or marked.get(_nfc(name)) or marked.get(_MARK.sub("", _nfc(name)))
        if lr is None and lr_folder:
            marked_hr = _marked(path.stem)
            expected = f"{marked_hr['name']}_LR" if marked_hr else f"{path.stem}x4"
            looked_for = f"{path} has no LR in {lr_folder} (looked for {expected}{path.suffix})"
            unpaired.append(f"{looked_for}; without any LR the exact bicubic makes them all")
        if lr is not None and (owner := owners.setdefault(lr, path)) != path:
            unpaired.append(f"{owner} and {path} would share the LR {lr}; rename one of them")
        pairs.append(Pair(name=name, hr=path, lr=lr))
    spare = {path for _, path in lrs} - {pair.lr for pair in pairs}
    return Pairing(pairs=pairs, unpaired=unpaired, spare=sorted(spare))


def _twice(files: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Path, Path]]:
    """Each name that two files have, with both."""
    first: dict[str, Path] = {}
    for name, path in files:
        other = first.setdefault(_nfc(name), path)
        if other is not path:
            yield name, other, path


def _marked(stem: str) -> re.Match[str] | None:
    return _MARKED.fullmatch(stem) or _MARKED_BEFORE.fullmatch(stem)


def _place(path: Path) -> tuple[Path, bool]:
    """The path without a suffix and a mark HR, GT or LR, and whether the mark is LR."""
    mark = _marked(path.stem)
    return path.with_name(_nfc(mark["name"] if mark else path.stem)), mark is not None and mark["kind"].upper() == "LR"


def _nfc(name: str) -> str:
    """A name with composed letters: file systems and archives differ in them."""
    return unicodedata.normalize("NFC", name)


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()
