"""Reads what a client sends, into memory only, within limits of bytes and of patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from srgan.image.files import ImageBytes
from srgan.serve.problems import Problem

RATE = 8192
"""Bytes per second that a sender must keep up once its first seconds are over."""
LONGEST = 600.0
"""Seconds that any one body may take."""
_RAW = ("image/", "application/octet-stream")


class Receiver:
    """Reads bodies: each at most `limit` bytes, all at any moment at most `budget`, none for ever."""

    def __init__(self, *, limit: int, budget: int, patience: float) -> None:
        self.limit, self.budget, self.patience = limit, budget, patience
        self.held = 0

    @contextmanager
    def holding(self) -> Iterator[list[int]]:
        """Gives back, at the end of a request, the room that its body took; the list takes byte counts."""
        taken: list[int] = []
        try:
            yield taken
        finally:
            self.held -= sum(taken)

    async def parts(self, request: Request, taken: list[int]) -> dict[str, ImageBytes]:
        """The pictures by field name, a body that is the picture itself as 'picture'; no name is ever opened."""
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        form = kind == b"multipart/form-data"
        if not form and not kind.decode("latin-1").startswith(_RAW):
            raise Problem(
                415,
                "content-type",
                f"The request's Content-Type is {request.headers.get('content-type', 'missing')!r}; send the "
                "picture itself (image/png, ..., application/octet-stream) or multipart/form-data.",
            )
        body = b"".join([chunk async for chunk in self._chunks(request, taken)])
        whole = {"picture": ImageBytes(data=body, name="picture")}
        parts = _split(body, options.get(b"boundary", b"")) if form else whole
        if not parts.get("picture", ImageBytes(data=b"", name="")).data:
            raise Problem(
                400,
                "body",
                "The request holds no picture: send it as the body, or as the form's field 'picture'.",
            )
        return parts

    async def _chunks(self, request: Request, taken: list[int]) -> AsyncIterator[bytes]:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.limit:
            raise self._too_large()
        total, started = 0, time.monotonic()
        more = True
        while more:
            spare = started + min(self.patience + total / RATE, LONGEST) - time.monotonic()
            try:
                message = await asyncio.wait_for(request.receive(), max(spare, 0.001))
            except TimeoutError:
                raise Problem(
                    408,
                    "slow",
                    f"The body came too slowly: {total} bytes in {time.monotonic() - started:.0f} s.",
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            total += len(chunk)
            if total > self.limit:
                raise self._too_large()
            self._take(len(chunk), taken)
            yield chunk

    def _take(self, count: int, taken: list[int]) -> None:
        if self.held + count > self.budget:
            raise Problem(429, "busy", "Too many pictures are arriving at once; try again.", retry_after=5)
        self.held += count
        taken.append(count)

    def _too_large(self) -> Problem:
        return Problem(413, "bytes", f"The request is larger than {self.limit:,} bytes, the limit of this service.")


def _split(body: bytes, boundary: bytes) -> dict[str, ImageBytes]:
    """The parts of a multipart/form-data body, by field name."""
    parts: dict[str, ImageBytes] = {}
    headers: dict[bytes, bytes] = {}
    name, value, data, ended = bytearray(), bytearray(), bytearray(), False

    def header_end() -> None:
        headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def part_end() -> None:
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if field in parts:
            raise Problem(400, "body", f"The form holds the field {field!r} twice.")
        parts[field] = ImageBytes(
            data=bytes(data), name=options.get(b"filename", b"picture").decode("utf-8", "replace")
        )
        headers.clear()
        data.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda b, start, stop: name.extend(b[start:stop]),
                "on_header_value": lambda b, start, stop: value.extend(b[start:stop]),
                "on_header_end": header_end,
                "on_part_data": lambda b, start, stop: data.extend(b[start:stop]),
                "on_part_end": part_end,
                "on_end": end,
            },
        )
        parser.write(body)
    except (FormParserError, ValueError) as error:
        raise Problem(400, "body", f"The multipart/form-data body is damaged: {error}.") from None
    if not ended:
        raise Problem(400, "body", "The multipart/form-data body ends before its closing boundary.")
    return parts
