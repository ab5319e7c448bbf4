"""Tokens, cookies, host names, origins and the headers of every answer."""

from collections.abc import Callable

import pytest
import requests

from srgan.serve.security import is_loopback
from tests.serve.conftest import Running

TOKEN = "long-enough-token"


def get(running: Running, path: str = "/v1/models", **headers: str) -> requests.Response:
    return requests.get(running.url + path, headers=headers, timeout=30, allow_redirects=False)


def test_loopback():
    ours = ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST.")
    others = ("0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "")
    assert [is_loopback(host) for host in (*ours, *others)] == [True] * 6 + [False] * 6


@pytest.fixture(scope="module")
def secured(run_service: Callable[..., Running]) -> Running:
    return run_service(token=TOKEN, any_host=True)


def test_without_a_token_only_health_is_answered(secured):
    for path in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/static/page.js", "/page/about", "/nothing"):
        answer = get(secured, path)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer", path
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert requests.post(f"{secured.url}/v1/upscale", data=b"x", timeout=30).status_code == 401
    assert get(secured, "/healthz").status_code == get(secured, "/readyz").status_code == 200


@pytest.mark.parametrize(
    "authorization",
    ["Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9", f"Bearer {TOKEN[:-1]}"],
)
def test_wrong_tokens(secured, authorization):
    assert get(secured, Authorization=authorization.encode("latin-1")).status_code == 401


def test_the_token_opens_every_path(secured):
    for path in ("/v1/models", "/metrics", "/docs", "/page/about", "/"):
        assert get(secured, path, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert get(secured, Authorization=f"bearer  {TOKEN}").status_code == 200


def test_a_browser_gets_a_form_then_a_cookie(secured):
    asked = get(secured, "/")
    assert asked.status_code == 401 and '<input name="token"' in asked.text
    wrong = get(secured, "/?token=wrong")
    assert wrong.status_code == 401 and "That token is wrong" in wrong.text and "wrong" not in asked.text
    redirect = get(secured, f"/?token={TOKEN}")
    assert (redirect.status_code, redirect.headers["Location"]) == (303, "/")
    cookie = redirect.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert get(secured, Cookie=cookie.partition(";")[0]).status_code == 200
    assert get(secured, Cookie="srgan-token=wrong").status_code == 401


def test_host_names(run_service):
    named = run_service(hosts=("images.example.org",))
    for host in ("localhost", "127.0.0.1:7860", "[::1]:7860", "images.example.org", "Images.Example.org:443"):
        assert get(named, Host=host).status_code == 200, host
    for host in ("evil.example.org", "127.0.0.1.evil.org", "images.example.org.evil.org", ""):
        assert get(named, Host=host).status_code in (400, 403), host


def test_origins(running):
    here = f"127.0.0.1:{running.port}"
    assert get(running, Origin=f"http://{here}").status_code == 200
    others = ("http://evil.example.org", "null", "http://[", f"http://{here}.evil.org", "http://localhost:1")
    for origin in others:
        assert get(running, Origin=origin).status_code == 403, origin
    assert get(running, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}).status_code == 403
    assert get(running, "/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert get(running, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_content_security_policy(running):
    for path in ("/", "/docs", "/v1/models", "/nothing"):
        policy = get(running, path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
