"""Which pictures a data folder offers, and which low-resolution file belongs to which high-resolution one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import DataError
from srgan.image.files import SUFFIXES

TEST_SETS = ("Set5", "Set14", "BSD100")
LR_FOLDERS = ("X4", "x4", "4X", "4x")
_SCALE_MARK = re.compile(r"[_-]?x4$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A picture and its quarter; `name` is relative to the pictures' folder, `lr` None means "make it"."""

    name: str
    hr: Path
    lr: Path | None


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where pictures lie: the folder of HRs and, if one is given, the folder of LRs."""

    hr: Path
    lr: Path | None


def training_source(root: Path) -> Source:
    """The one place under `root` to train from: DIV2K, else train/, else HR/ with LR/, else `root` itself.

    Errors: DataError where there is no such folder, or where it holds test or validation pictures.
    """
    if not root.is_dir():
        raise DataError(
            f"No data folder {root}; give --data a folder of pictures, or one that holds train/ or "
            "DIV2K/DIV2K_train_HR (srgan data fetch div2k brings it)."
        )
    for home in (root, root / "DIV2K"):
        if (home / "DIV2K_train_HR").is_dir():
            return Source(hr=home / "DIV2K_train_HR", lr=_lr_folder(home / "DIV2K_train_LR_bicubic"))
    if (root / "train").is_dir():
        return _plain(root / "train")
    if (root / "DIV2K").is_dir():
        raise DataError(
            f"{root / 'DIV2K'} holds {_listing(root / 'DIV2K')}, but no DIV2K_train_HR; "
            "srgan data fetch div2k brings it."
        )
    return _plain(root)


def validation_source(root: Path) -> Source | None:
    """The pictures to validate on: DIV2K's where it is the training set, else valid/Kodak24, else valid/."""
    for home in (root, root / "DIV2K"):
        if (home / "DIV2K_valid_HR").is_dir():
            return Source(hr=home / "DIV2K_valid_HR", lr=_lr_folder(home / "DIV2K_valid_LR_bicubic"))
    for folder in (root / "valid" / "Kodak24", root / "valid"):
        if folder.is_dir():
            return Source(hr=folder, lr=None)
    return None


def test_folders(root: Path) -> dict[str, Path]:
    """The folders of the x4 test sets under `root`, by the sets' names: Set5/image_SRF_4 and its like."""
    homes = {name: root / name for name in TEST_SETS}
    if root.name in TEST_SETS:
        homes[root.name] = root
    return {name: home / "image_SRF_4" for name, home in homes.items() if (home / "image_SRF_4").is_dir()}


def training_pairs(root: Path) -> list[Pair]:
    """Every training picture under `root`, by name. Errors: DataError for none, or a missing LR."""
    source = training_source(root)
    pairs = paired(source)
    if not pairs:
        raise DataError(
            f"No pictures in {source.hr}, which holds {_listing(source.hr)}; "
            f"wanted files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return pairs


def validation_pairs(root: Path) -> list[Pair]:
    """Every validation picture under `root`, by name; none where the folder has none."""
    source = validation_source(root)
    return paired(source) if source else []


def paired(source: Source) -> list[Pair]:
    """Each HR of a source with its LR. Errors: DataError naming the first HR whose LR is missing."""
    lrs = lr_by_stem(source.lr) if source.lr else {}
    pairs = []
    for hr in pictures(source.hr):
        name = hr.relative_to(source.hr)
        lr = lrs.get(name.with_suffix("").as_posix())
        if source.lr is not None and lr is None:
            raise DataError(
                f"{hr} has no LR in {source.lr} (looked for {name.stem}x4{name.suffix}); complete that "
                "folder, or move it away to have every LR made by the exact bicubic."
            )
        pairs.append(Pair(name=name.as_posix(), hr=hr, lr=lr))
    return pairs


def lr_by_stem(folder: Path) -> dict[str, Path]:
    """LR files by the name of their HR, without suffix and x4 mark: `sub/0001x4.png` under `sub/0001`."""
    found = {}
    for path in pictures(folder):
        name = path.relative_to(folder).with_suffix("")
        found[name.with_name(_SCALE_MARK.sub("", name.name)).as_posix()] = path
    return found


def pictures(folder: Path) -> list[Path]:
    """Every picture file below a folder, sorted by path; links followed, hidden files left out."""
    return sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for here, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        below[:] = [] if real in seen else [d for d in below if not d.startswith((".", "__MACOSX"))]
        if real not in seen:
            yield from (Path(here, n) for n in names if n[0] != "." and Path(n).suffix.lower() in SUFFIXES)
        seen.add(real)


def _plain(folder: Path) -> Source:
    """A folder of pictures, or one with HR/ and LR/ inside; refused where it holds what must not be seen."""
    folders = [Path(here) for here, _, _ in os.walk(folder)]
    for path in [Path(folder.resolve().name), *(f.relative_to(folder) for f in folders)]:
        if path.name == "valid" or path.name.startswith("image_SRF_"):
            raise DataError(
                f"{folder} holds test or validation pictures ({path}), which must not be trained on; "
                "move the training pictures to a folder of their own, such as train/."
            )
    if (folder / "HR").is_dir() and (folder / "LR").is_dir():
        return Source(hr=folder / "HR", lr=_lr_folder(folder / "LR") or folder / "LR")
    return Source(hr=folder, lr=None)


def _lr_folder(folder: Path) -> Path | None:
    return next((folder / name for name in LR_FOLDERS if (folder / name).is_dir()), None)


def _listing(folder: Path) -> str:
    names: Sequence[str] = sorted(path.name for path in folder.iterdir())
    if not names:
        return "nothing"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
