"""The HTTP API on FastAPI: routes, their OpenAPI description, errors as problem+json, and the request log."""

import logging
import math
import re
import secrets
import socket
import time
from collections.abc import Iterable
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan import __version__
from srgan.errors import SrganError
from srgan.fs import printable
from srgan.serve import page
from srgan.serve.http import cancel_on_disconnect, pieces, problem_response
from srgan.serve.models import UpscaleParams
from srgan.serve.problems import REQUEST_ID, STATUSES, Problem, problem_from_error
from srgan.serve.security import SecurityMiddleware
from srgan.serve.service import HEADERS, MEDIA_TYPES, Service

log = logging.getLogger("srgan")

KEEP_ALIVE = 65
"""Seconds that an idle connection stays open: longer than a proxy in front keeps its own (nginx: 60)."""
QUIET_PATHS = ("/healthz", "/readyz", "/metrics")
"""Paths that a supervisor asks every few seconds: their log lines are for --verbose."""
_REQUEST_ID = re.compile(rb"[\w.-]{1,64}")
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:srgan: and a short kind, for programs"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "the sentence that the command line prints"},
    },
}
_HEADERS = {name: what for name, (_, what) in HEADERS.items()} | {
    "Server-Timing": "Milliseconds: wait (in the queue) and work (decode, upscale, encode)."
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["picture"],
        "properties": {"picture": {"type": "string", "format": "binary"}},
        "additionalProperties": False,
    },
    "encoding": {"picture": {"contentType": ", ".join(MEDIA_TYPES.values())}},
}
_BODY = dict.fromkeys((*MEDIA_TYPES.values(), "image/gif", "application/octet-stream"), _BINARY)
_IMAGE = {
    "description": "The larger image.",
    "headers": {name: {"description": what, "schema": {"type": "string"}} for name, what in _HEADERS.items()},
    "content": dict.fromkeys(MEDIA_TYPES.values(), _BINARY),
}


class ModelInfo(BaseModel):
    """One model on offer."""

    model: str
    sha256: str
    version: str
    engine: str
    precision: str


class ModelList(BaseModel):
    """The models on offer; `mixture`: whether texture and restore are too, else the first model is the default."""

    models: list[ModelInfo]
    mixture: bool


def create_app(
    service: Service, *, token: str | None = None, hosts: Iterable[str] = (), any_host: bool = False
) -> ASGIApp:
    """The whole application; `hosts` are names that it accepts besides this machine's own."""
    app = FastAPI(
        title="srgan",
        version=__version__,
        description="Upscales images. SRGAN invents texture: its output is not evidence.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(api_routes(service))
    app.include_router(page.routes(service))
    for kind in (Problem, SrganError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _error_response)
    _complete_description(app.openapi(), service, token is not None)
    return RequestLog(SecurityMiddleware(app, token=token, hosts=hosts, any_host=any_host), service)


def api_routes(service: Service) -> APIRouter:
    """The API's routes."""
    router = APIRouter()
    limits = service.limits

    @router.post(
        "/v1/upscale",
        summary="An image in, the larger image out: the bytes that `srgan upscale` writes",
        description=f"At most {limits.pixels:,} pixels and {limits.size:,} bytes.",
        response_class=Response,
        responses={200: _IMAGE, **_refusals(*STATUSES)},
        openapi_extra={"requestBody": {"required": True, "content": {**_BODY, "multipart/form-data": _FORM}}},
    )
    async def upscale(request: Request, params: Annotated[UpscaleParams, Query()]) -> Response:
        # Refuse before the body is read what cannot be done.
        service.check(params, request.query_params)
        service.large.check_admission()
        with service.bodies.share() as taken:
            image = await service.bodies.read(request, taken)
            larger = await cancel_on_disconnect(request, service.upscale(image, params))
        headers = {**larger.headers, "Content-Length": str(len(larger.data))}
        return StreamingResponse(pieces(larger.data), 200, headers, larger.media_type)

    @router.get("/v1/models", summary="The models on offer", responses=_refusals(401, 403, 405))
    async def models() -> ModelList:
        return ModelList.model_validate({"models": service.pool.describe(), "mixture": service.pool.mixes})

    @router.get("/healthz", summary="Whether the process lives", **_text(401, 403, 405, public=True))
    async def healthz() -> str:
        return "ok\n"

    @router.get("/readyz", summary="Whether it takes work now", **_text(401, 403, 405, 429, 503, public=True))
    async def readyz() -> str:
        service.large.check_admission()
        return "ready\n"

    @router.get("/metrics", summary="Counts and gauges for Prometheus", **_text(401, 403, 405))
    async def metrics() -> Response:
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return router


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": _PROBLEM}}
    return {status: {"description": STATUSES[status], "content": content} for status in statuses}


def _text(*statuses: int, public: bool = False) -> dict[str, Any]:
    """The description of a route that answers with text; `public`: without the token."""
    extra: dict[str, Any] = {"security": []} if public else {}
    return {"response_class": PlainTextResponse, "responses": _refusals(*statuses), "openapi_extra": extra}


def _complete_description(description: dict[str, Any], service: Service, token: bool) -> None:
    """Add to FastAPI's description what only this service knows: its models and its token."""
    upscale = description["paths"]["/v1/upscale"]["post"]
    for parameter in upscale["parameters"]:
        if parameter["name"] == "model":
            parameter["schema"] |= {"enum": list(service.pool.names)}
    if not service.pool.mixes:
        upscale["parameters"] = [one for one in upscale["parameters"] if one["name"] not in ("texture", "restore")]
    if token:
        scheme = {"type": "http", "scheme": "bearer", "description": "the token that `srgan serve` printed"}
        description.setdefault("components", {})["securitySchemes"] = {"token": scheme}
        description["security"] = [{"token": []}]


async def _error_response(request: Request, error: Exception) -> Response:
    """problem+json for every error; an unknown exception is a bug."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # nobody reads it
    if isinstance(error, RequestValidationError):
        return problem_response(_parameter_problem(error))
    if isinstance(error, HTTPException):
        return problem_response(_routing_problem(request, error))
    return problem_response(problem_from_error(error))


def _parameter_problem(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    name = printable(str(first["loc"][1]))
    if first["type"] == "extra_forbidden":
        known = ", ".join(UpscaleParams.model_fields)
        return Problem(400, "parameter", f"There is no parameter '{name}'. Known are: {known}.")
    return Problem(400, "parameter", f"{name} is '{printable(str(first['input']))}'. {first['msg']}.")


def _routing_problem(request: Request, error: HTTPException) -> Problem:
    if error.status_code != 405:
        return Problem(404, "path", "There is nothing here; /docs describes the API, / is the page.")
    allow = (error.headers or {}).get("Allow", "").replace("GET", "GET, HEAD")
    detail = f"{printable(request.url.path)} takes {allow}, not {printable(request.method)}."
    return Problem(405, "method", detail, headers={"Allow": allow})


class RequestLog:
    """Gives every request an id (X-Request-ID), a log line and a count in /metrics; HEAD is GET without a body."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service, self.requests = app, service, service.metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn drops the body
        proxy_id = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = proxy_id if _REQUEST_ID.fullmatch(proxy_id) else secrets.token_hex(8).encode()
        REQUEST_ID.set(request_id.decode())
        started, status, received, sent = time.monotonic(), 499, 0, 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id)]
            sent += len(message.get("body", b""))
            await send(message)

        app, most = self.app, self.service.limits.connections
        if len(self.service.connections) > most and path != "/healthz":  # a crowded service lives
            detail = f"More than {most} connections are open, the limit here (--connections); try again."
            app = problem_response(Problem(503, "busy", detail, retry_after=5, headers={"Connection": "close"}))
        try:
            await app(scope, counted_receive, counted_send)
        except Exception:
            if status != 500:  # else `problem_from_error` logged it
                log.exception("failed")
        finally:
            self.requests.labels(getattr(scope.get("route"), "path", "other"), str(status)).inc()
            log.log(
                logging.DEBUG if path in QUIET_PATHS else logging.INFO,
                "%s %s: %d, %d bytes in, %d bytes out, %.3f s",
                *(printable(method), printable(path), status, received, sent),
                time.monotonic() - started,
            )


class Server(uvicorn.Server):
    """uvicorn that answers until the running jobs have ended after SIGTERM or Ctrl-C, which it raises again at its end."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        super().__init__(config)
        self.service, self.stop_by = service, math.inf
        service.connections = self.server_state.connections

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; then print the address, as a warning: --quiet shows it too, and with port 0 nothing else says it."""
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            log.warning("%s (API: /docs)", f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        """Whether to stop listening: not while a job runs, so that /healthz and /readyz tell a stop from a crash."""
        if not await super().on_tick(counter):
            return False
        self.service.drain()
        limits, now = self.service.limits, time.monotonic()
        self.stop_by = min(self.stop_by, now + limits.seconds + 2 * limits.patience)
        self.config.timeout_graceful_shutdown = max(1, round(self.stop_by - now))
        return self.force_exit or now > self.stop_by or not self.service.running
