"""Who may use the service: host names, origins, the token; and the headers of every answer."""

import ipaddress
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from fastapi import Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from srgan.serve.http import problem_response
from srgan.serve.problems import Problem

COOKIE = "srgan-token"
OPEN_PATHS = ("/healthz", "/readyz")
"""Paths that need no token: a supervisor asks them."""
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
_TOKEN_FORM = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><title>srgan</title>
<h1>srgan</h1><p>%sThis service asks for its token: SRGAN_TOKEN, or what <code>srgan serve</code> printed.</p>
<form action="/"><label>Token <input name="token" type="password" autofocus></label>
<button>Open</button></form></html>"""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


class SecurityMiddleware:
    """Refuses foreign hosts (403), pages of other sites (403) and requests without the token (401)."""

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Iterable[str], any_host: bool) -> None:
        self.app, self.token = app, token
        self.hosts, self.any_host = {host.lower() for host in hosts}, any_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        answer = self._answer(scope) or self.app
        await answer(scope, receive, send_with_headers)

    def _answer(self, scope: Scope) -> Response | None:
        """The refusal, or the redirect that sets the cookie; None lets the request in."""
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        at_page = scope["path"] == "/" and scope["method"] == "GET"
        try:
            self._check_host(headers)
            if self.token is None or scope["path"] in OPEN_PATHS:
                return None
            query_token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            if at_page and query_token and self._is_token(query_token):
                answer = RedirectResponse("/", 303)
                answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict", max_age=30 * 24 * 3600)
                return answer
            self._check_token(headers)
        except Problem as problem:
            if problem.status == 401 and at_page:
                wrong = "That token is wrong. " if b"token=" in scope["query_string"] else ""
                return HTMLResponse(_TOKEN_FORM % wrong, 401, problem.headers)
            return problem_response(problem)
        return None

    def _check_host(self, headers: dict[bytes, str]) -> None:
        """Keep pages of other sites from reaching the service through a visitor's browser (DNS rebinding, CSRF)."""
        # The Host header names the service.
        host = headers.get(b"host", "")
        name = host.partition("]")[0].strip("[") if host.startswith("[") else host.partition(":")[0]
        if not (self.any_host or is_loopback(name) or name.lower() in self.hosts):
            raise Problem(403, "host", "This service does not accept that name; `srgan serve --allow-host` adds one.")

        # The request comes from a page of the same origin, or from no page.
        origin = headers.get(b"origin")
        foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if headers.get(b"sec-fetch-site") == "cross-site":
            foreign = foreign or headers.get(b"sec-fetch-mode") != "navigate"
        if foreign:
            raise Problem(403, "origin", "Pages of other sites may not use this service.")

    def _check_token(self, headers: dict[bytes, str]) -> None:
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            try:
                cookie = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
            except CookieError:
                cookie = None
            token = cookie.value if cookie else ""
        if not self._is_token(token.strip()):
            detail = "This service needs its token: send 'Authorization: Bearer TOKEN'."
            raise Problem(401, "token", detail, headers={"WWW-Authenticate": "Bearer"})

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode(), (self.token or "").encode())
