"""The whole ASGI application: guard, API and page over one service."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from srgan.serve import api, page
from srgan.serve.guard import Guard
from srgan.serve.problems import Problem
from srgan.serve.service import Service


def application(
    service: Service, *, token: str | None = None, hosts: Iterable[str] = (), any_host: bool = False
) -> Guard:
    """The application; `hosts` are the names it goes by beside this machine's own."""

    async def unknown(request: Request, error: Exception) -> Response:
        return Problem(404, "path", "There is nothing here; /docs describes the API, / is the page.").response()

    routes = [*api.routes(service, token=token is not None), *page.routes(service)]
    app = Starlette(routes=routes, exception_handlers={404: unknown})
    app.router.redirect_slashes = False
    return Guard(app, token=token, hosts=hosts, any_host=any_host, count=service.counters.request)
