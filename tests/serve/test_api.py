from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from srgan.image.files import Image, Metadata, encode_image, read_image, read_provenance, write_image
from srgan.model import weights
from srgan.serve import openapi
from tests.serve.conftest import Running, by_command, drawn

SECONDS = 60


def post(running: Running, data: bytes, kind: str = "image/png", **query: Any) -> requests.Response:
    return requests.post(
        f"{running.url}/v1/upscale", params=query, data=data, headers={"Content-Type": kind}, timeout=SECONDS
    )


def detail(answer: requests.Response, status: int) -> str:
    """The sentence of a problem, whose form is checked on the way."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"} and problem["status"] == status
    assert problem["type"].startswith("urn:srgan:")
    return str(problem["detail"])


@pytest.mark.parametrize(
    ("name", "how", "query", "options"),
    [
        ("photo.png", {}, {}, []),
        ("photo.png", {}, {"model": "srresnet", "scale": 2}, ["--model", "srresnet", "--scale", "2"]),
        ("photo.png", {}, {"texture": "0.35", "scale": 3}, ["--texture", "0.35", "--scale", "3"]),
        ("deep.png", {"deep": True}, {}, []),
        ("grey.png", {"channels": 1}, {}, []),
        ("photo.jpg", {}, {}, []),
        ("photo.webp", {}, {}, []),
        ("deep.tif", {"deep": True}, {}, []),
        ("large.png", {"height": 150, "width": 170}, {}, []),
    ],
)
def test_the_answer_is_the_file_that_the_command_writes(
    running: Running,
    picture_file: Callable[..., Path],
    name: str,
    how: dict[str, Any],
    query: dict[str, Any],
    options: list[str],
) -> None:
    source = picture_file(name, **how)
    answer = post(running, source.read_bytes(), **query)
    assert answer.status_code == 200, answer.text
    target = source.with_name(f"ours{source.suffix}")
    assert answer.content == by_command(source, target, *options)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff", "avif"])
def test_another_format_is_the_commands_too(running: Running, picture_file: Callable[..., Path], form: str) -> None:
    suffix = {"jpeg": ".jpg", "tiff": ".tif"}.get(form, f".{form}")
    source = picture_file()
    answer = post(running, source.read_bytes(), format=form)
    assert answer.headers["Content-Type"] == f"image/{form}"
    assert answer.content == by_command(source, source.with_name(f"ours{suffix}"))


def test_alpha_profile_and_depth_come_through_as_on_the_command_line(running: Running, tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = drawn(48, 40, seed=3, channels=1, deep=True)
    alpha[:20] = 0
    source = tmp_path / "sheer.png"
    write_image(source, Image(pixels=drawn(48, 40, deep=True), alpha=alpha, metadata=Metadata(icc=profile)))
    answer = post(running, source.read_bytes())
    assert answer.content == by_command(source, tmp_path / "ours.png")
    made = read_image(tmp_path / "ours.png")
    assert made.alpha is not None and made.pixels.dtype == alpha.dtype and made.metadata.icc == profile


def test_forms_are_taken_and_no_name_in_them_is_opened(running: Running, picture_file: Callable[..., Path]) -> None:
    source = picture_file()
    expected = by_command(source, source.with_name("ours.png"))
    for name in ("photo.png", "../../../etc/passwd", "/etc/passwd", "C:\\x.png", 'a"b\r\nX: y.png', ""):
        files = {"picture": (name, source.read_bytes(), "image/png")}
        answer = requests.post(f"{running.url}/v1/upscale", files=files, timeout=SECONDS)
        if name == "":  # a field without a file name is a value, and still the picture
            assert answer.status_code in (200, 400)
            continue
        assert answer.content == expected
        disposition = answer.headers["Content-Disposition"]
        assert "/" not in disposition and "\\" not in disposition and "\n" not in disposition


def test_headers_say_what_made_it_and_how_long_it_took(running: Running, picture_file: Callable[..., Path]) -> None:
    source = picture_file()
    answer = post(running, source.read_bytes(), model="srresnet")
    assert answer.headers["X-Srgan-Model"] == "srresnet"
    assert answer.headers["X-Srgan-Model-Sha256"] == weights.read("srresnet").sha256
    assert {part.split(";dur=")[0] for part in answer.headers["Server-Timing"].split(", ")} == {
        "wait",
        "work",
    }
    answer_file = source.with_name("answer.png")
    answer_file.write_bytes(answer.content)
    provenance = read_provenance(answer_file)
    assert provenance is not None and provenance["sha256"] == weights.read("srresnet").sha256
    answer_file.write_bytes(post(running, source.read_bytes(), provenance="false").content)
    assert read_provenance(answer_file) is None


def test_pictures_are_refused_with_the_sentence_of_the_command_line(
    running: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from srgan.cli import run

    good = encode_image(Image(pixels=drawn(40, 40)), ".png")
    bad = {"text.png": b"hello, world", "cut.png": good[: len(good) // 2], "empty.gif": b"GIF89a"}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
        assert run(["upscale", str(tmp_path / name), "-o", str(tmp_path / "out.png")]) == 2
        said = capfd.readouterr().err
        sentence = detail(post(running, data), 422).replace("picture", "", 1).replace("_buffer", "")
        assert sentence in said, f"{sentence!r} is not in {said!r}"


@pytest.mark.parametrize(
    ("kind", "query", "status", "words"),
    [
        ("text/plain", {}, 415, "Content-Type"),
        ("image/png", {"scale": 7}, 400, "one of 2, 3, 4"),
        ("image/png", {"model": "/etc/passwd"}, 400, "one of srgan, srresnet"),
        ("image/png", {"texture": 0.5, "model": "srgan"}, 409, "excludes"),
        ("multipart/form-data; boundary=x", {}, 400, "damaged"),
    ],
)
def test_requests_are_refused_with_a_sentence(
    running: Running, kind: str, query: dict[str, Any], status: int, words: str
) -> None:
    assert words in detail(post(running, b"abc", kind, **query), status)


def test_more_pixels_or_bytes_than_the_limit_are_refused(run_service: Callable[..., Running]) -> None:
    small = run_service(pixels=1000, size=20_000, budget=100_000)
    assert "1,000" in detail(post(small, encode_image(Image(pixels=drawn(40, 40)), ".png")), 422)
    assert "20,000 bytes" in detail(post(small, b"x" * 30_000), 413)
    assert post(small, encode_image(Image(pixels=drawn(25, 40)), ".png")).status_code == 200


def test_transparency_into_jpeg_is_refused_before_any_work(running: Running) -> None:
    sheer = encode_image(Image(pixels=drawn(40, 40), alpha=drawn(40, 40, channels=1)), ".png")
    assert "transparency" in detail(post(running, sheer, format="jpeg"), 422)


def test_other_methods_and_paths_are_problems(running: Running) -> None:
    answer = requests.get(f"{running.url}/v1/upscale", timeout=SECONDS)
    assert "takes POST" in detail(answer, 405) and answer.headers["Allow"] == "POST"
    assert "/docs" in detail(requests.get(f"{running.url}/nothing", timeout=SECONDS), 404)
    for path in ("/static/..%2fcommand.py", "/static/../command.py", "/examples/%2e%2e/command.py"):
        assert requests.get(running.url + path, timeout=SECONDS).status_code == 404


def test_models_health_and_metrics(running: Running) -> None:
    listed = requests.get(f"{running.url}/v1/models", timeout=SECONDS).json()
    assert [model["model"] for model in listed["models"]] == ["srgan", "srresnet"] and listed["texture"]
    assert requests.get(f"{running.url}/healthz", timeout=SECONDS).text == "ok\n"
    assert requests.get(f"{running.url}/readyz", timeout=SECONDS).text == "ready\n"
    metrics = requests.get(f"{running.url}/metrics", timeout=SECONDS)
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'srgan_http_requests_total{route="/healthz",status="200"}' in metrics.text


def test_a_served_weights_file_is_offered_by_its_stem(
    run_service: Callable[..., Running], models: Path, picture_file: Callable[..., Path]
) -> None:
    served = run_service(model=(str(models / "srresnet.safetensors"),))
    listed = requests.get(f"{served.url}/v1/models", timeout=SECONDS).json()
    assert [model["model"] for model in listed["models"]] == ["srresnet"] and not listed["texture"]
    source = picture_file()
    expected = by_command(source, source.with_name("ours.png"), "--model", str(models / "srresnet.safetensors"))
    assert post(served, source.read_bytes()).content == expected
    assert "no texture" in detail(post(served, source.read_bytes(), texture=0.5), 409)


class Gate:
    """Holds the service's jobs until it is opened."""

    def __init__(self, running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.entered = threading.Event(), threading.Semaphore(0)
        genuine = running.service.shelf.upscaler

        def held(wish: Any, desk: str) -> Any:
            self.entered.release()
            assert self.opened.wait(30)
            return genuine(wish, desk)

        monkeypatch.setattr(running.service.shelf, "upscaler", held)


def test_a_full_queue_is_a_429_and_everybody_else_is_served(
    run_service: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = run_service(queue=2)
    gate = Gate(served, monkeypatch)
    data = encode_image(Image(pixels=drawn(150, 150)), ".png")
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(post, served, data) for _ in range(3)]
        assert gate.entered.acquire(timeout=20)
        _until(lambda: served.service.large.waiting == 2)
        refused = post(served, data)
        assert "waiting" in detail(refused, 429) and int(refused.headers["Retry-After"]) >= 1
        assert requests.get(f"{served.url}/healthz", timeout=SECONDS).status_code == 200
        gate.opened.set()
        answers = [answer.result() for answer in waiting]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.content for answer in answers}) == 1


def test_small_pictures_overtake_large_ones(
    run_service: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = run_service(queue=2)
    large, small = (encode_image(Image(pixels=drawn(side, side)), ".png") for side in (150, 64))
    gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        genuine = served.service.shelf.upscaler
        monkeypatch.setattr(
            served.service.shelf,
            "upscaler",
            lambda wish, desk: (desk == "large" and gate.wait(30), genuine(wish, desk))[1],
        )
        first = pool.submit(post, served, large)
        _until(lambda: served.service.large.running == 1)
        assert post(served, small).status_code == 200
        assert not first.done()
        gate.set()
        assert first.result().status_code == 200


def test_a_client_that_goes_away_stops_its_work(
    run_service: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = run_service(queue=2)
    gate = Gate(served, monkeypatch)
    data = encode_image(Image(pixels=drawn(150, 150)), ".png")
    with served.connect() as connection:
        connection.sendall(_head(served, len(data)) + data)
        assert gate.entered.acquire(timeout=20)
    _until(lambda: 'status="499"' in served.service.counters.text({}))
    gate.opened.set()
    _until(lambda: served.service.large.running == 0)
    assert "srgan_pictures_total" not in served.service.counters.text({})  # it was not finished
    assert served.service.receiver.held == 0
    assert post(served, data).status_code == 200


def test_one_that_waits_and_goes_away_leaves_the_line(
    run_service: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = run_service(queue=2)
    gate = Gate(served, monkeypatch)
    data = encode_image(Image(pixels=drawn(150, 150)), ".png")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post, served, data)
        assert gate.entered.acquire(timeout=20)
        with served.connect() as connection:
            connection.sendall(_head(served, len(data)) + data)
            _until(lambda: served.service.large.waiting == 1)
        _until(lambda: served.service.large.waiting == 0)
        gate.opened.set()
        assert first.result().status_code == 200


def test_a_fault_of_ours_is_a_500_without_details_and_the_next_request_is_served(
    run_service: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    served = run_service()
    data = encode_image(Image(pixels=drawn(40, 40)), ".png")
    with monkeypatch.context() as broken:
        broken.setattr("srgan.serve.pictures.upscaled", lambda *_: 1 / 0)
        assert "fault of srgan" in detail(post(served, data), 500)
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert post(served, data).status_code == 200


def test_work_over_its_time_is_a_503_that_says_so(run_service: Callable[..., Running]) -> None:
    served = run_service(seconds=1e-6)
    assert "longer than the" in detail(post(served, encode_image(Image(pixels=drawn(40, 40)), ".png")), 503)


def test_draining_refuses_new_work_and_says_so_to_the_proxy(run_service: Callable[..., Running]) -> None:
    served = run_service()
    served.service.drain()
    assert "shutting down" in detail(requests.get(f"{served.url}/readyz", timeout=SECONDS), 503)
    assert requests.get(f"{served.url}/healthz", timeout=SECONDS).status_code == 200
    answer = post(served, encode_image(Image(pixels=drawn(40, 40)), ".png"))
    assert "shutting down" in detail(answer, 503) and "Retry-After" in answer.headers


def test_nothing_of_a_picture_stays_on_disk(
    running: Running, picture_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, scratch = picture_file("photo.jpg"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = {path: sorted(map(str, Path(path).iterdir())) for path in ("/dev/shm", ".") if Path(path).is_dir()}
    for query in ({}, {"format": "avif"}):
        assert post(running, source.read_bytes(), "image/jpeg", **query).status_code == 200
    assert post(running, b"\xff\xd8\xff broken", "image/jpeg").status_code == 422
    assert list(scratch.iterdir()) == []
    for path, names in before.items():
        assert [name for name in sorted(map(str, Path(path).iterdir())) if name not in names] == []


def test_the_description_is_served_and_drawn_without_anything_from_elsewhere(running: Running) -> None:
    described = requests.get(f"{running.url}/openapi.json", timeout=SECONDS).json()
    assert set(described["paths"]) == {"/v1/upscale", "/v1/models", "/healthz", "/readyz", "/metrics"}
    page = requests.get(f"{running.url}/docs", timeout=SECONDS).text
    for path, operations in described["paths"].items():
        assert path in page
        for operation in operations.values():
            assert all(f"<code>{status}</code>" in page for status in operation["responses"])
    assert "http://" not in page.replace("http://127.0.0.1:7860", "") and "https://" not in page
    assert "<script" not in openapi.page(json.loads(json.dumps(described).replace("srgan", "<script>")))


def _head(served: Running, length: int) -> bytes:
    lines = ["POST /v1/upscale HTTP/1.1", f"Host: 127.0.0.1:{served.port}", "Content-Type: image/png"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def _until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def test_a_slow_sender_is_cut_off_and_others_are_served_meanwhile(
    run_service: Callable[..., Running],
) -> None:
    served = run_service(patience=0.3)
    data = encode_image(Image(pixels=drawn(40, 40)), ".png")
    with served.connect() as slow, served.connect() as mute:
        slow.sendall(_head(served, len(data)) + data[:10])
        mute.sendall(b"GET /healthz HT")
        assert post(served, data).status_code == 200
        assert b"408" in _all(slow).split(b"\r\n", 1)[0]
        assert _all(mute) == b""  # closed


def _all(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received
