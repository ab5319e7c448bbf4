"""Which images are upscaled, and where each result goes."""

from __future__ import annotations

import glob
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import UsageError
from srgan.fs import printable
from srgan.image.files import SUFFIXES, find_images, result_suffix

_SUFFIXES = {
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "avif": ".avif",
    "gif": ".gif",
}
_RESULT = re.compile(r"(.+)_x[234]")


@dataclass(frozen=True, kw_only=True)
class UpscaleTask:
    """One image and the file that it becomes."""

    source: Path
    target: Path
    key: str
    """Its name within the whole job, the same on every machine: decides its shard."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All tasks of one command."""

    tasks: tuple[UpscaleTask, ...]
    single: bool
    """One image, named as such: its failure is the command's failure."""


def find_inputs(
    paths: Sequence[Path], output: Path | None, *, scale: int, format: str | None, shard: str | None
) -> Inputs:
    """Files, folders (searched below, mirrored below `output`) and globs -> tasks. Raises UsageError."""
    folder = output is not None and (output.is_dir() or not output.suffix)
    images = list(_expand(paths, output if folder else None))
    single = len(images) == 1 and not any(path.is_dir() for path in paths)
    if output is not None and not folder:
        if len(images) > 1 or any(path.is_dir() for path in paths):
            raise UsageError(
                f"-o {printable(output)} names one file for {len(images)} images; give a folder (a name without "
                "an ending)."
            )
        if format and _SUFFIXES[format] != _SUFFIXES.get(output.suffix.lower()[1:], output.suffix.lower()):
            raise UsageError(f"--format {format} contradicts the ending of -o {printable(output)}.")
    tasks = []
    for source, relative in images:
        target = output if output is not None and not folder else _target(source, relative, output, scale, format)
        tasks.append(UpscaleTask(source=source, target=target, key=relative.as_posix()))
    _check_distinct(tasks)
    if shard is not None:
        tasks = [task for task in tasks if in_shard(task.key, shard)]
    return Inputs(tasks=tuple(tasks), single=single)


def in_shard(key: str, shard: str) -> bool:
    """Whether an image belongs to shard "I/N" (1 to N), by its name alone, so that machines agree. Raises UsageError."""
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is I/N with I from 1 to N, as in 3/8; got '{shard}'.")
    return zlib.crc32(key.encode("utf-8", "surrogateescape")) % int(match[2]) == int(match[1]) - 1


def _expand(paths: Iterable[Path], output: Path | None) -> Iterator[tuple[Path, Path]]:
    """(image, its path below the output folder), in order of name within each argument."""
    for path in paths:
        if path.is_dir():
            root, images = path, _images_below(path, output)
        elif path.exists() or not glob.has_magic(str(path)):
            yield path, Path(path.name)
            continue
        else:
            root, images = _fixed_part(path), _images_matching(path)
        yield from ((image, image.relative_to(root)) for image in without_results(images))


def _images_below(root: Path, output: Path | None) -> list[Path]:
    if output is not None and output.resolve() == root.resolve():
        raise UsageError(f"-o {printable(root)} is the input folder itself; give another.")
    images = find_images(root, exclude=output)
    if not images:
        raise UsageError(f"{printable(root)} holds no image ({', '.join(SUFFIXES)}).")
    return images


def _images_matching(pattern: Path) -> list[Path]:
    matches = sorted(Path(match) for match in glob.glob(str(pattern), recursive=True))  # noqa: PTH207  (absolute ones too)
    images = [match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file()]
    if not images:
        raise UsageError(f"no image matches {printable(pattern)}.")
    return images


def without_results(images: Sequence[Path]) -> Iterator[Path]:
    """Without the results of an earlier run: photo_x4.jpg is left out where photo.jpg, or another photo.*, is there."""
    stems = {image.with_suffix("") for image in images}
    for image in images:
        match = _RESULT.fullmatch(image.stem)
        if not match or image.with_name(match[1]) not in stems:
            yield image


def _fixed_part(pattern: Path) -> Path:
    """The part of a glob before its first wildcard."""
    fixed = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)


def _target(source: Path, relative: Path, folder: Path | None, scale: int, format: str | None) -> Path:
    suffix = _SUFFIXES[format] if format else result_suffix(source)
    if folder is None:
        return source.with_name(f"{source.stem}_x{scale}{suffix}")
    return folder / relative.with_suffix(suffix)


def _check_distinct(tasks: Sequence[UpscaleTask]) -> None:
    sources: dict[Path, Path] = {}
    for task in tasks:
        other = sources.setdefault(task.target, task.source)
        if other is not task.source:
            raise UsageError(
                f"{printable(other)} and {printable(task.source)} would both become {printable(task.target)}; "
                "upscale them into different folders."
            )
