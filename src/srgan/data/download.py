"""One file from the network: resumed after a break, retried with patience, from mirrors in turn, verified."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from srgan.errors import DataError

Progress = Callable[[int, int], None]
_CHUNK = 1 << 20
_GONE = frozenset({400, 401, 403, 404, 405, 410, 451})
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
_LARGEST = 64 << 20
"""Bytes after which a file of unknown length is given up: the small ones are the only ones without a length."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """`tries` in a row that bring nothing, then the next mirror; pauses of `pause` s, doubled up to `longest` s."""

    tries: int = 5
    pause: float = 1.0
    longest: float = 60.0
    timeout: float = 30.0


class _Refused(Exception):
    """This mirror will not do; the next may."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    length: int = 0,
    digest: str = "",
    patience: Patience = Patience(),
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Bring a file to `target`, or leave it where it is already there and right.

    What has come is kept in `<target>.part` and gone on with, also by a later call. `length` in bytes and
    `digest` ("sha256:..." or "md5:...") where known. `progress`: bytes so far and in all (0: unknown).
    Errors: DataError saying what each address answered; a full or unwritable disk.
    """
    try:
        if target.exists():
            if not digest or digest_of(target, digest) == digest:
                return target
            say(f"{target} is not what it should be ({digest} was expected); fetching it again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        answers = []
        for url in urls:
            try:
                _from_one(url, target, length, digest, patience, progress, say)
                return target
            except _Refused as refusal:
                answers.append(f"{url}: {refusal}")
                say(f"{url}: {refusal}.")
    except OSError as error:
        raise DataError(f"Cannot write {target}: {error.strerror or error}.") from error
    raise DataError(
        f"{target.name} could not be fetched ({'; '.join(answers)}). What has come is kept: run it again, or "
        f"put the file at {target} yourself."
    )


def _from_one(
    url: str,
    target: Path,
    length: int,
    digest: str,
    patience: Patience,
    progress: Progress | None,
    say: Callable[[str], None],
) -> None:
    """Fill the part file from one address until it is whole and right. Errors: _Refused."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise _Refused("is not an http address")
    part = _Part(target, url, trusted=bool(digest))
    fruitless, most = 0, part.size
    while True:
        try:
            if _ask(url, part, length, patience, progress):
                break
            reason = f"broke off after {part.size:,} bytes"
        except urllib.error.HTTPError as error:
            error.close()
            reason = f"answered {error.code} {error.reason}"
            if error.code in _GONE:
                raise _Refused(reason) from error
            time.sleep(min(_retry_after(error.headers), patience.longest))
        except _BROKEN as error:
            reason = f"no answer ({getattr(error, 'reason', None) or error or type(error).__name__})"
        fruitless, most = (0, part.size) if part.size > most else (fruitless + 1, most)
        if fruitless >= patience.tries:
            raise _Refused(reason)
        say(f"{url} {reason}; trying again.")
        time.sleep(min(patience.pause * 2**fruitless, patience.longest))
    got = digest_of(part.path, digest) if digest else ""
    if got != digest:
        part.drop()
        raise _Refused(f"sent other bytes than expected ({got}, wanted {digest})")
    part.finish()


def _ask(url: str, part: _Part, length: int, patience: Patience, progress: Progress | None) -> bool:
    """One request; True when the file is whole, False when the connection ended early."""
    if length and part.size == length:
        return True
    request = urllib.request.Request(url, headers={"User-Agent": "srgan", **part.range_wanted()})
    try:
        answer = _OPENER.open(request, timeout=patience.timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the part is longer than the file: it is of another file
            part.drop()
        raise
    with answer:
        if answer.status == 206 and not _continues(answer.headers, part.size):
            part.drop()
            return False
        if answer.status != 206:
            part.drop()
        promised = _promised(answer.headers, part.size)
        if length and promised and promised != length:
            raise _Refused(f"offers {promised:,} bytes instead of {length:,}")
        whole = length or promised
        part.remember(answer.headers)
        with part.path.open("ab") as file:
            _receive(answer, file, part, whole, progress)
    return part.size == whole if whole else True


def _receive(answer: Any, file: IO[bytes], part: _Part, whole: int, progress: Progress | None) -> None:
    """Copy the answer's body, never more than the file has or may have."""
    room = (whole or _LARGEST) - part.size
    while room > 0 and (chunk := answer.read(min(_CHUNK, room))):
        file.write(chunk)
        file.flush()
        room -= len(chunk)
        if progress:
            progress(part.size, whole)
    if not whole and room <= 0:
        raise _Refused(f"sends more than {_LARGEST:,} bytes for a small file")


class _Part:
    """The bytes of a file so far, and the mark by which its server can tell whether it is still the same."""

    def __init__(self, target: Path, url: str, *, trusted: bool) -> None:
        """`trusted`: a digest will tell in the end, so bytes of another mirror may be gone on with."""
        self.target, self.url, self.trusted = target, url, trusted
        self.path = target.with_name(target.name + ".part")
        self.note = target.with_name(target.name + ".part.json")

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def range_wanted(self) -> dict[str, str]:
        """Headers that ask for the rest, where the bytes so far can be gone on with."""
        mark = self._mark()
        if not self.size or not (mark or self.trusted):
            self.drop()
            return {}
        return {"Range": f"bytes={self.size}-"} | ({"If-Range": mark} if mark else {})

    def _mark(self) -> str:
        try:
            note = json.loads(self.note.read_text())
            return str(note["mark"]) if note["url"] == self.url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def remember(self, headers: Message) -> None:
        """Keep the server's strong mark for a later call."""
        tag = headers.get("ETag", "")
        mark = headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        self.note.write_text(json.dumps({"url": self.url, "mark": mark}))

    def drop(self) -> None:
        """Start over."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the whole file in its place."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self.note.unlink(missing_ok=True)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone, and never from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            raise _Refused(f"redirects to {newurl}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = urllib.request.build_opener(_Redirects)


def _continues(headers: Message, start: int) -> bool:
    """Whether a 206 answer begins where we asked it to."""
    return headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _promised(headers: Message, start: int) -> int:
    """Length of the whole file as the server tells it, 0 where it does not."""
    told = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(told) if told.isdigit() else 0


def _retry_after(headers: Message) -> float:
    wanted = headers.get("Retry-After", "") if headers else ""
    return float(wanted) if wanted.isdigit() else 0.0


def digest_of(path: Path, like: str) -> str:
    """A file's digest, written like the one it is compared with: `algorithm:hex`."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
