"""The body reader: limits before and while reading, the byte budget, slow and leaving senders, hostile forms."""

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect

from srgan.image.files import ImageBytes
from srgan.serve.http import BodyReader
from srgan.serve.problems import Problem

LIMITS: dict[str, Any] = {"limit": 1000, "budget": 1500, "patience": 5.0}
FORM = "multipart/form-data; boundary=xyz"
STALL, LEAVE = object(), object()


def request(content_type: str | None, chunks: Iterable[Any], length: int | None = None) -> Request:
    """A request whose body comes in these chunks."""
    left = list(chunks)
    headers = [(b"content-type", content_type.encode())] if content_type is not None else []
    if length is not None:
        headers.append((b"content-length", str(length).encode()))

    async def receive() -> dict[str, Any]:
        chunk = left.pop(0)
        if chunk is STALL:
            await asyncio.sleep(3600)
        if chunk is LEAVE:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def read(content_type: str | None, *chunks: Any, **changes: Any) -> ImageBytes:
    length = changes.pop("length", None)
    reader = BodyReader(**(LIMITS | changes))
    return asyncio.run(reader.read(request(content_type, chunks, length), []))


def form(fields: dict[str, tuple[str, bytes]]) -> bytes:
    lines = b""
    for name, (filename, data) in fields.items():
        lines += f'--xyz\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'.encode()
        lines += data + b"\r\n"
    return lines + b"--xyz--\r\n"


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG", "application/octet-stream", "image/x; a=b"])
def test_a_body_may_be_the_image(kind):
    assert read(kind, b"ab", b"", b"cd").data == b"abcd"


@given(
    data=st.binary(min_size=1, max_size=200).filter(lambda data: b"--xyz" not in data),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_form_is_read_whatever_its_chunks(data, cuts):
    body = form({"picture": ("a.png", data)})
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    assert read(FORM, *(body[a:b] for a, b in pairwise(edges))) == ImageBytes(data=data, name="a.png")


def test_a_form_never_touches_a_disk(monkeypatch):
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    data = bytes(3_000_000)
    assert read(FORM, form({"picture": ("a.png", data)}), limit=4_000_000, budget=4_000_000).data == data


@given(st.binary(max_size=300))
def test_any_form_is_an_image_or_a_400(body):
    try:
        assert read(FORM, body)
    except Problem as problem:
        assert problem.status == 400


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (None, b"abc", 415),
        ("text/html", b"abc", 415),
        ("image/png", b"", 400),
        (FORM, form({"other": ("a.png", b"abc")}), 400),
        (FORM, form({"picture": ("a.png", b"abc"), "other": ("a.png", b"abc")}), 400),
        (FORM, form({"picture": ("a.png", b"abc")})[:-9], 400),
        (FORM, form({"picture": ("a", b"abc")})[:-9] + form({"picture": ("b", b"d")}), 400),
        (FORM, form({"picture": ("a.png", b"abc")}).replace(b'; filename="a.png"', b""), 400),
        ("multipart/form-data", form({"picture": ("a.png", b"abc")}), 400),
        (f"{FORM}; charset=undefined", form({"picture": ("a.png", b"abc")}), 400),
    ],
)
def test_wrong_bodies(kind, body, status):
    with pytest.raises(Problem) as refused:
        read(kind, body)
    assert refused.value.status == status


def test_413_by_the_header_and_by_the_bytes():
    assert len(read("image/png", b"x" * 1000).data) == 1000
    start = form({"picture": ("a.png", b"x" * 600)})[:-11]
    for kind in ("image/png", FORM):
        for chunks, length in (([STALL], 1001), ([start, b"x" * 401], None)):
            with pytest.raises(Problem, match="larger than 1,000 bytes") as refused:
                read(kind, *chunks, length=length)
            assert refused.value.status == 413


def test_all_bodies_share_the_budget():
    reader = BodyReader(**LIMITS)

    async def main() -> None:
        with reader.share() as first:
            await reader.read(request("image/png", [b"x" * 900]), first)
            with pytest.raises(Problem, match="at once") as refused, reader.share() as second:
                await reader.read(request("image/png", [b"x" * 500, b"x" * 300]), second)
            assert refused.value.status == 429
            assert reader.held == 900
        assert reader.held == 0

    asyncio.run(main())


def test_a_slow_sender_is_408():
    with pytest.raises(Problem, match=r"too slowly: 3 bytes in 0\.[1-9] s") as refused:
        read("image/png", b"abc", STALL, patience=0.1)
    assert refused.value.status == 408 and refused.value.headers == {"Connection": "close"}


def test_a_sender_that_leaves():
    for kind in ("image/png", FORM):
        with pytest.raises(ClientDisconnect):
            read(kind, b"\r\n--xyz", LEAVE)
