"""The page: its files, its examples, the stream of progress, bicubic and result."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from srgan.image import files
from srgan.image.files import Image
from srgan.image.resize import bicubic
from srgan.image.source import ImageBytes
from srgan.serve.http import pieces
from srgan.serve.models import UpscaleParams
from srgan.serve.problems import problem_from_error
from srgan.serve.service import Service

log = logging.getLogger("srgan")

MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
PROGRESS_SECONDS = 0.1
"""Seconds between two reports of progress."""


def routes(service: Service) -> APIRouter:
    """The page's routes; none of them is part of the described API."""
    router = APIRouter(include_in_schema=False)
    package = resources.files("srgan.serve")
    paths = {
        f"/{folder}/{file.name}": file for folder in ("static", "examples") for file in (package / folder).iterdir()
    }
    special = {"/": paths.pop("/static/page.html"), "/docs": paths.pop("/static/docs.html")}
    for path, file in {**special, **paths}.items():
        if any(file.name.endswith(suffix) for suffix in MEDIA_TYPES):
            _add_file(router, path, file)
    about = {
        "models": service.pool.describe(),
        "knobs": ["texture", "restore"] if service.pool.mixes else [],
        "pixels": service.limits.pixels,
        "size": service.limits.size,
        "examples": sorted(path for path in paths if path.startswith("/examples/")),
    }

    @router.get("/page/about")
    async def page_about() -> Response:
        return JSONResponse(about)

    @router.post("/page/upscale")
    async def page_upscale(request: Request, params: Annotated[UpscaleParams, Query()]) -> Response:
        service.check(params, request.query_params)
        service.large.check_admission()
        with contextlib.ExitStack() as held:  # the body's share of the budget
            image = await service.bodies.read(request, held.enter_context(service.bodies.share()))
            return _Upscaling(upscale_events(service, image, params), held.pop_all())

    return router


class _Upscaling(StreamingResponse):
    """The stream of events; `held` is closed when it ends, or never begins."""

    def __init__(self, events: AsyncIterator[bytes | memoryview], held: contextlib.ExitStack) -> None:
        super().__init__(events, media_type="application/x-srgan-frames")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await super().__call__(scope, receive, send)


def _add_file(router: APIRouter, path: str, file: Traversable) -> None:
    """A route that answers with a file of the package, read once."""
    content, media_type = file.read_bytes(), MEDIA_TYPES[Path(file.name).suffix]

    @router.get(path)
    async def static_file() -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})


async def upscale_events(
    service: Service, source: ImageBytes, params: UpscaleParams
) -> AsyncIterator[bytes | memoryview]:
    """A line of JSON for each event; as many bytes follow it as its `bytes` says."""
    loop, events = asyncio.get_running_loop(), asyncio.Queue[tuple[dict[str, Any], bytes]]()
    started = reported = time.monotonic()

    # Events come from this loop and from the worker's thread.
    def put(event: str, data: bytes = b"", /, **members: Any) -> None:
        events.put_nowait(({"event": event, **members, "bytes": len(data)}, data))

    def put_from_thread(event: str, data: bytes = b"", /, **members: Any) -> None:
        loop.call_soon_threadsafe(lambda: put(event, data, **members))

    def on_start() -> None:
        nonlocal started
        image = files.read_image(source, limits=service.image_limits, page=0)
        put_from_thread(
            "lr", files.encode_image(image, ".png"), height=image.pixels.shape[0], width=image.pixels.shape[1]
        )
        put_from_thread("bicubic", files.encode_image(bicubic_image(image, params.scale), ".png"))
        started = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= PROGRESS_SECONDS or done == total:
            reported = now
            left = (now - started) * (total - done) / done if done else None
            put_from_thread("progress", done=done, total=total, seconds_left=left)

    async def work() -> None:
        try:
            on_position = lambda before: put("waiting", before=before)  # noqa: E731
            sr = await service.upscale(source, params, on_position=on_position, on_start=on_start, progress=progress)
            put("sr", sr.data, type=sr.media_type, headers=sr.headers)
            if sr.media_type == "image/tiff":  # no browser shows it
                try:
                    put("view", await asyncio.to_thread(png_from_bytes, sr.data))
                except Exception:  # the result has been sent; without a view it can be downloaded
                    log.exception("the view of a TIFF failed")
            put("end")
        except Exception as error:
            put("problem", **problem_from_error(error).members())

    # Closing the stream stops the work.
    task = asyncio.create_task(work())
    try:
        while True:
            members, data = await events.get()
            yield json.dumps(members).encode() + b"\n"
            for piece in pieces(data):
                yield piece
            if members["event"] in ("end", "problem"):
                return
    finally:
        task.cancel()


def bicubic_image(image: Image, scale: int) -> Image:
    """The image, enlarged by exact bicubic."""
    height, width = (scale * side for side in image.pixels.shape[:2])
    alpha = None if image.alpha is None else bicubic(image.alpha, height, width)
    return dataclasses.replace(image, pixels=bicubic(image.pixels, height, width), alpha=alpha)


def png_from_bytes(data: bytes) -> bytes:
    """An image of ours as PNG; of several pages the first."""
    return files.encode_image(files.read_image(ImageBytes(data=data, name="the result"), page=0), ".png")
