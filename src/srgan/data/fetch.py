"""From nothing to a known set in its place: download, unpack, verify by content, move; each step goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from srgan.data import receipts, verify
from srgan.data.catalogue import Download, Known, read_catalogue
from srgan.data.download import Patience, digest_of, download
from srgan.data.unpack import unpack
from srgan.errors import DataError
from srgan.image.files import find_images

WORKSHOP = ".fetch"
"""Folder below the data folder in which unfinished things lie."""
_SMALL_FILE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Voice:
    """Where messages and progress go: `stage` names what `progress` then counts."""

    say: Callable[[str], None] = lambda _: None
    stage: Callable[[str], Callable[[int, int], None]] = lambda _: lambda done, total: None


PATIENCE = Patience()
SILENT = Voice()


def fetch(
    name: str,
    root: Path,
    *,
    keep: bool = False,
    patience: Patience = PATIENCE,
    voice: Voice = SILENT,
) -> list[Path]:
    """Bring a set of the catalogue below `root`, or verify the one that is there; its places come back.

    `keep`: leave the archives in `<root>/.fetch`. Errors: DataError for an unknown name, when no route works,
    when the disk is too small, or when something else lies in the set's place.
    """
    catalogue = read_catalogue()
    if name not in catalogue:
        raise DataError(f"There is no set {name!r}; known are {', '.join(catalogue)}.")
    known = catalogue[name]
    shop = root / WORKSHOP
    receipt = shop / f"{name}.json"
    places = _places(known, root)
    if receipts.verified(places, receipt):
        voice.say(f"{known.title} is there and was verified.")
        return places
    refusals = []
    for route in known.routes:
        try:
            root.mkdir(parents=True, exist_ok=True)
            _check_space(route, root, shop)
            archives = _by_route(known, route, root, shop, patience, voice)
            receipts.remember(places, receipt)
            if not keep:
                _clear(archives)
            return places
        except OSError as error:
            where = error.filename or root
            raise DataError(f"Cannot write {where}: {error.strerror or error}; choose another --to.") from error
        except DataError as error:
            refusals.append(str(error))
            voice.say(f"This way did not work: {error}")
    raise DataError(f"{known.title} could not be fetched. " + " ".join(dict.fromkeys(refusals)))


def _places(known: Known, root: Path) -> list[Path]:
    """What the set consists of in the end."""
    if known.layout == "test":
        return [root / known.title / "image_SRF_4"]
    return [root / (item.into or item.name) for item in known.routes[0]]


def _by_route(
    known: Known, route: tuple[Download, ...], root: Path, shop: Path, patience: Patience, voice: Voice
) -> list[Path]:
    """Fetch by one route; the archives that were used come back."""
    if known.layout == "div2k":
        return _div2k(route, root, shop, patience, voice)
    if known.layout == "test":
        return _test_set(known, route, root, shop, patience, voice)
    (item,) = route
    place = root / item.name
    judge = verify.verify_vgg19 if known.layout == "vgg19" else verify.verify_niqe
    if place.exists():
        if item.digest and digest_of(place, item.digest) != item.digest:
            raise DataError(f"{place} is not {known.title} ({item.digest} was expected); move it away, then fetch.")
        judge(place)
        return []
    got = _bring(item, shop, patience, voice)
    _judged(judge, got)
    _move(got, place)
    return []


def _div2k(route: tuple[Download, ...], root: Path, shop: Path, patience: Patience, voice: Voice) -> list[Path]:
    archives = []
    folders = {}
    for item in route:
        place, staged = root / item.into, shop / item.into
        if place.is_dir():
            staged = place
        elif not staged.is_dir():
            archive = _bring(item, shop, patience, voice)
            _unpack(archive, item, staged, voice)
        archives.append(shop / item.name)
        if len(find_images(staged)) != item.pictures:
            what = "move it away" if staged == place else "remove it"
            raise DataError(
                f"{staged} holds {len(find_images(staged))} pictures, {item.pictures} were expected; {what}, then fetch."
            )
        folders[item.folder] = (place, staged, item.pictures)
    for name, (_, staged, count) in folders.items():
        if name.endswith("_HR"):
            _, lr, _ = folders[name.removesuffix("_HR") + "_LR_bicubic/X4"]
            try:
                verify.verify_split(staged, lr, count, voice.stage(f"verifying {name}"))
            except DataError:
                _discard(route, (staged, lr), root, shop)
                raise
    for place, staged, _ in folders.values():
        if staged != place:
            _move(staged, place)
    return archives


def _discard(route: tuple[Download, ...], wrong: tuple[Path, ...], root: Path, shop: Path) -> None:
    """Remove what was unpacked and turned out wrong, with its archive where no hash vouches for that."""
    for item in route:
        if shop / item.into in wrong and not (root / item.into).is_dir():
            shutil.rmtree(shop / item.into, ignore_errors=True)
            if not item.digest:
                (shop / item.name).unlink(missing_ok=True)


def _test_set(
    known: Known, route: tuple[Download, ...], root: Path, shop: Path, patience: Patience, voice: Voice
) -> list[Path]:
    place = root / known.title / "image_SRF_4"
    if place.is_dir():
        try:
            verify.verify_test_set(known.title, place, known.pictures)
        except DataError as error:
            raise DataError(f"{error} Move {place} away, then fetch.") from error
        return []
    staged = shop / known.title / "image_SRF_4"
    archives = []
    if route[0].count:
        _bring_all(route, shop, patience, voice)
    else:
        (item,) = route
        archive = _bring(item, shop, patience, voice)
        raw = shop / "raw" / known.title
        _unpack(archive, item, raw, voice)
        shutil.rmtree(staged, ignore_errors=True)
        verify.write_test_set(known.title, find_images(raw), staged)
        shutil.rmtree(raw)
        archives.append(archive)
    try:
        verify.verify_test_set(known.title, staged, known.pictures)
    except DataError:
        shutil.rmtree(staged)
        raise
    _move(staged, place)
    return archives


def _bring(item: Download, shop: Path, patience: Patience, voice: Voice) -> Path:
    return download(
        item.urls,
        shop / item.name,
        length=item.length,
        digest=item.digest,
        patience=patience,
        progress=voice.stage(f"fetching {Path(item.name).name}"),
        say=voice.say,
    )


def _bring_all(route: tuple[Download, ...], shop: Path, patience: Patience, voice: Voice) -> None:
    """The numbered files of a route, each a small download; progress counts files."""
    items = [_numbered(item, n) for n in range(1, route[0].count + 1) for item in route]
    progress = voice.stage("fetching pictures")
    for done, item in enumerate(items, 1):
        download(item.urls, shop / item.name, patience=patience, say=voice.say)
        progress(done, len(items))


def _numbered(item: Download, number: int) -> Download:
    text = f"{number:03d}"
    return replace(item, name=item.name.replace("{n}", text), urls=tuple(u.replace("{n}", text) for u in item.urls))


def _unpack(archive: Path, item: Download, folder: Path, voice: Voice) -> None:
    """Into a temporary name first, so that a folder that is there is whole."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    unpack(archive, item.folder, partial, progress=voice.stage(f"unpacking {Path(item.name).name}"))
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _judged(judge: Callable[[Path], None], path: Path) -> None:
    """Wrong content is removed, so that the next try fetches it again."""
    try:
        judge(path)
    except DataError:
        path.unlink()
        raise


def _move(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    source.replace(place)


def _clear(archives: list[Path]) -> None:
    for archive in archives:
        archive.unlink(missing_ok=True)


def _check_space(route: tuple[Download, ...], root: Path, shop: Path) -> None:
    """Refuse before the first byte what would not fit: what is still to come, and what it unpacks to."""
    wanted = 0
    for item in route:
        if (root / (item.into or item.name)).exists():
            continue
        part = shop / (item.name + ".part")
        have = part.stat().st_size if part.exists() else 0
        whole = (shop / item.name).exists()
        wanted += item.unpacked + (0 if whole else (item.length or _SMALL_FILE * max(item.count, 1)) - have)
    there = next(folder for folder in (root, *root.resolve().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise DataError(
            f"{wanted / 1e9:.2f} GB are needed below {root}, but {free / 1e9:.2f} GB are free; choose another --to."
        )
