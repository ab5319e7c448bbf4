"""Files that are written whole or not at all, locks between processes, and printable names."""

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from srgan.errors import SrganError

log = logging.getLogger("srgan")

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""Error numbers of a filesystem without file locks, as some NFS and FUSE mounts are."""


def printable(text: str | os.PathLike[str], limit: int = 200) -> str:
    """One line of somebody else's text: unprintable characters escaped, at most `limit` characters kept.

    Of a path that is too long, the end is kept.
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(text))
    if len(line) <= limit:
        return line
    return f"{line[:limit]}..." if isinstance(text, str) else f"...{line[-limit:]}"


def expanded(path: str) -> str:
    """The path with ~ as a shell has it; as it is where nobody has that name."""
    return os.path.expanduser(path)  # noqa: PTH111  (pathlib raises)


def first_line(error: Exception) -> str:
    """The first line of a library's message, printable; the error's kind where it has none, or has advice for programmers."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return "it holds no plain arrays" if "allow_pickle" in line else printable(line)


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there; False for names that no file can have, too, for which pathlib raises OSError."""
    return os.path.isdir(path)  # noqa: PTH112


def atomic_write(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader or a power cut sees the old file or the new one. Raises OSError.

    A device or a pipe, such as /dev/stdout, is written to and not replaced.
    """
    if is_device(path):
        path.write_bytes(content)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def is_device(path: Path) -> bool:
    """Whether a device or a pipe is there, which is written to and never replaced."""
    # /dev/stdout and /dev/fd/3 are links that may lead to a file.
    named = re.match(r"/(dev(?!/shm)|proc)/", os.path.abspath(path))  # noqa: PTH100  (no link is followed)
    return path.exists() and not path.is_dir() and (named is not None or not path.is_file())


def may_replace(path: Path, start: bytes) -> bool:
    """Whether there is no file at `path`, an empty one, or one that begins as those which are written there."""
    if not path.is_file() or is_device(path):
        return True
    with path.open("rb") as file:
        return file.read(len(start)) in (b"", start)


def atomic_write_all(contents: Mapping[Path, bytes]) -> None:
    """Put each content at its path, in order; where one cannot be written, none. Raises OSError."""
    with contextlib.ExitStack() as stack:
        for path, content in reversed(list(contents.items())):
            stack.enter_context(atomic_path(path)).write_bytes(content)


@contextlib.contextmanager
def atomic_path(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """A new empty file beside `path` that is renamed to `path`, flushed to disk, when the block succeeds.

    Otherwise the file is removed. A symbolic link at `path` is replaced, not followed. Raises OSError; without
    `overwrite` FileExistsError for a file that another process has put there meanwhile.
    """
    if is_device(path):
        raise FileExistsError(errno.EEXIST, "it is a device or a pipe", str(path))
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    # The name is short: the target's may already fill the 255 bytes that a filesystem allows.
    temporary = path.with_name(f".{secrets.token_hex(6)}.tmp")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if overwrite or not _linked(temporary, path):
            temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # nobody knows the other
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _linked(temporary: Path, path: Path) -> bool:
    """Give a file a second name, which fails where there is one already; False where the filesystem has no links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "it exists; another run has written it meanwhile", str(path)) from None
    except OSError:
        if os.path.lexists(path):
            raise
        return False
    return True


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # Windows and some filesystems cannot; the rename has happened.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_free_space(folder: Path, needed_bytes: int, what: str, *, error: type[SrganError] = SrganError) -> None:
    """Raise `error` when the disk of `folder`, or of its nearest existing parent, has less than `needed_bytes` free.

    `what` begins the sentence: "The pack" needs 2.1 GB in ...
    """
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        free = shutil.disk_usage(existing).free
    except OSError as fault:
        raise error(f"{printable(folder)} cannot be used: {fault.strerror or fault}.") from None
    if free < needed_bytes:
        raise error(f"{what} needs {_size(needed_bytes)} in {printable(folder)}, where {_size(free)} are free.")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"


@contextlib.contextmanager
def file_lock(path: Path, *, busy: str | None = None, error: type[SrganError] = SrganError) -> Iterator[None]:
    """Hold a lock on `path` between processes within the block; it ends with the process.

    With `busy`, a lock held elsewhere raises `error` with that sentence; without, the lock is waited for.
    A file that cannot be made raises `error`. A filesystem without locks gives a warning and no lock.
    """
    import filelock

    lock = filelock.FileLock(path, blocking=busy is None, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o666))  # filelock tries for ever where it cannot
        lock.acquire()
    except filelock.Timeout:
        raise error(str(busy)) from None
    except OSError as fault:
        if fault.errno not in _NO_LOCKS:
            raise error(f"{printable(path.parent)} cannot be written: {fault.strerror or fault}.") from fault
        log.warning(f"{printable(path.parent)} has no file locks; start only one process that writes there.")
    try:
        yield
    finally:
        lock.release()
