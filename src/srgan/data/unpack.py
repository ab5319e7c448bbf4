"""Take the wanted pictures out of a zip or tar file, and nothing else: no links, no way out, no bomb."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from srgan.errors import DataError
from srgan.image.files import SUFFIXES

_LARGEST_PICTURE = 64 << 20
_MOST_PICTURES = 10_000


@dataclass(frozen=True, kw_only=True)
class _Member:
    name: str
    length: int
    plain: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: str, target: Path, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Write the pictures that lie directly in `folder` of an archive into `target`; their count comes back.

    Errors: DataError for a damaged archive; for a wanted member that is a link or has a path that leads out;
    for more or larger pictures than any set has.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        with _members(archive) as members:
            wanted = [m for m in members if _wanted(m, folder, archive)]
            if len(wanted) > _MOST_PICTURES:
                raise DataError(f"{archive} holds {len(wanted)} pictures in {folder}; none of the sets does.")
            for done, member in enumerate(wanted, 1):
                _extract(member, target / PurePosixPath(member.name).name, archive)
                if progress:
                    progress(done, len(wanted))
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive} is damaged ({error}); remove it and fetch again.") from error
    except OSError as error:
        raise DataError(f"Cannot unpack {archive} into {target}: {error.strerror or error}.") from error
    return len(wanted)


def _wanted(member: _Member, folder: str, archive: Path) -> bool:
    path = PurePosixPath(member.name.removeprefix("./"))
    if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
        return False
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise DataError(f"{archive} holds {member.name!r}, a path that leads out of its folder; it is not used.")
    if str(path.parent) != folder:
        return False
    if not member.plain:
        raise DataError(f"{archive} holds {member.name!r}, which is a link or a device; it is not used.")
    return True


def _extract(member: _Member, target: Path, archive: Path) -> None:
    """Copy at most what a picture may have, whatever the archive says of its length."""
    source = member.open()
    if source is None or member.length > _LARGEST_PICTURE:
        raise DataError(f"{archive}: {member.name!r} of {member.length:,} bytes is not a picture of any set.")
    with source, target.open("wb") as file:
        shutil.copyfileobj(_Bounded(source, _LARGEST_PICTURE, f"{archive}: {member.name!r}"), file, 1 << 20)


class _Bounded:
    """A file that refuses to give more than it may."""

    def __init__(self, source: IO[bytes], room: int, name: str) -> None:
        self.source, self.room, self.name = source, room, name

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self.source.read(size)
        self.room -= len(chunk)
        if self.room < 0:
            raise DataError(f"{self.name} unpacks to more than {_LARGEST_PICTURE:,} bytes; it is not used.")
        return chunk


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """The entries of a zip or tar file, folders left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield [_of_zip(opened, info) for info in opened.infolist() if not info.is_dir()]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            yield [_of_tar(tar, info) for info in tar.getmembers() if not info.isdir()]
    else:
        raise DataError(f"{archive} is neither a zip nor a tar file; remove it and fetch again.")


def _of_zip(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = stat.S_IFMT(info.external_attr >> 16)
    return _Member(
        name=info.filename,
        length=info.file_size,
        plain=mode in (0, stat.S_IFREG),
        open=lambda: opened.open(info),
    )


def _of_tar(tar: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    return _Member(
        name=info.name,
        length=info.size,
        plain=info.isreg(),
        open=lambda: tar.extractfile(info),
    )
