"""Clients, good and hostile, for a load test; `python -m tests.web.load URL` runs it against any service."""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import requests

from srgan.image.files import Image, encode_image
from tests.serve.conftest import drawn

Expected = Mapping[tuple[str, str], bytes]
"""The command line's bytes by (picture's name, query)."""
QUERIES = ("model=srgan", "model=srresnet", "scale=2", "texture=0.5", "format=webp")


def pictures() -> dict[str, bytes]:
    """What good clients send, by name: small and large, grey, deep, with alpha."""
    made = {
        "small.png": Image(pixels=drawn(48, 64)),
        "grey.png": Image(pixels=drawn(72, 40, channels=1)),
        "deep.tif": Image(pixels=drawn(60, 60, deep=True)),
        "sheer.png": Image(pixels=drawn(56, 56), alpha=drawn(56, 56, channels=1)),
        "photo.jpg": Image(pixels=drawn(96, 80)),
        "large.png": Image(pixels=drawn(140, 160)),
    }
    return {name: encode_image(picture, name[name.index(".") :]) for name, picture in made.items()}


def bomb(side: int = 60_000) -> bytes:
    """A PNG of some megabytes that would unfold to gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(20_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@dataclass
class Figures:
    """What was seen, by behaviour."""

    statuses: dict[str, Counter[int | str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, behaviour: str, status: int | str) -> None:
        with self.lock:
            self.statuses.setdefault(behaviour, Counter())[status] += 1

    def peak(self, start: float, end: float) -> int:
        """Largest resident memory between two moments, in bytes."""
        return max(size for at, size in self.memory if start <= at <= end)

    def text(self) -> str:
        lines = [f"  {kind:<12} {dict(sorted(seen.items(), key=str))}" for kind, seen in sorted(self.statuses.items())]
        if self.seconds:
            middle, slow = np.percentile(self.seconds, [50, 95])
            lines.append(f"  good answers: {len(self.seconds)}, median {middle:.2f} s, 95 % {slow:.2f} s")
        return "\n".join(lines)


class Client:
    """One client: does one thing after another until `end`."""

    def __init__(self, url: str, expected: Expected, figures: Figures, seed: int) -> None:
        self.url, self.expected, self.figures = url, expected, figures
        self.chance, self.sent = random.Random(seed), pictures()
        place = urlsplit(url)
        self.address = (str(place.hostname), int(place.port or 80))
        self.behaviours: list[Callable[[], None]] = [self.good] * 8 + [
            self.form,
            self.truncated,
            self.bomb,
            self.wrong_type,
            self.too_large,
            self.slow,
            self.leaves_early,
            self.leaves_waiting,
        ]
        self.big = bomb()

    def run(self, end: float) -> None:
        while time.monotonic() < end:
            behaviour = self.chance.choice(self.behaviours)
            try:
                behaviour()
            except requests.RequestException as error:
                self.figures.note(behaviour.__name__, type(error).__name__)

    def ask(self, kind: str, data: bytes, media_type: str = "image/png", query: str = "") -> requests.Response:
        answer = requests.post(
            f"{self.url}/v1/upscale?{query}", data=data, headers={"Content-Type": media_type}, timeout=120
        )
        self.figures.note(kind, answer.status_code)
        return answer

    def good(self) -> None:
        name, query = self.chance.choice(list(self.expected))
        started = time.monotonic()
        answer = self.ask("good", self.sent[name], "application/octet-stream", query)
        self.judge(answer, name, query, started)

    def form(self) -> None:
        name, query = self.chance.choice(list(self.expected))
        started = time.monotonic()
        files = {"picture": (f"../../{name}", self.sent[name])}
        answer = requests.post(f"{self.url}/v1/upscale?{query}", files=files, timeout=120)
        self.figures.note("form", answer.status_code)
        self.judge(answer, name, query, started)

    def judge(self, answer: requests.Response, name: str, query: str, started: float) -> None:
        if answer.status_code == 429:
            time.sleep(0.2)
        elif answer.content == self.expected[name, query]:
            with self.figures.lock:
                self.figures.seconds.append(time.monotonic() - started)
        else:
            self.figures.wrong.append(f"{name}?{query}: {answer.status_code}, {len(answer.content)} bytes")

    def truncated(self) -> None:
        data = self.sent[self.chance.choice(list(self.sent))]
        self.ask("truncated", data[: self.chance.randrange(1, len(data) - 20)], "application/octet-stream")

    def bomb(self) -> None:
        self.ask("bomb", self.big)

    def wrong_type(self) -> None:
        data, kind = self.chance.choice([(b"<svg/>", "image/svg+xml"), (b"{}", "application/json"), (b"", "image/png")])
        self.ask("wrong type", data, kind)

    def too_large(self) -> None:
        self.ask("too large", bytes(5_000_000))

    def slow(self) -> None:
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(self.head(5000) + b"\x89PNG")
            self.figures.note("slow", int(connection.recv(12)[9:12] or 0))

    def leaves_early(self) -> None:
        data = self.sent["large.png"]
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(self.head(len(data)) + data[: len(data) // 2])
        self.figures.note("leaves early", "gone")

    def leaves_waiting(self) -> None:
        data = self.sent["large.png"]
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(self.head(len(data)) + data)
            time.sleep(self.chance.random() * 0.5)
        self.figures.note("leaves late", "gone")

    def head(self, length: int) -> bytes:
        lines = ["POST /v1/upscale HTTP/1.1", f"Host: {self.address[0]}", "Content-Type: image/png"]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def load(url: str, expected: Expected, *, seconds: float, clients: int = 16) -> Figures:
    """So many clients for so long; the service's memory is looked at four times a second."""
    figures, end = Figures(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=Client(url, expected, figures, seed).run, args=(end,)) for seed in range(clients)
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    while any(thread.is_alive() for thread in threads):
        figures.memory.append((time.monotonic() - began, resident(url)))
        time.sleep(0.25)
    return figures


def resident(url: str) -> int:
    """The service's resident memory in bytes, as its /metrics say."""
    text = requests.get(f"{url}/metrics", timeout=120).text
    [line] = [line for line in text.splitlines() if line.startswith("process_resident_memory_bytes ")]
    return int(float(line.rpartition(" ")[2]))


if __name__ == "__main__":
    known = {
        (name, query): requests.post(
            f"{sys.argv[1]}/v1/upscale?{query}",
            data=data,
            headers={"Content-Type": "application/octet-stream"},
            timeout=120,
        ).content
        for name, data in pictures().items()
        for query in QUERIES
    }
    print(load(sys.argv[1], known, seconds=60).text())
