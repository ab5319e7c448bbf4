from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from srgan.serve.guard import is_loopback
from tests.serve.conftest import Running

TOKEN = "long-enough-token"


def get(running: Running, path: str = "/v1/models", **headers: str) -> requests.Response:
    return requests.get(running.url + path, headers=headers, timeout=30, allow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST."])
def test_this_machines_own_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", ""])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.fixture(scope="module")
def guarded(run_service: Callable[..., Running]) -> Running:
    return run_service(token=TOKEN, any_host=True)


def test_without_the_token_only_the_supervisors_questions_are_answered(guarded: Running) -> None:
    for path in (
        "/v1/models",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/static/page.js",
        "/page/about",
        "/nothing",
    ):
        answer = get(guarded, path)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer", path
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert requests.post(f"{guarded.url}/v1/upscale", data=b"x", timeout=30).status_code == 401
    assert get(guarded, "/healthz").status_code == get(guarded, "/readyz").status_code == 200


@pytest.mark.parametrize(
    "given",
    ["Bearer wrong", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9", f"Bearer {TOKEN[:-1]}"],
)
def test_wrong_tokens_are_refused(guarded: Running, given: str) -> None:
    assert get(guarded, Authorization=given.encode("latin-1")).status_code == 401  # type: ignore[arg-type]


def test_the_token_opens_everything(guarded: Running) -> None:
    for path in ("/v1/models", "/metrics", "/docs", "/page/about", "/"):
        assert get(guarded, path, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert get(guarded, Authorization=f"bearer  {TOKEN}").status_code == 200


def test_a_browser_gets_a_form_and_then_a_cookie(guarded: Running) -> None:
    asked = get(guarded, "/")
    assert asked.status_code == 401 and '<input name="token"' in asked.text
    assert get(guarded, "/?token=wrong").status_code == 401
    let_in = get(guarded, f"/?token={TOKEN}")
    assert (let_in.status_code, let_in.headers["Location"]) == (303, "/")
    cookie = let_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert get(guarded, Cookie=cookie.partition(";")[0]).status_code == 200
    assert get(guarded, Cookie="srgan-token=wrong").status_code == 401


def test_a_loopback_service_answers_to_its_own_names_only(run_service: Callable[..., Running]) -> None:
    named = run_service(hosts=("pictures.example.org",))
    for host in (
        "localhost",
        "127.0.0.1:7860",
        "[::1]:7860",
        "pictures.example.org",
        "Pictures.Example.org:443",
    ):
        assert get(named, Host=host).status_code == 200, host
    for host in ("evil.example.org", "127.0.0.1.evil.org", "pictures.example.org.evil.org", ""):
        assert get(named, Host=host).status_code in (400, 403), host


def test_pages_of_other_sites_may_not_use_it(running: Running) -> None:
    here = f"127.0.0.1:{running.port}"
    assert get(running, Origin=f"http://{here}").status_code == 200
    for origin in ("http://evil.example.org", "null", f"http://{here}.evil.org", "http://localhost:1"):
        assert get(running, Origin=origin).status_code == 403, origin
    assert get(running, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}).status_code == 403
    assert get(running, "/", **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert get(running, **{"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_every_answer_forbids_what_comes_from_elsewhere(running: Running) -> None:
    for path in ("/", "/docs", "/v1/models", "/nothing"):
        policy = get(running, path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
