"""One file over HTTP: resumed after a break, retried, from mirrors in turn, verified by its hash."""

import hashlib
import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from srgan.errors import DataError
from srgan.progress import Progress

log = logging.getLogger("srgan")

_CHUNK = 1 << 20
_PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 451})
"""Statuses after which a mirror is not asked again."""
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
MAX_UNKNOWN_LENGTH = 64 << 20
"""Bytes after which a file of unknown length is given up: only small files come without a length."""
TRIES = 5
"""In a row without new bytes; then the next mirror."""
PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the next try, doubled each time up to the longest."""
TIMEOUT = 30.0


class MirrorFailed(Exception):
    """This mirror is no use; the next may be."""


def download(
    urls: Sequence[str], target: Path, *, length: int = 0, digest: str = "", bar: Progress | None = None
) -> Path:
    """Download to `target`, unless the right file is there already.

    `length` in bytes and `digest` ("sha256:..." or "md5:...") where known. With a digest the bytes so far are kept in
    `<target>.part`, for a later call too. Raises DataError that says what each address answered; OSError for a full disk.
    """
    if target.exists():
        if not digest or digest_of(target, digest) == digest:
            return target
        log.warning(f"{target} is not the expected file ({digest}); downloading it again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    failures = []
    for url in urls:
        try:
            _from_mirror(url, part, length, digest, bar)
        except MirrorFailed as failure:
            failures.append(f"{url}: {failure}")
            log.warning(f"{url}: {failure}.")
            continue
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
        return target
    kept = "The bytes so far are kept: run" if digest else "Run"
    raise DataError(
        f"{target.name} could not be downloaded ({'; '.join(failures)}). {kept} it again, or put the file at {target} "
        "yourself."
    )


def digest_of(path: Path, like: str) -> str:
    """A file's digest in the form of the one it is compared with: `algorithm:hex`."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _from_mirror(url: str, part: Path, length: int, digest: str, bar: Progress | None) -> None:
    """Fill `part` from one address until it is whole and right. Raises MirrorFailed."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise MirrorFailed("is not an http address")
    if bar:
        log.info(f"Downloading from {urlsplit(url).hostname}.")  # said first: some hosts answer late or never
    failures, largest = 0, _size(part)
    while True:
        pause = 0.0
        try:
            if _receive(url, part, length, bool(digest), bar):
                break
            reason = f"broke off after {_size(part):,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"answered {error.code} {error.reason}"
            if error.code in _PERMANENT:
                raise MirrorFailed(reason) from error
            if error.code == 416:  # the part is longer than the file
                part.unlink(missing_ok=True)
            after = error.headers.get("Retry-After", "") if error.headers else ""
            pause = float(after) if after.isdigit() else 0.0
        except _BROKEN as error:
            reason = f"no answer ({getattr(error, 'reason', None) or error or type(error).__name__})"
        failures, largest = (0, _size(part)) if _size(part) > largest else (failures + 1, largest)
        if failures >= TRIES:
            raise MirrorFailed(reason)
        log.info(f"{url}: {reason}; trying again.")
        time.sleep(min(max(pause, PAUSE * 2**failures), LONGEST_PAUSE))
    if digest and (received := digest_of(part, digest)) != digest:
        part.unlink()
        raise MirrorFailed(f"sent other bytes than expected ({received}, expected {digest})")


def _receive(url: str, part: Path, length: int, has_digest: bool, bar: Progress | None) -> bool:
    """One request; True when `part` is whole, False when the connection ended early."""
    start = _size(part) if has_digest else 0  # only a digest at the end shows that both parts are of the same file
    if length and start == length:
        return True
    headers = {"User-Agent": "srgan"} | ({"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        if resumed and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            return False
        stated = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
        total = int(stated) if stated.isdigit() else 0
        if length and total and total != length:
            raise MirrorFailed(f"offers {total:,} bytes instead of {length:,}")
        total = length or total
        # Never more bytes than the file has, or may have.
        limit = total or MAX_UNKNOWN_LENGTH
        with part.open("ab" if resumed else "wb") as file:
            while file.tell() < limit and (chunk := answer.read(min(_CHUNK, limit - file.tell()))):
                file.write(chunk)
                if bar:
                    bar.update(file.tell(), total=total)
        if not total and _size(part) >= limit:
            raise MirrorFailed(f"sends more than {limit:,} bytes for a small file")
    return not total or _size(part) == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
