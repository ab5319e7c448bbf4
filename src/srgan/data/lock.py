"""One process at a time writes a file; the others wait, and then find it done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srgan.errors import DataError


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """Hold a lock beside the target, whose folder is made. Errors: DataError where that cannot be written."""
    lock = target.with_name(target.name + ".lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise DataError(f"Cannot write in {target.parent}: {error.strerror}; choose another place.") from error
    try:
        import fcntl
    except ImportError:  # Windows: no lock; the rename at the end is still atomic
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
        return
    while True:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                continue  # whoever held it is done and took the file away
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return
