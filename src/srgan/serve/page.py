"""The page: its files, its examples, and one answer that streams progress, bicubic and result."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from srgan.image.files import Image, ImageBytes
from srgan.serve import pictures
from srgan.serve.api import PIECE, endpoint, while_there
from srgan.serve.desk import Progress
from srgan.serve.problems import Problem, fault
from srgan.serve.service import Service, as_problems
from srgan.serve.wish import Wish, wish_from_query

KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
CADENCE = 0.1
"""Seconds between two reports of progress."""


def routes(service: Service) -> Iterable[Route]:
    """The page's routes; its files are read once, from the package, by names of ours."""
    here = resources.files("srgan.serve")
    files = {f"/{folder}/{file.name}": file for folder in ("static", "examples") for file in (here / folder).iterdir()}
    for path, file in {"/": here / "static" / "page.html", **files}.items():
        if any(path.endswith(suffix) for suffix in (*KINDS, "/")):
            yield _file(service, path, file)
    yield endpoint(service, "/page/about", "GET", _about(service, sorted(p for p in files if p.endswith(".png"))))
    yield endpoint(service, "/page/upscale", "POST", _upscale(service))
    yield endpoint(service, "/page/score", "POST", _score(service))


def _file(service: Service, path: str, file: Traversable) -> Route:
    content, kind = file.read_bytes(), KINDS["." + file.name.rpartition(".")[2]]

    async def get(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return endpoint(service, path, "GET", get)


def _about(service: Service, examples: list[str]) -> Any:
    about = {
        "models": service.shelf.described(),
        "texture": service.shelf.texture,
        "pixels": service.bounds.pixels,
        "size": service.bounds.size,
        "niqe": service.niqe is not None,
        "examples": [path for path in examples if path.startswith("/examples/")],
    }

    async def get(request: Request) -> Response:
        return JSONResponse(about)

    return get


def _upscale(service: Service) -> Any:
    async def post(request: Request) -> Response:
        wish = wish_from_query(
            request.query_params.multi_items(), models=service.shelf.names, texture=service.shelf.texture
        )
        service.large.admit()
        with service.receiver.holding() as taken:
            parts = await service.receiver.parts(request, taken)
        return StreamingResponse(_frames(service, parts["picture"], wish), media_type="application/x-srgan-frames")

    return post


async def _frames(service: Service, source: ImageBytes, wish: Wish) -> AsyncIterator[bytes | memoryview]:
    """A line of JSON for each event; where it has `bytes`, so many bytes follow it."""
    loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[dict[str, Any], bytes]]()
    started = reported = time.monotonic()

    def put(event: str, data: bytes = b"", /, **members: Any) -> None:
        events.put_nowait(({"event": event, **members, "bytes": len(data)}, data))

    def from_thread(event: str, data: bytes = b"", /, **members: Any) -> None:
        loop.call_soon_threadsafe(lambda: put(event, data, **members))

    def began(picture: Image) -> None:
        nonlocal started
        lr, bicubic = pictures.views(picture, wish.scale)
        from_thread("lr", lr, height=picture.pixels.shape[0], width=picture.pixels.shape[1])
        from_thread("bicubic", bicubic)
        started = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= CADENCE or done == total:
            reported = now
            left = (now - started) * (total - done) / done if done else None
            from_thread("progress", done=done, total=total, seconds_left=left)

    async def work() -> None:
        try:
            answer = await service.upscale(
                source,
                wish,
                progress=progress,
                began=began,
                moved=lambda before: put("waiting", before=before),
            )
            put("sr", answer.data, type=answer.media_type, headers=answer.headers)
            if answer.format == "tiff":
                put("view", await service.work(service.small, lambda check: pictures.view(answer.data)))
            put("end")
        except Problem as problem:
            put("problem", **problem.members())
        except Exception:
            put("problem", **fault().members())
            raise

    task = asyncio.create_task(work())
    try:
        while True:
            members, data = await events.get()
            yield json.dumps(members).encode() + b"\n"
            for start in range(0, len(data), PIECE):
                yield memoryview(data)[start : start + PIECE]
            if members["event"] in ("end", "problem"):
                return
    finally:
        task.cancel()


def _score(service: Service) -> Any:
    async def post(request: Request) -> Response:
        with service.receiver.holding() as taken:
            parts = await service.receiver.parts(request, taken)
            if "reference" not in parts:
                raise Problem(400, "body", "The form holds no reference: send it as the field 'reference'.")

            def work(check: Progress) -> dict[str, Any]:
                return pictures.scored(parts["picture"].data, parts["reference"], service.limits, service.niqe)

            with as_problems():
                found = await while_there(request.receive, service.work(service.small, work))
        return JSONResponse(found)

    return post
