"""At the door of the service: who may come in, what every answer carries, and what is counted."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.problems import Problem

COOKIE = "srgan-token"
ROUTE = "srgan.route"
"""Where the scope of a request says which route answers it."""
OPEN = ("/healthz", "/readyz")
"""Routes that need no token: a supervisor asks them."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>srgan</title>
<h1>srgan</h1><p>This service asks for the token that <code>srgan serve</code> printed.</p>
<form action="/"><label>Token <input name="token" type="password" autofocus></label>
<button>Open</button></form></html>"""


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class Guard:
    """ASGI middleware: host names, foreign pages and the token; headers; counts."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Iterable[str],
        any_host: bool,
        count: Callable[[str, int], None],
    ) -> None:
        self.app, self.token, self.count = app, token, count
        self.hosts, self.any_host = {host.lower() for host in hosts}, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status = 499  # nobody was left to answer to

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            await self._answer(scope, receive, noting)
        finally:
            self.count(scope.get(ROUTE, "other"), status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        try:
            self._check_host(headers)
            if scope["path"] not in OPEN and self.token is not None:
                if self._asks_for_cookie(scope):
                    return await self._cookie()(scope, receive, send)
                self._check_token(headers)
        except Problem as problem:
            if problem.status == 401 and scope["path"] == "/" and scope["method"] == "GET":
                return await HTMLResponse(_ASK, 401, problem.headers)(scope, receive, send)
            return await problem.response()(scope, receive, send)
        await self.app(scope, receive, send)

    def _check_host(self, headers: dict[bytes, str]) -> None:
        """A page of another site must not reach the service through the visitor's browser."""
        host = headers.get(b"host", "")
        name = _name(host)
        if not (self.any_host or is_loopback(name) or name in self.hosts):
            raise Problem(403, "host", "This service does not go by that name; `srgan serve --allow-host` adds one.")
        origin = headers.get(b"origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if headers.get(b"sec-fetch-site") == "cross-site":
            foreign = foreign or headers.get(b"sec-fetch-mode") != "navigate"
        if foreign:
            raise Problem(403, "origin", "Pages of other sites may not use this service.")

    def _check_token(self, headers: dict[bytes, str]) -> None:
        assert self.token is not None
        scheme, _, given = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            try:
                cookie = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
            except CookieError:
                cookie = None
            given = cookie.value if cookie else ""
        if not secrets.compare_digest(given.strip().encode(), self.token.encode()):
            problem = Problem(401, "token", "This service needs its token: send 'Authorization: Bearer TOKEN'.")
            problem.headers = {"WWW-Authenticate": "Bearer"}
            raise problem

    def _asks_for_cookie(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        asks = scope["path"] == "/" and scope["method"] == "GET" and given != ""
        return asks and secrets.compare_digest(given.encode(), (self.token or "").encode())

    def _cookie(self) -> RedirectResponse:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self.token or "", httponly=True, samesite="strict", max_age=30 * 24 * 3600)
        return answer


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    return host.partition("]")[0].strip("[").lower() if host.startswith("[") else host.partition(":")[0].lower()
