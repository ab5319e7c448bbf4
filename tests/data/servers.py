"""A web server on loopback in the place of the real hosts, which can be told to misbehave."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """`files` by path; `moods`: what to do, in turn, with the next requests for a path, before it is honest."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moods: dict[str, list[Callable[[Answer, bytes], None]]] = field(default_factory=lambda: defaultdict(list))
    ranges: bool = True
    requests: list[tuple[str, str]] = field(default_factory=list)
    """(path, its Range header) of every request."""

    def url(self, path: str) -> str:
        return self.address + path


class Answer(BaseHTTPRequestHandler):
    """One request."""

    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.site.requests.append((self.path, self.headers.get("Range", "")))
        self.close_connection = True
        moods = self.site.moods[self.path]
        body = self.site.files.get(self.path)
        if moods:
            moods.pop(0)(self, body or b"")
        elif body is None:
            self.send_error(404)
        else:
            self.honest(body)

    def honest(self, body: bytes, *, send: int | None = None) -> None:
        """Ranges as asked for; `send`: break off after so many bytes of the body."""
        wanted = self.headers.get("Range", "")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.site.ranges else 0
        if start and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:send])

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' output."""


def status(code: int, **headers: str) -> Callable[[Answer, bytes], None]:
    """Answer with an error or a redirect."""

    def mood(answer: Answer, body: bytes) -> None:
        answer.send_response(code)
        for name, value in headers.items():
            answer.send_header(name.replace("_", "-"), value)
        answer.send_header("Content-Length", "0")
        answer.end_headers()

    return mood


def breaking_off(after: int) -> Callable[[Answer, bytes], None]:
    """Promise all, send `after` bytes of it, hang up."""
    return lambda answer, body: answer.honest(body, send=after)


def lying(length: int) -> Callable[[Answer, bytes], None]:
    """Promise `length` bytes and send the whole body, or as much of it as was promised."""

    def mood(answer: Answer, body: bytes) -> None:
        answer.send_response(200)
        answer.send_header("Content-Length", str(length))
        answer.end_headers()
        answer.wfile.write(body[:length])

    return mood


def sending(other: bytes) -> Callable[[Answer, bytes], None]:
    """Other bytes than those of the file."""
    return lambda answer, body: answer.honest(other)


@contextmanager
def serving() -> Iterator[Site]:
    """A site on a free port of loopback."""
    site = Site()
    handler = type("Bound", (Answer,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
