from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from srgan.image.files import ImageBytes
from srgan.serve.bodies import Receiver
from srgan.serve.problems import Problem

RECEIVER: dict[str, Any] = {"limit": 1000, "budget": 1500, "patience": 5.0}


def request(content_type: str | None, chunks: Iterable[bytes | None], length: int | None = None) -> Request:
    """A request whose body comes in these chunks; None: nothing comes any more."""
    left = list(chunks)
    headers = [(b"content-type", content_type.encode())] if content_type is not None else []
    if length is not None:
        headers.append((b"content-length", str(length).encode()))

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        chunk = left.pop(0)
        if chunk is None:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": chunk, "more_body": bool(left)}

    return Request({"type": "http", "method": "POST", "headers": headers, "state": {}}, receive)


def parts(content_type: str | None, *chunks: bytes | None, **changes: Any) -> dict[str, ImageBytes]:
    length = changes.pop("length", None)
    receiver = Receiver(**(RECEIVER | changes))
    return asyncio.run(receiver.parts(request(content_type, chunks, length), []))


def form(fields: dict[str, tuple[str, bytes]], boundary: str = "xyz") -> bytes:
    lines = b""
    for name, (filename, data) in fields.items():
        disposition = f'form-data; name="{name}"; filename="{filename}"'
        lines += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        lines += b"Content-Type: image/png\r\n\r\n" + data + b"\r\n"
    return lines + f"--{boundary}--\r\n".encode()


FORM = "multipart/form-data; boundary=xyz"


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG", "application/octet-stream", "image/x; a=b"])
def test_a_body_may_be_the_picture_itself(kind: str) -> None:
    assert parts(kind.lower(), b"ab", b"", b"cd")["picture"].data == b"abcd"


@given(
    data=st.binary(min_size=1, max_size=200).filter(lambda data: b"--xyz" not in data),
    cuts=st.lists(st.integers(0, 400), max_size=5),
)
def test_a_form_gives_back_what_was_put_in_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    body = form({"picture": ("a.png", data), "reference": ("b.png", b"other")})
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[start:stop] for start, stop in pairwise(edges)]
    got = parts(FORM, *chunks)
    assert got["picture"] == ImageBytes(data=data, name="a.png")
    assert got["reference"].data == b"other"


@given(st.binary(max_size=300))
def test_any_form_body_is_parts_or_a_sentence(body: bytes) -> None:
    try:
        assert "picture" in parts(FORM, body)
    except Problem as problem:
        assert problem.status == 400


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (None, b"abc", 415),
        ("text/html", b"abc", 415),
        ("application/x-www-form-urlencoded", b"abc", 415),
        ("image/png", b"", 400),
        (FORM, form({"other": ("a.png", b"abc")}), 400),
        (FORM, form({"picture": ("a.png", b"abc")})[:-9], 400),
        (FORM, form({"picture": ("a", b"abc")})[:-7] + b"\r\n" + form({"picture": ("b", b"d")}), 400),
        ("multipart/form-data", form({"picture": ("a.png", b"abc")}), 400),
    ],
)
def test_other_bodies_are_refused(kind: str | None, body: bytes, status: int) -> None:
    with pytest.raises(Problem) as refused:
        parts(kind, body)
    assert refused.value.status == status


def test_a_body_over_the_limit_is_refused_by_its_header_and_by_its_bytes() -> None:
    assert len(parts("image/png", b"x" * 1000)["picture"].data) == 1000
    for chunks, length in (([b"x"], 1001), ([b"x" * 600, b"x" * 401], None)):
        with pytest.raises(Problem, match="larger than 1,000 bytes") as refused:
            parts("image/png", *chunks, length=length)
        assert refused.value.status == 413


def test_all_bodies_together_stay_within_the_budget_and_give_it_back() -> None:
    receiver = Receiver(**RECEIVER)

    async def main() -> None:
        with receiver.holding() as first:
            await receiver.parts(request("image/png", [b"x" * 900]), first)
            with pytest.raises(Problem, match="at once") as refused, receiver.holding() as second:
                await receiver.parts(request("image/png", [b"x" * 500, b"x" * 300]), second)
            assert refused.value.status == 429
            assert receiver.held == 900
        assert receiver.held == 0

    asyncio.run(main())


def test_a_sender_that_stands_still_is_given_up() -> None:
    with pytest.raises(Problem, match="too slowly: 3 bytes") as refused:
        parts("image/png", b"abc", None, patience=0.05)
    assert refused.value.status == 408


def test_a_client_that_goes_away_is_no_picture() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(Receiver(**RECEIVER).parts(_gone(), []))


def _gone() -> Request:
    messages = [{"type": "http.request", "body": b"ab", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    headers = [(b"content-type", b"image/png")]
    return Request({"type": "http", "method": "POST", "headers": headers, "state": {}}, receive)
