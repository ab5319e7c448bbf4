"""Build a pack: decode in threads, write in order, go on after a kill, notice changed sources."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from srgan.data.folders import Pair, training_pairs
from srgan.data.packfile import Entry, Pack, header_bytes, is_pack, open_pack, prelude
from srgan.errors import DataError, ImageError
from srgan.fs import FileLock
from srgan.image import files, resize

__all__ = ["Pack", "open_pack", "pack", "pack_pairs"]

Progress = Callable[[int, int], None]
_SYNC_BYTES = 256 << 20


def pack(root: Path, target: Path, **options: Any) -> Pack:
    """Pack the training pictures of a folder: `pack_pairs` of its `training_pairs`."""
    return pack_pairs(training_pairs(root), target, **options)


def pack_pairs(
    pairs: list[Pair],
    target: Path,
    *,
    minimum: int = 96,
    workers: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Pack:
    """Pack pictures into one file, or open it where it already holds just these.

    `minimum`: shorter side of an HR, after cropping to multiples of 4, under which it is left out.
    `progress`: called with pictures done and all. `say`: told why a pack is made anew or gone on with.
    Errors: DataError for no usable picture, a pair whose sizes do not match, a full or unwritable disk.
    """
    if target.exists() and not is_pack(target):
        raise DataError(f"{target} exists and is not a pack; it stays as it is. Choose another name.")
    if current := _current(pairs, target, minimum, lambda _: None):
        return current
    with FileLock(target.with_name(f".{target.name}.lock"), error=DataError):
        current = _current(pairs, target, minimum, say or (lambda _: None))
        if current is None:
            _build(pairs, target, minimum, workers or os.cpu_count() or 1, progress, say or (lambda _: None))
            current = open_pack(target)
    return current


def _current(pairs: list[Pair], target: Path, minimum: int, say: Callable[[str], None]) -> Pack | None:
    """The pack that is there, if it was made of these very files."""
    if not target.exists():
        return None
    try:
        old = open_pack(target)
    except DataError as error:
        say(f"{error} Making it anew.")
        return None
    was = {e.name: e.source for e in old.entries}
    now = {p.name: _source(p) for p in pairs}
    if old.minimum == minimum and was == now:
        return old
    changed = sum(was[name] != now[name] for name in was.keys() & now.keys())
    say(
        f"{target} does not fit its pictures any more ({len(now.keys() - was.keys())} new, {changed} "
        f"changed, {len(was.keys() - now.keys())} gone; smallest side {old.minimum}, wanted {minimum}). "
        "Making it anew."
    )
    return None


def _build(
    pairs: list[Pair],
    target: Path,
    minimum: int,
    workers: int,
    progress: Progress | None,
    say: Callable[[str], None],
) -> None:
    """Write `<target>.part` and its index picture by picture, then the header, then rename."""
    part, index = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.index")
    done = _resumable(pairs, part, index, minimum)
    if done:
        say(f"Going on with {part.name}: {len(done)} of {len(pairs)} pictures are there.")
    _check_space(pairs[len(done) :], target)
    try:
        with part.open("r+b" if done else "wb") as data, index.open("a" if done else "w") as log:
            if not done:
                data.write(prelude())
                log.write(json.dumps({"minimum": minimum}) + "\n")
            done += _append(pairs, done, data, log, minimum, workers, progress)
            if all(entry.left_out for entry in done):
                part.unlink()
                index.unlink()
                raise DataError(f"None of the {len(done)} pictures can be used; the first: {done[0].left_out}")
            header = header_bytes(done, minimum)
            offset = len(prelude()) + done[-1].end
            data.seek(offset)
            data.write(header)
            data.truncate()
            data.seek(0)
            data.write(prelude(offset, header))
            data.flush()
            os.fsync(data.fileno())
    except OSError as error:
        raise DataError(f"Cannot write {part}: {error.strerror}; what is done is kept.") from error
    part.replace(target)
    index.unlink()


def _append(
    pairs: Sequence[Pair],
    before: Sequence[Entry],
    data: IO[bytes],
    log: IO[str],
    minimum: int,
    workers: int,
    progress: Progress | None,
) -> list[Entry]:
    """Decode with a few pictures in flight; write each in turn, and the index only after its pixels."""
    written: list[Entry] = []
    unsynced: list[Entry] = []
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[tuple[Entry, list[NDArray[np.uint8]]]]] = deque()
    rest = iter(pairs[len(before) :])
    end = before[-1].end if before else 0
    try:
        for done in range(len(before) + 1, len(pairs) + 1):
            while len(waiting) < workers + 2 and (pair := next(rest, None)):
                waiting.append(pool.submit(_decode, pair, minimum))
            entry, pixels = waiting.popleft().result()
            entry = replace(entry, offset=end)
            data.seek(len(prelude()) + end)
            for array in pixels:
                data.write(array.data)
            end = entry.end
            written.append(entry)
            unsynced.append(entry)
            if sum(e.length for e in unsynced) >= _SYNC_BYTES or len(unsynced) >= 64 or done == len(pairs):
                _sync(data, log, unsynced)
                unsynced = []
            if progress:
                progress(done, len(pairs))
    finally:
        pool.shutdown(cancel_futures=True)
        _sync(data, log, unsynced)
    return written


def _sync(data: IO[bytes], log: IO[str], entries: list[Entry]) -> None:
    data.flush()
    os.fsync(data.fileno())
    log.write("".join(json.dumps(asdict(entry)) + "\n" for entry in entries))
    log.flush()
    os.fsync(log.fileno())


def _decode(pair: Pair, minimum: int) -> tuple[Entry, list[NDArray[np.uint8]]]:
    """One picture's entry and its [HR, LR] pixels; none for one that is left out."""
    entry = Entry(name=pair.name, source=_source(pair))
    try:
        whole = files.read_rgb8(pair.hr)
        given = files.read_rgb8(pair.lr) if pair.lr else None
    except ImageError as error:
        return replace(entry, left_out=str(error)), []
    hr = np.ascontiguousarray(resize.cropped(whole))
    height, width = hr.shape[:2]
    if given is not None and given.shape[:2] != (height // 4, width // 4):
        raise DataError(
            f"{pair.lr} is {given.shape[1]}x{given.shape[0]}, but {pair.hr} / 4 is "
            f"{width // 4}x{height // 4} (of {whole.shape[1]}x{whole.shape[0]}); are the folders paired?"
        )
    if min(height, width) < minimum:
        small = f"{pair.hr} is {whole.shape[1]}x{whole.shape[0]}, smaller than the crop of {minimum}."
        return replace(entry, left_out=small), []
    lr = np.ascontiguousarray(resize.downscaled(hr) if given is None else given)
    digest = hashlib.sha256(hr.data)
    digest.update(lr.data)
    return replace(entry, height=height, width=width, digest=digest.hexdigest()), [hr, lr]


def _source(pair: Pair) -> tuple[int, ...]:
    """Size and mtime of the files of a pair: what tells that they changed."""
    stats = [path.stat() for path in (pair.hr, pair.lr) if path]
    return tuple(number for s in stats for number in (s.st_size, s.st_mtime_ns))


def _resumable(pairs: list[Pair], part: Path, index: Path, minimum: int) -> list[Entry]:
    """The leading pictures that an interrupted run wrote whole, of sources that have not changed since."""
    if not part.exists() or not index.exists():
        return []
    done: list[Entry] = []
    with index.open() as log, part.open("rb") as data:
        lines = iter(log)
        if next(lines, "").strip() != json.dumps({"minimum": minimum}):
            return []
        for pair, line in zip(pairs, lines, strict=False):
            try:
                fields = json.loads(line)
            except ValueError:  # the kill came in the middle of this line
                break
            entry = Entry(**{**fields, "source": tuple(fields["source"])})
            if (entry.name, entry.source) != (pair.name, _source(pair)) or not _intact(entry, data):
                break
            done.append(entry)
    _truncate_index(index, len(done) + 1)
    return done


def _intact(entry: Entry, data: IO[bytes]) -> bool:
    data.seek(len(prelude()) + entry.offset)
    return bool(entry.left_out) or hashlib.sha256(data.read(entry.length)).hexdigest() == entry.digest


def _truncate_index(index: Path, lines: int) -> None:
    kept = index.read_text().splitlines(keepends=True)[:lines]
    index.write_text("".join(kept))


def _check_space(pairs: Sequence[Pair], target: Path) -> None:
    """Refuse before the first byte what would not fit on the disk; sizes come from the files' headers."""
    wanted = 0
    for pair in pairs:
        try:
            height, width = files.size(pair.hr)
        except ImageError:
            continue
        wanted += height * width * 3 * 17 // 16
    free = shutil.disk_usage(target.parent).free
    if wanted > free:
        raise DataError(
            f"The pack needs {wanted / 1e9:.1f} GB, but {target.parent} has {free / 1e9:.1f} GB free; "
            "choose another place."
        )
