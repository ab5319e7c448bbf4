"""Downloads from a server that breaks off, lies, redirects or is gone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from srgan.data import download as module
from srgan.data.download import download
from srgan.errors import DataError
from tests.data.servers import Site, breaking_off, lying, sending, status

BODY = np.random.default_rng(0).bytes(3_000_000)
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def target(tmp_path: Path, site: Site) -> Path:
    site.files["/a/file.zip"] = site.files["/b/file.zip"] = BODY
    return tmp_path / "deep" / "file.zip"


def whole(target: Path) -> None:
    assert target.read_bytes() == BODY
    assert [path.name for path in target.parent.iterdir()] == ["file.zip"]


@pytest.mark.parametrize("digest", [DIGEST, "md5:" + hashlib.md5(BODY).hexdigest(), ""])
@pytest.mark.parametrize("length", [len(BODY), 0])
def test_one_request_on_a_good_day(site, target, digest, length):
    download([site.url("/a/file.zip")], target, digest=digest, length=length)
    whole(target)
    assert site.requests == [("/a/file.zip", "")]
    download([site.url("/a/file.zip")], target, digest=digest)
    assert len(site.requests) == 1, "what is there is not fetched again"


def test_resume_after_breaks(site, target):
    site.moods["/a/file.zip"] += [breaking_off(1_000_000), status(503, Retry_After="0"), breaking_off(500_000)]
    download([site.url("/a/file.zip")], target, digest=DIGEST)
    whole(target)
    assert [r for _, r in site.requests] == ["", "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]


def test_resume_in_a_later_call(site, target):
    site.moods["/a/file.zip"] += [breaking_off(1_234_567)] + [status(503)] * 3
    with pytest.raises(DataError, match=r"answered 503.*The bytes so far are kept"):
        download([site.url("/a/file.zip")], target, digest=DIGEST)
    download([site.url("/a/file.zip")], target, digest=DIGEST)
    whole(target)
    assert site.requests[-1][1] == "bytes=1234567-"


def test_restart_without_a_digest(site, target):
    """Nothing would show that both parts are of the same file."""
    site.moods["/a/file.zip"] += [breaking_off(1_000_000)]
    download([site.url("/a/file.zip")], target)
    whole(target)
    assert site.requests == [("/a/file.zip", "")] * 2


def test_server_without_ranges(site, target):
    site.ranges = False
    site.moods["/a/file.zip"] += [breaking_off(1_000_000)]
    download([site.url("/a/file.zip")], target, digest=DIGEST)
    whole(target)


@pytest.mark.parametrize("code", [404, 403, 410])
def test_gone_is_not_asked_twice_and_a_mirror_sends_the_rest(site, target, code, caplog):
    site.moods["/a/file.zip"] += [breaking_off(1_000_000)] + [status(code)] * 9
    download([site.url("/a/file.zip"), site.url("/b/file.zip")], target, digest=DIGEST)
    whole(target)
    ranges = ["", "bytes=1000000-", "bytes=1000000-"]
    assert site.requests == list(zip(["/a/file.zip", "/a/file.zip", "/b/file.zip"], ranges, strict=True))
    assert len(caplog.records) == 1 and str(code) in caplog.text


def test_wrong_bytes_are_deleted(site, target):
    site.moods["/a/file.zip"] += [sending(BODY[:-1] + b"!")] * 9
    urls = [site.url("/a/file.zip"), site.url("/b/file.zip")]
    download(urls, target, digest=DIGEST)
    whole(target)
    assert site.requests[-1] == ("/b/file.zip", ""), "nothing of the wrong file is gone on with"


def test_wrong_length_is_refused_first(site, target):
    site.moods["/a/file.zip"] += [sending(b"<html>moved</html>")] * 9
    with pytest.raises(DataError, match=r"offers 18 bytes instead of 3,000,000"):
        download([site.url("/a/file.zip")], target, digest=DIGEST, length=len(BODY))
    assert not target.exists()


@pytest.mark.parametrize("told", [len(BODY) + 100, len(BODY) - 100])
@pytest.mark.parametrize("digest", [DIGEST, ""])
def test_lies_about_the_length(site, target, told, digest):
    """With a digest no lie passes; without one the longer lie shows, and the shorter is left to the content."""
    site.moods["/a/file.zip"] += [lying(told)] * 99
    if told < len(BODY) and not digest:
        download([site.url("/a/file.zip")], target)
        assert target.stat().st_size == told
        return
    with pytest.raises(DataError, match=r"other bytes|broke off"):
        download([site.url("/a/file.zip")], target, digest=digest)
    assert not target.exists() and len(site.requests) < 20


def test_redirects(site, target):
    site.moods["/old"] += [status(302, Location=site.url("/a/file.zip"))]
    download([site.url("/old")], target, digest=DIGEST)
    whole(target)
    target.unlink()
    site.moods["/circle"] += [status(302, Location=site.url("/circle"))] * 99
    site.moods["/file"] += [status(302, Location="file:///etc/passwd")] * 99
    for path, said in (("/circle", "30[12]"), ("/file", "not allowed")):
        with pytest.raises(DataError, match=said):
            download([site.url(path)], target, digest=DIGEST)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "x", "ftp://127.0.0.1/x", "http://127.0.0.1:9/x"])
def test_only_http_and_nobody_there(site, target, url):
    said = "no answer" if url.startswith("http") else "is not an http address"
    with pytest.raises(DataError, match=rf"file.zip could not be downloaded \({url}: {said}"):
        download([url], target)


def test_unknown_length_is_bounded(site, target, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNKNOWN_LENGTH", 1_000_000)

    def endless(answer: object, body: bytes) -> None:
        answer.send_response(200)
        answer.end_headers()
        answer.wfile.write(body)

    site.moods["/a/file.zip"] += [endless] * 9
    with pytest.raises(DataError, match="more than 1,000,000 bytes for a small file"):
        download([site.url("/a/file.zip")], target)
