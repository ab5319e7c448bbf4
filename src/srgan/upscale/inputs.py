"""Which images are upscaled, and where each result goes."""

import contextlib
import glob
import logging
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import ImageError, SrganError, UsageError
from srgan.fs import is_folder, printable
from srgan.image.encode import SUFFIX_OF
from srgan.image.files import find_images_and_others, read_provenance, result_suffix
from srgan.image.source import SUFFIXES

log = logging.getLogger("srgan")

_MOST_NAMES = 5
"""Files that are named where many are left out; all are counted."""


@dataclass(frozen=True, kw_only=True)
class UpscaleTask:
    """One image and the file that it becomes."""

    source: Path
    target: Path


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All tasks of one command."""

    tasks: tuple[UpscaleTask, ...]
    single: bool
    """One image, named as such: its failure is the command's failure."""
    failures: tuple[SrganError, ...] = ()
    """Of paths that hold no image, and of images that would become one file; the tasks are without them."""
    failed: int = 0
    """How many paths and images those are."""


StrPath = str | os.PathLike[str]
Image = tuple[Path, Path]
"""An image and its path below the output folder."""


def find_inputs(
    paths: Sequence[StrPath], output: StrPath | None, *, scale: int, format: str | None, shard: str | None
) -> Inputs:
    """Files, folders (searched below, mirrored below `output`) and globs -> tasks.

    Results of srgan (by their provenance), formats that are not read and the like are left out, counted and named.
    Raises UsageError.
    """
    # Is the output a file or a folder?
    if output is not None and not os.fspath(output):
        raise UsageError("the name after -o is empty; is a shell variable not set?")
    target = None if output is None else Path(output)
    is_file = target is not None and target.suffix.lower() in SUFFIXES and not str(output).endswith(("/", os.sep))
    folder = None if is_file and not is_folder(output or "") else target
    if folder is not None and os.path.lexists(folder) and not is_folder(folder):
        raise UsageError(f"-o {printable(folder)} is a file, and the name of a folder or of an image was expected.")
    # The images, each once.
    failures: list[SrganError] = []
    images: dict[tuple[str, str], Image] = {}
    for path in paths:
        try:
            for image, relative in _expand(path, folder):
                images.setdefault((os.path.realpath(image.parent), image.name), (image, relative))
        except UsageError as error:
            if len(paths) == 1:
                raise
            failures.append(error)
    single = len(paths) == 1 and not is_several(paths[0])
    # Of a job array, only this machine's: no other file is opened.
    mine = [image for image in images.values() if shard is None or in_shard(image[1], shard)]
    if shard is not None:
        log.info("shard %s: %d of %d images", shard, len(mine), len(images))
    chosen = mine if single else _without_results(mine)
    if target is not None and folder is None:
        count = len(chosen if shard is None else images)
        if count > 1 or any(is_folder(path) for path in paths):
            raise UsageError(
                f"-o {printable(target)} names one file for {count} images; give a folder (a name that ends "
                "with / or has no image's ending)."
            )
        if format and SUFFIX_OF[format] != SUFFIX_OF.get(target.suffix.lower()[1:], target.suffix.lower()):
            raise UsageError(f"--format {format} contradicts the ending of -o {printable(target)}.")
    # The targets.
    tasks = [
        UpscaleTask(
            source=source,
            target=target if target and folder is None else _target(source, relative, folder, scale, format),
        )
        for source, relative in chosen
    ]
    tasks = _without_targets(tasks) if output is None else tasks
    distinct, collisions = _distinct(tasks)
    failed = len(failures) + len(tasks) - len(distinct)
    return Inputs(tasks=tuple(distinct), single=single, failures=(*failures, *collisions), failed=failed)


def is_several(path: StrPath) -> bool:
    """Whether a path is a folder or a glob, and not the name of one image."""
    return is_folder(path) or (glob.has_magic(os.fspath(path)) and not os.path.lexists(path))


def in_shard(relative: Path, shard: str) -> bool:
    """Whether an image belongs to shard "I/N" (1 to N), by its name alone, so that machines agree. Raises UsageError.

    Images that may become one file, or that are named as each other's results, are in the same shard.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard is I/N with I from 1 to N, as in 3/8; got '{shard}'.")
    name = re.sub(r"(_x[234])+$", "", relative.with_suffix("").as_posix())
    return zlib.crc32(name.encode("utf-8", "surrogateescape")) % int(match[2]) == int(match[1]) - 1


def _expand(path: StrPath, output: Path | None) -> Iterator[Image]:
    """The images of one argument, in order of name."""
    if not os.fspath(path):
        raise UsageError("an image's name is empty; is a shell variable not set?")
    if re.match(r"https?://", os.fsdecode(path)):
        raise UsageError(f"{os.fsdecode(path)} is an address, and srgan reads files only; download the image first.")
    if is_folder(path):
        root, images = Path(path), _images_below(Path(path), output)
    elif not is_several(path):
        root, images = Path(path).parent, [Path(path)]
    else:
        root, images = _fixed_part(Path(path)), _images_matching(Path(path), output)
    yield from ((image, image.relative_to(root)) for image in images)


def _images_below(root: Path, output: Path | None) -> list[Path]:
    if output is not None and output.resolve() == root.resolve():
        raise UsageError(f"-o {printable(root)} is the input folder itself; give another.")
    images, others = find_images_and_others(root, exclude=output)
    _report("formats that srgan does not read", others)
    if not images:
        raise UsageError(f"{printable(root)} holds no image ({', '.join(SUFFIXES)}).")
    return images


def _images_matching(pattern: Path, output: Path | None) -> list[Path]:
    fixed = _fixed_part(pattern)
    escaped = Path(glob.escape(str(fixed)), *pattern.parts[len(fixed.parts) :])
    matches = sorted(Path(match) for match in glob.glob(str(escaped), recursive=True))  # noqa: PTH207  (absolute ones too)
    files = [match for match in matches if match.is_file()]
    if output is not None:
        below = output.resolve()
        files = [match for match in files if below not in match.resolve().parents or below in pattern.resolve().parents]
    images = [match for match in files if match.suffix.lower() in SUFFIXES]
    _report("formats that srgan does not read", [match for match in files if match.suffix.lower() not in SUFFIXES])
    if not images:
        raise UsageError(f"no image matches {printable(pattern)}.")
    return images


def _without_results(images: list[Image]) -> list[Image]:
    """Without the files whose metadata says that srgan made them."""
    results: set[Path] = set()
    for image, _ in images:
        with contextlib.suppress(ImageError, OSError):  # its reader names what is wrong
            if read_provenance(image) is not None:
                results.add(image)
    _report("results of srgan", sorted(results))
    return [pair for pair in images if pair[0] not in results]


def _without_targets(tasks: list[UpscaleTask]) -> list[UpscaleTask]:
    """Without the images that another one becomes: results without provenance, by their names."""
    targets = {task.target: task for task in tasks}
    results = {task.source for task in tasks if targets.get(task.source, task) is not task}
    _report("named as the result of another image", sorted(results))
    return [task for task in tasks if task.source not in results]


def _report(what: str, left_out: Sequence[Path]) -> None:
    """Count and name files that are not upscaled."""
    if left_out:
        names = ", ".join(printable(path.name) for path in left_out[:_MOST_NAMES])
        more = " ..." if len(left_out) > _MOST_NAMES else ""
        log.info("left out, %s (%d): %s%s", what, len(left_out), names, more)


def _fixed_part(pattern: Path) -> Path:
    """The part of a glob before its first wildcard; brackets in the name of a folder that is there are none."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part) and not is_folder(fixed / part):
            break
        fixed /= part
    return fixed


def _target(source: Path, relative: Path, folder: Path | None, scale: int, format: str | None) -> Path:
    suffix = SUFFIX_OF[format] if format else result_suffix(source)
    if folder is None:
        return source.with_name(f"{source.stem}_x{scale}{suffix}")
    return folder / relative.with_suffix(suffix)


def _distinct(tasks: Sequence[UpscaleTask]) -> tuple[list[UpscaleTask], list[SrganError]]:
    """The tasks that alone have their target, which is another file than their source, and errors for the others."""
    groups: dict[Path, list[UpscaleTask]] = defaultdict(list)
    for task in tasks:
        groups[task.target].append(task)
    errors: list[SrganError] = [
        UsageError(
            f"{' and '.join(printable(task.source) for task in group)} would "
            f"{'both' if len(group) == 2 else 'all'} become {printable(target)}; upscale them into different folders."
        )
        for target, group in groups.items()
        if len(group) > 1
    ]
    kept = [task for task in tasks if len(groups[task.target]) == 1]
    replaced = [task for task in kept if os.path.realpath(task.target) == os.path.realpath(task.source)]
    errors += [UsageError(f"{printable(task.target)} is the input itself; give another name.") for task in replaced]
    return [task for task in kept if task not in replaced], errors
