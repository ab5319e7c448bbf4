"""Which images a data folder offers for training, validation and tests, and which LR belongs to which HR."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

from srgan.errors import DataError, missing_extra
from srgan.image.files import SUFFIXES, find_images, size

TEST_SETS = ("Set5", "Set14", "BSD100")
X4_FOLDERS = ("X4", "x4", "4X", "4x")
TEST_HR_FOLDERS = ("HR", "GTmod12", "GTmod4", "original")
TEST_LR_FOLDERS = ("LR_bicubic/X4", "LR_bicubic/4X", "LRbicx4", "LR/X4", "LR")
ALIASES = {"bsd100": ("BSD100", "B100", "BSDS100")}

SAMPLE_TRAINING = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "coffee.png")
"""NASA's astronaut and Hubble deep field, SpaceX's rocket (CC0), Rachel Michetti's coffee (CC0)."""
SAMPLE_VALIDATION = ("chelsea.png",)
"""Stefan van der Walt's cat (CC0)."""

_MARKED = re.compile(r"(?P<name>.+?)(?:_SRF_4)?_(?P<kind>HR|LR)", re.IGNORECASE)
_SCALE_MARK = re.compile(r"[_-]?x4$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An HR file and its LR file; `lr` None: the exact bicubic makes it.

    `name`: of a training image, its path below the HR folder; of a test image, its stem without marks.
    """

    name: str
    hr: Path
    lr: Path | None

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


def training_pairs(root: Path) -> list[Pair]:
    """Every training image under `root`, by name. Raises DataError for none, or for a missing LR."""
    folders = training_folders(root)
    pairs = complete(pair_folders(folders))
    if not pairs:
        raise DataError(
            f"No images in {folders.hr}, which holds {describe_folder(folders.hr)}; "
            f"expected files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return pairs


def validation_pairs(root: Path) -> list[Pair]:
    """Every validation image under `root`, by name; none where the folder has none."""
    folders = validation_folders(root)
    return complete(pair_folders(folders)) if folders else []


def sample_pairs() -> tuple[list[Pair], list[Pair]]:
    """Training and validation photographs in the public domain, from scikit-image. Raises MissingExtra."""
    try:
        folder = Path(str(resources.files("skimage"))) / "data"
    except ModuleNotFoundError as error:
        raise missing_extra("train", "Training without a data folder uses the images of scikit-image and") from error
    training, validation = (
        [Pair(name=name, hr=folder / name, lr=None) for name in names] for names in (SAMPLE_TRAINING, SAMPLE_VALIDATION)
    )
    return training, validation


def training_folders(root: Path) -> PairFolders:
    """The one place under `root` to train from: DIV2K, else train/, else HR/ with LR/, else `root` itself.

    Raises DataError where there is no such folder, or where it holds test or validation images.
    """
    if not root.is_dir():
        raise DataError(
            f"No data folder {root}; give --data a folder of images, or one that holds train/ or "
            "DIV2K/DIV2K_train_HR (srgan data fetch div2k brings it)."
        )
    for home in (root, root / "DIV2K"):
        if (home / "DIV2K_train_HR").is_dir():
            return PairFolders(hr=home / "DIV2K_train_HR", lr=_x4_folder(home / "DIV2K_train_LR_bicubic"))
    if (root / "train").is_dir():
        return image_folder(root / "train")
    if (root / "DIV2K").is_dir():
        raise DataError(
            f"{root / 'DIV2K'} holds {describe_folder(root / 'DIV2K')}, but no DIV2K_train_HR; "
            "srgan data fetch div2k brings it."
        )
    return image_folder(root)


def validation_folders(root: Path) -> PairFolders | None:
    """Where to validate: on DIV2K's images where it is the training set, else on valid/Kodak24, else on valid/."""
    for home in (root, root / "DIV2K"):
        if (home / "DIV2K_valid_HR").is_dir():
            return PairFolders(hr=home / "DIV2K_valid_HR", lr=_x4_folder(home / "DIV2K_valid_LR_bicubic"))
    for folder in (root / "valid" / "Kodak24", root / "valid"):
        if folder.is_dir():
            return PairFolders(hr=folder, lr=None)
    return None


def image_folder(folder: Path) -> PairFolders:
    """A folder of images, or one with HR/ and LR/ inside. Raises DataError where it holds what training must not see."""
    # Hidden folders, such as the leftovers of a failed fetch, count for nothing.
    parents = {path.parent.relative_to(folder) for path in find_images(folder)}
    for place in [Path(folder.resolve().name), *sorted(parents)]:
        if any(part == "valid" or part.startswith("image_SRF_") for part in place.parts):
            raise DataError(
                f"{folder} holds test or validation images ({place}), which must not be trained on; "
                "move the training images to a folder of their own, such as train/."
            )
    if (folder / "HR").is_dir() and (folder / "LR").is_dir():
        return PairFolders(hr=folder / "HR", lr=_x4_folder(folder / "LR") or folder / "LR")
    return PairFolders(hr=folder, lr=None)


def describe_folder(folder: Path) -> str:
    """The first names in a folder, as part of a sentence."""
    names: Sequence[str] = sorted(path.name for path in folder.iterdir())
    if not names:
        return "nothing"
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def test_folders(root: Path) -> dict[str, Path]:
    """The folders of the x4 test sets under `root`, by the sets' names: Set5/image_SRF_4 and so on."""
    homes = {name: root / name for name in TEST_SETS}
    if root.name in TEST_SETS:
        homes[root.name] = root
    return {name: home / "image_SRF_4" for name, home in homes.items() if (home / "image_SRF_4").is_dir()}


def test_pairs(root: Path, set_name: str) -> list[Pair]:
    """The pairs of a test set under a data folder, sorted by name. Raises DataError that says where it looked.

    Known layouts: `Set14/image_SRF_4` with *_HR and *_LR (other methods' images there are ignored), EDSR's
    `benchmark/Set14/HR` with `LR_bicubic/X4`, BasicSR's `GTmod12` with `LRbicx4`, DIV2K's, a plain folder.
    """
    homes = list(_candidate_folders(root, set_name))
    for home in homes:
        hr_folder = _subfolder(home, *TEST_HR_FOLDERS)
        if hr_folder:
            pairs = _test_pairs_in(hr_folder, _subfolder(home, *TEST_LR_FOLDERS))
        else:
            folder = _subfolder(home, "image_SRF_4") or home
            pairs = complete(pair_by_mark(folder)) or _test_pairs_in(folder, None)
        if pairs:
            return pairs
    for parent in (root, root / "DIV2K"):
        hr_folder = _subfolder(parent, f"{set_name}_HR")
        if hr_folder:
            return _test_pairs_in(hr_folder, _subfolder(parent, *(f"{set_name}_{lr}" for lr in TEST_LR_FOLDERS)))
    reason = f"{homes[0]} holds no images" if homes else f"there is no {root / set_name}"
    fetch = f" Run: srgan data fetch {set_name.lower()}" if set_name in TEST_SETS else ""
    raise DataError(
        f"Test set {set_name}: {reason}; looked for {set_name}/image_SRF_4/*_HR.png and {set_name}/HR/.{fetch}"
    )


def pair_folders(folders: PairFolders) -> Pairing:
    """The images of an HR folder with those of its LR folder; names are paths below the HR folder."""
    hrs = {path: path.relative_to(folders.hr) for path in find_images(folders.hr)}
    if folders.lr is None:
        return Pairing(pairs=[Pair(name=name.as_posix(), hr=path, lr=None) for path, name in hrs.items()])
    lrs = [(_stem(path.relative_to(folders.lr)), path) for path in find_images(folders.lr)]
    pairing = _pair([(_stem(name), path) for path, name in hrs.items()], lrs, folders.lr)
    return replace(pairing, pairs=[replace(pair, name=hrs[pair.hr].as_posix()) for pair in pairing.pairs])


def pair_by_mark(folder: Path) -> Pairing:
    """The images of one folder whose names end in _HR and _LR; where no LR is there, none is missing."""
    kinds: dict[str, list[tuple[str, Path]]] = {"HR": [], "LR": []}
    for path in find_images(folder, recursive=False):
        match = _MARKED.fullmatch(path.stem)
        if match:
            kinds[match["kind"].upper()].append((match["name"], path))
    return _pair(kinds["HR"], kinds["LR"], folder if kinds["LR"] else None)


def complete(pairing: Pairing) -> list[Pair]:
    """The pairs. Raises DataError that names the first HR without an LR."""
    if pairing.unpaired:
        raise DataError(f"{pairing.unpaired[0]}; without any LR the exact bicubic makes them all.")
    return pairing.pairs


def match_results(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The one file in `folder` for each pair: `img_001.png`, `img_001_SRF_4_LR.png`, `img_001_x4.webp`, ...

    A file belongs to the longest name that it starts with, up to a mark. Of several, those of the right size
    and not called HR are taken. Raises DataError for an image without a file, or with several.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; it should hold a super-resolved file per image of the set.")
    files = find_images(folder, recursive=False)
    names = sorted((pair.name for pair in pairs), key=len, reverse=True)
    owners: dict[str, list[Path]] = {name: [] for name in names}
    for file in files:
        owner = next((name for name in names if _belongs(file.stem, name)), None)
        if owner is not None:
            owners[owner].append(file)
    return {pair.name: _choose_result(owners[pair.name], pair, folder, len(files)) for pair in pairs}


def _choose_result(files: list[Path], pair: Pair, folder: Path, count: int) -> Path:
    if len(files) > 1:
        height, width = (side - side % 4 for side in size(pair.hr))
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
    return files[0]


def _belongs(stem: str, name: str) -> bool:
    """Whether a file's stem is an image's name, alone or followed by a mark."""
    stem, name = stem.lower(), name.lower()
    rest = stem.removeprefix(name)
    return stem.startswith(name) and (not rest or rest[0] in "_-. " or _SCALE_MARK.fullmatch(rest) is not None)


def _pair(hrs: Sequence[tuple[str, Path]], lrs: Sequence[tuple[str, Path]], lr_folder: Path | None) -> Pairing:
    """Pair (name, file) by equal names, or with x4 behind the LR's; without an `lr_folder` no LR is missing."""
    unpaired = [f"{a} and {b} are both image {name}; keep one of them" for name, a, b in (*_twice(hrs), *_twice(lrs))]
    names = {_composed(name) for name, _ in hrs}
    exact = {_composed(name): path for name, path in lrs}
    marked = {_SCALE_MARK.sub("", name): path for name, path in exact.items() if name not in names}
    pairs = []
    for name, path in hrs:
        lr = exact.get(_composed(name)) or marked.get(_composed(name))
        if lr is None and lr_folder:
            unpaired.append(f"{path} has no LR in {lr_folder} (looked for {path.stem}x4{path.suffix})")
        pairs.append(Pair(name=name, hr=path, lr=lr))
    spare = {path for _, path in lrs} - {pair.lr for pair in pairs}
    return Pairing(pairs=pairs, unpaired=unpaired, spare=sorted(spare))


def _twice(files: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Path, Path]]:
    """Each name that two files have, with both."""
    first: dict[str, Path] = {}
    for name, path in files:
        other = first.setdefault(_composed(name), path)
        if other is not path:
            yield name, other, path


def _composed(name: str) -> str:
    """A name with composed letters: file systems and archives differ in them."""
    return unicodedata.normalize("NFC", name)


def _stem(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _test_pairs_in(hr: Path, lr: Path | None) -> list[Pair]:
    hrs, lrs = ([(p.stem, p) for p in (find_images(f, recursive=False) if f else ())] for f in (hr, lr))
    return sorted(complete(_pair(hrs, lrs, lr if lrs else None)), key=lambda pair: pair.name)


def _candidate_folders(root: Path, set_name: str) -> Iterator[Path]:
    names = ALIASES.get(set_name.lower(), (set_name,))
    if root.is_dir() and root.resolve().name.lower() in [name.lower() for name in names]:
        yield root
    for parent in ("", "benchmark/", "valid/"):
        home = _subfolder(root, *(parent + name for name in names))
        if home:
            yield home


def _subfolder(folder: Path, *paths: str) -> Path | None:
    """The first of the relative paths that is a folder, in any letter case."""
    return next((match for path in paths if (match := _descend(folder, path.split("/")))), None)


def _descend(folder: Path, names: Sequence[str]) -> Path | None:
    for name in names:
        if not folder.is_dir():
            return None
        matches = sorted(path for path in folder.iterdir() if path.name.lower() == name.lower() and path.is_dir())
        if not matches:
            return None
        folder = folder / name if folder / name in matches else matches[0]
    return folder


def _x4_folder(folder: Path) -> Path | None:
    return next((folder / name for name in X4_FOLDERS if (folder / name).is_dir()), None)
