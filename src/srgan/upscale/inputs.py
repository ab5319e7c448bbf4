"""Which pictures are upscaled, and where each result goes."""

from __future__ import annotations

import glob
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import UsageError
from srgan.fs import printable
from srgan.image.decode import SUFFIXES
from srgan.image.encode import OUTPUT_SUFFIXES

_ENDINGS = {"png": ".png", "jpg": ".jpg", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}
_OF_OURS = re.compile(r"(.+)_x[234]")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One picture and its place."""

    source: Path
    target: Path
    key: str
    """What names it within the whole job, the same on every machine: decides its shard."""


@dataclass(frozen=True, kw_only=True)
class Worklist:
    """What is to be done."""

    items: tuple[Item, ...]
    single: bool
    """One picture, named as such: its failure is the command's failure."""


def worklist(
    paths: Sequence[Path], output: Path | None, *, scale: int, format: str | None, shard: str | None
) -> Worklist:
    """Files, folders (searched below, mirrored below `output`) and globs -> items. Raises UsageError."""
    folder = output is not None and (output.is_dir() or not output.suffix)
    found = list(_found(paths, output if folder else None))
    single = len(found) == 1 and not any(path.is_dir() for path in paths)
    if output is not None and not folder:
        if len(found) > 1 or any(path.is_dir() for path in paths):
            raise UsageError(
                f"-o {printable(output)} names one file for {len(found)} pictures; give a folder (a name without "
                "an ending)."
            )
        if format and _ENDINGS[format] != _ENDINGS.get(output.suffix.lower()[1:], output.suffix.lower()):
            raise UsageError(f"--format {format} contradicts the ending of -o {printable(output)}.")
    items = []
    for source, relative in found:
        target = _target(source, relative, output, folder, scale, format)
        items.append(Item(source=source, target=target, key=relative.as_posix()))
    _check_distinct(items)
    if shard is not None:
        items = [item for item in items if in_shard(item.key, shard)]
    return Worklist(items=tuple(items), single=single)


def in_shard(key: str, shard: str) -> bool:
    """Whether a picture belongs to shard "I/N" (1 to N). By its name alone, so that machines agree."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is I/N with I from 1 to N, as in 3/8; got '{shard}'.")
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % int(match[2]) == int(match[1]) - 1


def _found(paths: Iterable[Path], output: Path | None) -> Iterator[tuple[Path, Path]]:
    """(picture, its path below the output folder), in order of name within each argument."""
    for path in paths:
        if path.is_dir():
            yield from _below(path, output)
        elif path.exists() or not glob.has_magic(str(path)):
            yield path, Path(path.name)
        else:
            matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207  (absolute ones too)
            pictures = [match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file()]
            if not pictures:
                raise UsageError(f"no picture matches {printable(path)}.")
            root = _fixed_part(path)
            yield from ((match, match.relative_to(root)) for match in _originals(pictures))


def _below(root: Path, output: Path | None) -> Iterator[tuple[Path, Path]]:
    avoided = output.resolve() if output is not None and output.exists() else None
    pictures = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (Path(folder) / name).resolve() != avoided
        )
        pictures += [
            Path(folder) / name
            for name in sorted(names)
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        ]
    if avoided == root.resolve():
        raise UsageError(f"-o {printable(root)} is the input folder itself; give another.")
    if not pictures:
        raise UsageError(f"{printable(root)} holds no picture ({', '.join(SUFFIXES)}).")
    yield from ((picture, picture.relative_to(root)) for picture in _originals(pictures))


def _originals(pictures: Sequence[Path]) -> Iterator[Path]:
    """Without the results of an earlier run: photo_x4.jpg beside photo.jpg is none of the inputs."""
    stems = {picture.with_suffix("") for picture in pictures}
    for picture in pictures:
        match = _OF_OURS.fullmatch(picture.stem)
        if not match or picture.with_name(match[1]) not in stems:
            yield picture


def _fixed_part(pattern: Path) -> Path:
    """The part of a glob before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _target(source: Path, relative: Path, output: Path | None, folder: bool, scale: int, format: str | None) -> Path:
    if output is not None and not folder:
        return output
    suffix = _ENDINGS[format] if format else source.suffix
    if suffix.lower() not in OUTPUT_SUFFIXES:
        suffix = ".png"
    if output is None:
        return source.with_name(f"{source.stem}_x{scale}{suffix}")
    return output / relative.with_suffix(suffix)


def _check_distinct(items: Sequence[Item]) -> None:
    seen: dict[Path, Path] = {}
    for item in items:
        other = seen.setdefault(item.target, item.source)
        if other is not item.source:
            raise UsageError(
                f"{printable(other)} and {printable(item.source)} would both become {printable(item.target)}; "
                "upscale them into different folders."
            )
