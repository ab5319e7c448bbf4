"""Which images a data folder offers for training, validation and tests."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from srgan.data.pairs import Pair, PairFolders, complete, pair_by_mark, pair_by_name, pair_folders
from srgan.errors import DataError
from srgan.image.files import find_images, find_images_and_others
from srgan.image.source import SUFFIXES

log = logging.getLogger("srgan")

TEST_SETS = ("Set5", "Set14", "BSD100")
X4_FOLDERS = ("X4", "4X")
TEST_HR_FOLDERS = ("HR", "GTmod12", "GTmod4", "original")
TEST_LR_FOLDERS = ("LR_bicubic/X4", "LR_bicubic/4X", "LRbicx4", "LR/X4", "LR")
ALIASES = {"bsd100": ("BSD100", "B100", "BSDS100")}

SAMPLE_TRAINING = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "coffee.png")
"""NASA's astronaut and Hubble deep field, SpaceX's rocket (CC0), Rachel Michetti's coffee (CC0)."""
SAMPLE_VALIDATION = "chelsea.png"
"""Stefan van der Walt's cat (CC0)."""


def training_pairs(root: Path) -> list[Pair]:
    """Every training image under `root`, by name. Raises DataError for none, or for a missing LR."""
    folders = training_folders(root)
    pairs = _pairs_in(folders)
    if not pairs:
        raise DataError(
            f"No images in {folders.hr}, which holds {describe_folder(folders.hr)}; "
            f"expected files ending in {', '.join(sorted(SUFFIXES))}."
        )
    return pairs


def warn_unread(folder: Path, *, recursive: bool = True) -> None:
    """Count, in a warning, the files of a folder that may be images of a format that is not read."""
    if unread := unread_files(folder, recursive=recursive):
        log.warning(f"{folder}: {unread} are not read; convert them to PNG.")


def unread_files(folder: Path, *, recursive: bool = True) -> str:
    """The files of a folder that may be images of a format that is not read, counted by suffix: "2 .kra, 1 .raw"."""
    _, others = find_images_and_others(folder, recursive=recursive)
    counts = Counter(path.suffix.lower() or "without a suffix" for path in others)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def offers_training_images(root: Path) -> bool:
    """Whether a folder holds images beside the test and validation sets and the leftovers of `srgan data fetch`."""
    unseen = {name.lower() for names in (TEST_SETS, *ALIASES.values(), ("valid", "benchmark")) for name in names}
    return root.is_dir() and any(path.relative_to(root).parts[0].lower() not in unseen for path in find_images(root))


def validation_pairs(root: Path) -> list[Pair]:
    """Every validation image under `root`, by name; none where the folder has none."""
    folders = validation_folders(root)
    return _pairs_in(folders) if folders else []


def _pairs_in(folders: PairFolders) -> list[Pair]:
    warn_unread(folders.hr)
    return complete(pair_folders(folders))


def sample_pairs() -> tuple[list[Pair], list[Pair]]:
    """Training and validation photographs in the public domain, from scikit-image."""
    folder = Path(str(resources.files("skimage"))) / "data"
    pairs = [Pair(name=name, hr=folder / name, lr=None) for name in (*SAMPLE_TRAINING, SAMPLE_VALIDATION)]
    return pairs[:-1], pairs[-1:]


def training_folders(root: Path) -> PairFolders:
    """The one place under `root` to train from: DIV2K, else train/, else HR/ with LR/, else `root` itself.

    Raises DataError where there is no such folder, or where it holds test or validation images.
    """
    if not root.is_dir():
        raise DataError(
            f"No data folder {root}; give --data a folder of images, or one that holds train/ or "
            "DIV2K/DIV2K_train_HR (srgan data fetch div2k brings it)."
        )
    if div2k := _div2k(root, "train"):
        return div2k
    if (root / "train").is_dir():
        return image_folder(root / "train")
    if (root / "DIV2K").is_dir():
        raise DataError(
            f"{root / 'DIV2K'} holds {describe_folder(root / 'DIV2K')}, but no DIV2K_train_HR; "
            "srgan data fetch div2k brings it."
        )
    return image_folder(root)


def validation_folders(root: Path) -> PairFolders | None:
    """Where to validate: on DIV2K's images where it is the training set, else on valid/Kodak24, else on valid/ (or its HR/ with LR/)."""
    if div2k := _div2k(root, "valid"):
        return div2k
    for folder in (root / "valid" / "Kodak24", root / "valid"):
        if folder.is_dir():
            return _halves(folder)
    return None


def _div2k(root: Path, split: str) -> PairFolders | None:
    for home in (root, root / "DIV2K"):
        if (hr := home / f"DIV2K_{split}_HR").is_dir():
            return PairFolders(hr=hr, lr=_subfolder(home / f"DIV2K_{split}_LR_bicubic", *X4_FOLDERS))
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
    return _halves(folder)


def _halves(folder: Path) -> PairFolders:
    """HR/ and LR/ inside, else the folder itself."""
    if (folder / "HR").is_dir() and (folder / "LR").is_dir():
        return PairFolders(hr=folder / "HR", lr=_subfolder(folder / "LR", *X4_FOLDERS) or folder / "LR")
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
            pairs = sorted(complete(pair_by_mark(_subfolder(home, "image_SRF_4") or home)), key=lambda pair: pair.name)
        if pairs:
            return pairs
    for parent in (root, root / "DIV2K"):
        hr_folder = _subfolder(parent, f"{set_name}_HR")
        if hr_folder:
            return _test_pairs_in(hr_folder, _subfolder(parent, *(f"{set_name}_{lr}" for lr in TEST_LR_FOLDERS)))
    reason = f"{homes[0]} holds no HR images" if homes else f"there is no {root / set_name}"
    fetch = f" Run: srgan data fetch {set_name.lower()}" if set_name in TEST_SETS else ""
    raise DataError(
        f"Test set {set_name}: {reason}; looked for {set_name}/image_SRF_4/*_HR.png, {set_name}/HR/ and images in "
        f"{set_name}/. A folder of your own images in {root} is a test set under that folder's name.{fetch}"
    )


def set_name_of(name: str) -> str:
    """The usual spelling of a test set's name, in which the paper's rows are kept: set5/ is Set5, B100 is BSD100."""
    name = os.path.normpath(name)  # a shell completes folders with a slash
    spellings = {spelling.lower(): own for own in TEST_SETS for spelling in (own, *ALIASES.get(own.lower(), ()))}
    return spellings.get(name.lower(), name)


def has_test_set(root: Path, set_name: str) -> bool:
    """Whether `test_pairs` finds the set."""
    try:
        return bool(test_pairs(root, set_name))
    except DataError:
        return False


def _test_pairs_in(hr: Path, lr: Path | None) -> list[Pair]:
    hrs, lrs = ([(p.stem, p) for p in (find_images(f, recursive=False) if f else ())] for f in (hr, lr))
    return sorted(complete(pair_by_name(hrs, lrs, lr if lrs else None)), key=lambda pair: pair.name)


def _candidate_folders(root: Path, set_name: str) -> Iterator[Path]:
    names = ALIASES.get(set_name.lower(), (set_name,))
    if root.is_dir() and root.resolve().name.lower() in [name.lower() for name in names]:
        yield root
    for parent in ("", "benchmark/", "valid/"):
        home = _subfolder(root, *(parent + name for name in names))
        if home:
            yield home
    if (root / set_name).is_dir():  # a path that leads out of the data folder
        yield root / set_name


def _subfolder(folder: Path, *paths: str) -> Path | None:
    """The first of the relative paths that is a folder, in any letter case."""
    for path in paths:
        places = [folder]
        for name in path.split("/"):
            inside = [each for place in places[:1] if place.is_dir() for each in place.iterdir()]
            alike = [each for each in inside if each.name.lower() == name.lower() and each.is_dir()]
            places = sorted(alike, key=lambda each: (each.name != name, each))
        if places:
            return places[0]
    return None
