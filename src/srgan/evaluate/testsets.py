"""Which files are the pictures of a test set, and which files are somebody's results for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import DataError
from srgan.evaluate.paper import COUNTS
from srgan.image.files import SUFFIXES, size

HR_FOLDERS = ("HR", "GTmod12", "GTmod4", "original")
LR_FOLDERS = ("LR_bicubic/X4", "LR_bicubic/4X", "LRbicx4", "LR/X4", "LR")
ALIASES = {"bsd100": ("BSD100", "B100", "BSDS100")}

_MARKED = re.compile(r"(?P<name>.+?)(?:_SRF_4)?_(?P<kind>HR|LR)", re.IGNORECASE)
_SCALE_MARK = re.compile(r"[_-]?x4$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A test picture; `lr` None means that the exact bicubic makes it."""

    name: str
    hr: Path
    lr: Path | None


def test_pairs(root: Path, set_name: str) -> list[Pair]:
    """The pairs of a test set under a data folder, sorted by name. Errors: DataError saying where was looked.

    Known layouts: `Set14/image_SRF_4` with *_HR and *_LR (whatever else lies there is left alone), EDSR's
    `benchmark/Set14/HR` with `LR_bicubic/X4`, BasicSR's `GTmod12` with `LRbicx4`, DIV2K's, a plain folder.
    """
    homes = list(_homes(root, set_name))
    for home in homes:
        hr_folder = _below(home, *HR_FOLDERS)
        if hr_folder:
            pairs = _by_folder(hr_folder, _below(home, *LR_FOLDERS))
        else:
            folder = _below(home, "image_SRF_4") or home
            pairs = _by_mark(folder) or _by_folder(folder, None)
        if pairs:
            return pairs
    for parent in (root, root / "DIV2K"):
        hr_folder = _below(parent, f"{set_name}_HR")
        if hr_folder:
            return _by_folder(hr_folder, _below(parent, *(f"{set_name}_{lr}" for lr in LR_FOLDERS)))
    found = f"{homes[0]} holds no pictures" if homes else f"there is no {root / set_name}"
    known = f" Run: srgan data fetch {set_name.lower()}" if set_name in COUNTS else ""
    raise DataError(
        f"Test set {set_name}: {found}; looked for {set_name}/image_SRF_4/*_HR.png and {set_name}/HR/.{known}"
    )


test_pairs.__test__ = False  # type: ignore[attr-defined]  # not one of pytest's


def matched(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The one file in `folder` for each pair: `img_001.png`, `img_001_SRF_4_LR.png`, `img_001_x4.webp`, ...

    A file belongs to the longest name that it starts with, up to a mark. Of several, those of the right size
    and not called HR are taken. Errors: DataError for a picture without a file, or with several.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold a super-resolved file per picture of the set.")
    files = list(_pictures(folder))
    names = sorted((pair.name for pair in pairs), key=len, reverse=True)
    owners: dict[str, list[Path]] = {name: [] for name in names}
    for file in files:
        owner = next((name for name in names if _belongs(file.stem, name)), None)
        if owner is not None:
            owners[owner].append(file)
    return {pair.name: _the_one(owners[pair.name], pair, folder, len(files)) for pair in pairs}


def _the_one(files: list[Path], pair: Pair, folder: Path, count: int) -> Path:
    if len(files) > 1:
        height, width = (side - side % 4 for side in size(pair.hr))
        right = [f for f in files if not f.stem.lower().endswith("_hr") and size(f) == (height, width)]
        files = right or files
    if not files:
        raise DataError(
            f"{folder} has no picture for {pair.name} among its {count}; wanted {pair.name}.png, or with an "
            "ending such as _SRF_4_LR or _x4. Do they belong to another test set?"
        )
    if len(files) > 1:
        both = " and ".join(file.name for file in files[:2])
        raise DataError(f"{folder} has several pictures for {pair.name}: {both}; keep one per picture.")
    return files[0]


def _belongs(stem: str, name: str) -> bool:
    """Whether a file's stem is a picture's name, alone or with something marked off behind it."""
    stem, name = stem.lower(), name.lower()
    rest = stem.removeprefix(name)
    return stem.startswith(name) and (not rest or rest[0] in "_-. " or _SCALE_MARK.fullmatch(rest) is not None)


def _homes(root: Path, set_name: str) -> Iterator[Path]:
    names = ALIASES.get(set_name.lower(), (set_name,))
    if root.is_dir() and root.resolve().name.lower() in [name.lower() for name in names]:
        yield root
    for parent in ("", "benchmark/", "valid/"):
        home = _below(root, *(parent + name for name in names))
        if home:
            yield home


def _below(folder: Path, *paths: str) -> Path | None:
    """The first of the relative paths that is a folder, in any letter case."""
    return next((found for path in paths if (found := _descend(folder, path.split("/")))), None)


def _descend(folder: Path, names: Sequence[str]) -> Path | None:
    for name in names:
        if not folder.is_dir():
            return None
        below = sorted(path for path in folder.iterdir() if path.name.lower() == name.lower() and path.is_dir())
        if not below:
            return None
        folder = folder / name if folder / name in below else below[0]
    return folder


def _by_mark(folder: Path) -> list[Pair]:
    """Pairs told by _HR and _LR in one folder."""
    kinds: dict[str, list[tuple[str, Path]]] = {"HR": [], "LR": []}
    for path in _pictures(folder):
        match = _MARKED.fullmatch(path.stem)
        if match:
            kinds[match["kind"].upper()].append((match["name"], path))
    return _joined(kinds["HR"], kinds["LR"])


def _by_folder(hr: Path, lr: Path | None) -> list[Pair]:
    """Pairs told by their folders; an LR may carry x4 behind its name."""
    lrs = [(_SCALE_MARK.sub("", path.stem), path) for path in _pictures(lr)] if lr else []
    return _joined([(path.stem, path) for path in _pictures(hr)], lrs)


def _joined(hrs: Iterable[tuple[str, Path]], lrs: Iterable[tuple[str, Path]]) -> list[Pair]:
    originals, quarters = _unique(hrs), _unique(lrs)
    if quarters:
        for name, path in originals.items():
            if name not in quarters:
                raise DataError(f"{path} has no LR, though others beside it have; is the set complete?")
    return [Pair(name=name, hr=originals[name], lr=quarters.get(name)) for name in sorted(originals)]


def _unique(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in named:
        if name in found:
            raise DataError(f"{found[name]} and {path} are both picture {name}; keep one of them.")
        found[name] = path
    return found


def _pictures(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path
