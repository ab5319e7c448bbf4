"""What FastAPI leaves to us: bodies in memory within limits, clients that leave, answers in pieces."""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from srgan.fs import printable
from srgan.image.source import ImageBytes
from srgan.serve.problems import Problem

T = TypeVar("T")
BYTES_PER_SECOND = 8192
"""Rate that a sender must keep after the first `patience` seconds."""
MAX_SECONDS = 600.0
"""Seconds that any one body may take."""
PIECE = 256 * 1024
"""Bytes of an answer handed to the connection at a time."""
LOCALLY = "`srgan upscale` on your own machine takes more"
_IMAGE_TYPES = ("image/", "application/octet-stream")


class _MemoryParser(MultiPartParser):
    spool_max_size = 0  # Starlette writes files above 1 MiB to a disk; 0: never


class BodyReader:
    """Reads bodies into memory: each at most `limit` bytes, all at any moment at most `budget`."""

    def __init__(self, *, limit: int, budget: int, patience: float) -> None:
        self.limit, self.budget, self.patience = limit, budget, patience
        self.held = 0

    @contextmanager
    def share(self) -> Iterator[list[int]]:
        """A request's part of the budget, returned at the end; the list takes byte counts."""
        taken: list[int] = []
        try:
            yield taken
        finally:
            self.held -= sum(taken)

    async def read(self, request: Request, taken: list[int]) -> ImageBytes:
        """The image: the body, or a form's field "picture". Raises Problem 400, 408, 413, 415, 429."""
        kind = request.headers.get("content-type", "")
        if kind.lower().startswith(_IMAGE_TYPES):
            body = b"".join([chunk async for chunk in self._chunks(request, taken)])
            image = ImageBytes(data=body, name="picture")
        elif kind.lower().startswith("multipart/form-data"):
            image = await _image_of_form(request, self._chunks(request, taken))
        else:
            raise Problem(
                415,
                "content-type",
                f"The request's Content-Type is {printable(kind) or 'missing'}; send the image itself (image/png, ..., "
                "application/octet-stream) or multipart/form-data.",
            )
        if not image.data:
            raise Problem(400, "body", f"{printable(image.name)} is empty: 0 bytes arrived.")
        return image

    async def _chunks(self, request: Request, taken: list[int]) -> AsyncGenerator[bytes, None]:
        detail = f"The request is larger than {self.limit:,} bytes, the limit here (--size); {LOCALLY}."
        too_large = Problem(413, "bytes", detail)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self.limit:
            raise too_large
        total, started, more = 0, time.monotonic(), True
        while more:
            # Wait for a chunk, as long as the sender keeps its rate.
            elapsed = time.monotonic() - started
            spare = min(self.patience + total / BYTES_PER_SECOND, MAX_SECONDS) - elapsed
            try:
                message = await asyncio.wait_for(request.receive(), max(spare, 0.001))
            except TimeoutError:
                detail = f"The body came too slowly: {total} bytes in {time.monotonic() - started:.1f} s."
                raise Problem(408, "slow", detail, headers={"Connection": "close"}) from None
            if message["type"] == "http.disconnect":
                raise ClientDisconnect

            # Count it before it is kept.
            chunk, more = message.get("body", b""), message.get("more_body", False)
            total += len(chunk)
            if total > self.limit:
                raise too_large
            if self.held + len(chunk) > self.budget:
                raise Problem(429, "busy", "Too many images are arriving at once; try again.", retry_after=5)
            self.held += len(chunk)
            taken.append(len(chunk))
            yield chunk


async def _image_of_form(request: Request, chunks: AsyncGenerator[bytes, None]) -> ImageBytes:
    """The file of a multipart/form-data body; its name is never opened."""
    try:
        form = await _MemoryParser(request.headers, chunks, max_files=8, max_fields=8).parse()
    except (MultiPartException, ValueError, KeyError) as error:  # UnicodeError: of a charset that decodes nothing
        reason = "it has no boundary" if isinstance(error, KeyError) else printable(str(error))
        raise Problem(400, "body", f"The multipart/form-data body is damaged: {reason}") from None
    fields = form.multi_items()
    if [name for name, _ in fields] != ["picture"] or not isinstance(fields[0][1], UploadFile):
        names = ", ".join(printable(n) + " (no filename)" * isinstance(value, str) for n, value in fields) or "none"
        detail = f"The form's fields are: {names}. Send one file, as the field 'picture'; all else goes into the query."
        raise Problem(400, "body", detail)
    return ImageBytes(data=await fields[0][1].read(), name=fields[0][1].filename or "picture")


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The work's result; when the client leaves first, the work is cancelled and ClientDisconnect raised."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.create_task(work), asyncio.create_task(disconnected())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


def pieces(data: bytes) -> Iterator[memoryview]:
    """`data` in pieces, so that a slow reader's connection never holds a copy of the whole."""
    for start in range(0, len(data), PIECE):
        yield memoryview(data)[start : start + PIECE]


def problem_response(problem: Problem) -> Response:
    """The answer to a refused request; uvicorn drops the rest of its body, so that the sender can read this."""
    return JSONResponse(problem.members(), problem.status, problem.headers, "application/problem+json")
