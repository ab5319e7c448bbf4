"""The HTTP API: /v1/upscale, /v1/models, /healthz, /readyz, /metrics and its description."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive

from srgan.serve import openapi
from srgan.serve.guard import ROUTE
from srgan.serve.problems import Problem, fault
from srgan.serve.service import Service
from srgan.serve.wish import wish_from_query

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
PIECE = 256 * 1024
"""Bytes handed to the connection at a time."""


def endpoint(service: Service, path: str, method: str, handler: Handler) -> Route:
    """A route whose problems are problem+json; other methods are 405."""

    async def answered(request: Request) -> Response:
        request.scope[ROUTE] = path
        try:
            if request.method != method and not (method == "GET" and request.method == "HEAD"):
                sentence = f"{path} takes {method}, not {request.method}."
                raise Problem(405, "method", sentence, allow="GET, HEAD" if method == "GET" else method)
            return await handler(request)
        except Problem as problem:
            return problem.response()
        except ClientDisconnect:
            return Response(status_code=499)  # nobody reads it; /metrics counts it
        except Exception:
            traceback.print_exc()
            return fault().response()

    every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]
    return Route(path, answered, methods=every)


def routes(service: Service, *, token: bool) -> Iterable[Route]:
    """The API's routes."""
    described = openapi.description(
        models=service.shelf.names,
        texture=service.shelf.texture,
        token=token,
        pixels=service.bounds.pixels,
        size=service.bounds.size,
    )

    async def upscale(request: Request) -> Response:
        wish = wish_from_query(
            request.query_params.multi_items(), models=service.shelf.names, texture=service.shelf.texture
        )
        service.large.admit()
        with service.receiver.holding() as taken:
            parts = await service.receiver.parts(request, taken)
            extra = sorted(set(parts) - {"picture"})
            if extra:
                raise Problem(400, "body", f"The form's field {extra[0]!r} is not known; the picture is 'picture'.")
            answer = await while_there(request.receive, service.upscale(parts["picture"], wish))
        return large_response(answer.data, answer.media_type, answer.headers)

    async def models(request: Request) -> Response:
        return JSONResponse({"models": service.shelf.described(), "texture": service.shelf.texture})

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        service.large.admit()
        return PlainTextResponse("ready\n")

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(service.counters.text(service.gauges()), media_type="text/plain; version=0.0.4")

    async def description(request: Request) -> Response:
        return Response(json.dumps(described, indent=1), media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse(openapi.page(described))

    yield endpoint(service, "/v1/upscale", "POST", upscale)
    yield endpoint(service, "/v1/models", "GET", models)
    yield endpoint(service, "/healthz", "GET", healthz)
    yield endpoint(service, "/readyz", "GET", readyz)
    yield endpoint(service, "/metrics", "GET", metrics)
    yield endpoint(service, "/openapi.json", "GET", description)
    yield endpoint(service, "/docs", "GET", docs)


async def while_there(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """The work's result, or ClientDisconnect, the work stopped, when the client goes away before."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def large_response(data: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """An answer that is handed on piece by piece, so that no copy of the whole waits for a slow reader."""

    async def pieces() -> AsyncIterator[memoryview]:
        whole = memoryview(data)
        for start in range(0, len(data), PIECE):
            yield whole[start : start + PIECE]

    return StreamingResponse(pieces(), 200, {**headers, "Content-Length": str(len(data))}, media_type)
