"""The HTTP API: the command line's bytes, refusals as problem+json, full queues, clients that leave."""

import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image as PillowImage

from srgan import Upscaler
from srgan.cli import main
from srgan.errors import ImageError, WeightsError
from srgan.image.files import Image, Metadata, encode_image, read_image, read_provenance, write_image
from srgan.image.source import ImageBytes, Limits
from srgan.model import weights
from srgan.progress import MessageHandler
from srgan.serve.models import ModelPool, UpscaleParams
from srgan.serve.problems import STATUSES, problem_from_error
from srgan.serve.service import count_pixels
from srgan.upscale.mixture import AUTO_TEXTURES, CORNERS
from tests.serve.conftest import Gate, Running, by_command, drawn, file_bytes, until

SECONDS = 60


def get(running: Running, path: str, **options: Any) -> requests.Response:
    return requests.get(running.url + path, timeout=SECONDS, **options)


def post(running: Running, data: bytes, kind: str = "image/png", **query: Any) -> requests.Response:
    headers = {"Content-Type": kind}
    return requests.post(f"{running.url}/v1/upscale", params=query, data=data, headers=headers, timeout=SECONDS)


def detail(answer: requests.Response, status: int) -> str:
    """The sentence of a problem, whose form is checked on the way."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail"} and problem["status"] == status
    assert problem["type"].startswith("urn:srgan:")
    return str(problem["detail"])


def head(served: Running, length: int) -> bytes:
    lines = ["POST /v1/upscale HTTP/1.1", f"Host: 127.0.0.1:{served.port}", "Content-Type: image/png"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


@pytest.mark.parametrize(
    ("name", "how", "query"),
    [
        ("photo.png", {}, {}),
        ("photo.png", {}, {"model": "srresnet", "scale": 2}),
        ("photo.png", {}, {"texture": "0.35", "scale": 3}),
        ("photo.jpg", {}, {"texture": "auto", "restore": "0.5"}),
        ("deep.png", {"deep": True}, {}),
        ("grey.png", {"channels": 1}, {}),
        ("photo.jpg", {}, {}),
        ("photo.webp", {}, {}),
        ("deep.tif", {"deep": True}, {}),
        ("large.png", {"height": 150, "width": 170}, {}),
    ],
)
def test_answer_equals_the_commands_file(running, image_file, name, how, query):
    source = image_file(name, **how)
    answer = post(running, source.read_bytes(), **query)
    assert answer.status_code == 200, answer.text
    options = [word for key, value in query.items() for word in (f"--{key}", str(value))]
    assert answer.content == by_command(source, source.with_name(f"ours{source.suffix}"), *options)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "avif"])
def test_every_format(running, image_file, kind):
    suffix = {"jpeg": ".jpg", "tiff": ".tif"}.get(kind, f".{kind}")
    source = image_file()
    answer = post(running, source.read_bytes(), format=kind)
    assert answer.headers["Content-Type"] == f"image/{kind}"
    assert answer.content == by_command(source, source.with_name(f"ours{suffix}"))


def test_alpha_profile_and_depth_are_kept(running, tmp_path):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = drawn(48, 40, seed=3, channels=1, deep=True)
    alpha[:20] = 0
    source = tmp_path / "sheer.png"
    write_image(source, Image(pixels=drawn(48, 40, deep=True), alpha=alpha, metadata=Metadata(icc=profile)))
    answer = post(running, source.read_bytes())
    assert answer.content == by_command(source, tmp_path / "ours.png")
    sr = read_image(tmp_path / "ours.png")
    assert sr.alpha is not None and sr.pixels.dtype == alpha.dtype and sr.metadata.icc == profile


def test_animations_and_pages_equal_the_command(run_service, tmp_path):
    small = run_service(pixels=3 * 24 * 32)
    frames = [PillowImage.fromarray(drawn(24, 32, seed=seed)) for seed in range(3)]
    for name, how in {"moving.gif": {"duration": 80, "loop": 0}, "pages.tif": {}}.items():
        source, larger = tmp_path / name, tmp_path / f"larger-{name}"
        frames[0].save(source, save_all=True, append_images=frames[1:], **how)
        frames[0].save(larger, save_all=True, append_images=[*frames[1:], frames[0]], **how)
        target = tmp_path / f"ours{'.webp' if name == 'moving.gif' else '.tif'}"
        assert post(small, source.read_bytes(), "application/octet-stream").content == by_command(source, target)
        refused = detail(post(small, larger.read_bytes(), "application/octet-stream"), 422)
        assert "4 frames or pages, 3,072 pixels in all; the limit is 2,304 (--pixels" in refused


def test_form_names_are_never_opened(running, image_file):
    source = image_file()
    expected = by_command(source, source.with_name("ours.png"))
    for name in ("photo.png", "../../../etc/passwd", "/etc/passwd", "C:\\x.png", 'a"b\r\nX: y.png'):
        files = {"picture": (name, source.read_bytes(), "image/png")}
        answer = requests.post(f"{running.url}/v1/upscale", files=files, timeout=SECONDS)
        assert answer.content == expected
        assert not set("/\\\n") & set(answer.headers["Content-Disposition"])


def test_headers_and_provenance(running, image_file, tmp_path):
    data, target, sha256 = image_file().read_bytes(), tmp_path / "answer.png", weights.read("srresnet").sha256
    answer = post(running, data, model="srresnet")
    assert (answer.headers["X-Srgan-Model"], answer.headers["X-Srgan-Model-Sha256"]) == ("srresnet", sha256)
    assert [part.split(";dur=")[0] for part in answer.headers["Server-Timing"].split(", ")] == ["wait", "work"]
    target.write_bytes(answer.content)
    provenance = read_provenance(target)
    assert provenance is not None and provenance["sha256"] == sha256
    headers = post(running, encode_image(Image(pixels=drawn(40, 40)), ".jpg", quality=50)).headers
    assert headers["X-Srgan-Texture"] in {f"{texture:g}" for texture in AUTO_TEXTURES}
    assert "JPEG, quality about" in headers["X-Srgan-Restore-Reason"]
    assert post(running, data, restore="0.5").headers["X-Srgan-Restore"] == "0.5"
    target.write_bytes(post(running, data, provenance="false").content)
    assert read_provenance(target) is None


def test_damaged_images_get_the_commands_sentence(running, tmp_path, capfd):
    good = file_bytes(40, 40)
    for name, data in {"text.png": b"hello, world", "cut.png": good[: len(good) // 2], "empty.gif": b"GIF89a"}.items():
        (tmp_path / name).write_bytes(data)
        assert main(["upscale", str(tmp_path / name), "-o", str(tmp_path / "out.png")]) == 2
        sentence = detail(post(running, data), 422).replace("picture", "", 1).replace("_buffer", "")
        assert sentence in capfd.readouterr().err


@pytest.mark.parametrize(
    ("kind", "query", "status", "words"),
    [
        ("text/plain", {}, 415, "Content-Type"),
        ("image/png", {"scale": 7}, 400, "scale is '7'. Input should be 2, 3 or 4"),
        ("image/png", {"scale": "4.0"}, 400, "2, 3 or 4"),
        ("image/png", {"model": "/etc/passwd"}, 400, "one of srgan, photo"),
        ("image/png", {"txture": 1}, 400, "no parameter 'txture'. Known are: model, texture, restore, scale"),
        ("image/png", {"a\nb": 1}, 400, r"no parameter 'a\nb'"),
        ("image/png", {"texture": "nan"}, 400, "texture is 'nan'"),
        ("image/png", {"restore": 1.01}, 400, "'auto' or a number from 0 to 1"),
        ("image/png", {"format": "exe"}, 400, "'png', 'jpeg'"),
        ("image/png", {"provenance": "yes"}, 400, "boolean"),
        ("image/png", {"scale": [2, 3]}, 400, "scale comes 2 times"),
        ("image/png", {"texture": 0.5, "model": "srgan"}, 409, "exclude"),
        ("multipart/form-data; boundary=x", {}, 400, "damaged"),
    ],
)
def test_wrong_requests_get_a_sentence(running, kind, query, status, words):
    assert words in detail(post(running, b"abc", kind, **query), status)


def test_limits_of_pixels_and_bytes(run_service):
    small = run_service(pixels=1000, size=20_000, budget=100_000)
    for data, status, limit in ((file_bytes(40, 40), 422, "1,000 (--pixels"), (b"x" * 30_000, 413, "20,000 bytes")):
        sentence = detail(post(small, data), status)
        assert limit in sentence and "`srgan upscale` on your own machine takes more" in sentence
    assert post(small, file_bytes(25, 40)).status_code == 200


def test_other_methods_and_paths(running):
    answer = get(running, "/v1/upscale")
    assert "takes POST" in detail(answer, 405) and answer.headers["Allow"] == "POST"
    answer = requests.request("DELETE", f"{running.url}/v1/models", timeout=SECONDS)
    assert "takes GET" in detail(answer, 405) and answer.headers["Allow"] == "GET, HEAD"
    for path in ("/nothing", "/docs/", "/redoc", "/static/..%2fapp.py", "/static/../app.py", "/examples/%2e%2e/app.py"):
        assert "/docs" in detail(get(running, path), 404)


def test_head_is_get_without_a_body(running):
    for path in ("/", "/docs", "/healthz", "/v1/models"):
        answer = requests.head(running.url + path, timeout=SECONDS)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == get(running, path).headers["Content-Length"]
    assert requests.head(f"{running.url}/v1/upscale", timeout=SECONDS).status_code == 405


def test_models_health_and_metrics(running):
    models = get(running, "/v1/models").json()
    assert {model["model"] for model in models["models"]} == {*CORNERS} and models["mixture"]
    assert get(running, "/healthz").text == "ok\n" and get(running, "/readyz").text == "ready\n"
    post(running, file_bytes(40, 40))
    metrics = get(running, "/metrics")
    assert metrics.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = metrics.text.splitlines()
    for start in (
        'srgan_http_requests_total{route="/v1/upscale",status="200"} ',
        'srgan_info{model="mixture",version=',
        'srgan_work_seconds_bucket{le="+Inf"} ',
        "srgan_pictures_total ",
        "srgan_jobs_running 0.0",
        "srgan_request_bytes_held 0.0",
        "process_resident_memory_bytes ",
    ):
        assert sum(line.startswith(start) for line in lines) == 1, start


def test_a_weights_file_is_offered_by_its_stem(run_service, models, image_file):
    file = str(models / "srresnet.safetensors")
    served = run_service(model=(file,))
    answer = get(served, "/v1/models").json()
    assert [model["model"] for model in answer["models"]] == ["srresnet"] and not answer["mixture"]
    source = image_file()
    assert post(served, source.read_bytes()).content == by_command(source, source.with_name("o.png"), "--model", file)
    assert "fixed models only" in detail(post(served, source.read_bytes(), texture=0.5), 409)
    [upscale] = get(served, "/openapi.json").json()["paths"]["/v1/upscale"].values()
    assert not {"texture", "restore"} & {parameter["name"] for parameter in upscale["parameters"]}


def test_a_full_queue_is_429(run_service, monkeypatch):
    served = run_service(queue=2)
    gate, data = Gate(served, monkeypatch, "large"), file_bytes(150, 150)
    with ThreadPoolExecutor(3) as threads:
        jobs = [threads.submit(post, served, data) for _ in range(3)]
        assert gate.entered.acquire(timeout=20)
        until(lambda: served.service.large.waiting == 2)
        refused = post(served, data)
        assert "waiting" in detail(refused, 429) and int(refused.headers["Retry-After"]) >= 1
        assert get(served, "/healthz").status_code == 200
        assert get(served, "/readyz").status_code == 429
        gate.opened.set()
        answers = [job.result() for job in jobs]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.content for answer in answers}) == 1


def test_small_images_overtake_large_ones(run_service, monkeypatch):
    served = run_service(queue=2)
    gate = Gate(served, monkeypatch, "large")
    with ThreadPoolExecutor(1) as threads:
        large = threads.submit(post, served, file_bytes(150, 150))
        assert gate.entered.acquire(timeout=20)
        assert post(served, file_bytes(64, 64)).status_code == 200
        assert not large.done()
        gate.opened.set()
        assert large.result().status_code == 200


def test_a_client_that_leaves_stops_its_job(run_service, monkeypatch):
    served = run_service(queue=2)
    gate, data = Gate(served, monkeypatch, "large"), file_bytes(150, 150)
    with served.connect() as running, served.connect() as waiting:
        running.sendall(head(served, len(data)) + data)
        assert gate.entered.acquire(timeout=20)
        waiting.sendall(head(served, len(data)) + data)
        until(lambda: served.service.large.waiting == 1)
    until(lambda: served.metric("srgan_http_requests_total", route="/v1/upscale", status="499") == 2)
    assert served.service.large.waiting == 0
    gate.opened.set()
    until(lambda: served.service.large.running == 0)
    assert served.metric("srgan_pictures_total") == 0  # it was not finished
    until(lambda: served.service.bodies.held == 0)
    assert post(served, data).status_code == 200


@pytest.mark.parametrize(("error", "logged"), [(ValueError("why"), "Traceback"), (WeightsError("why"), "failed: why")])
def test_a_fault_is_a_500_and_the_log_has_its_details(run_service, monkeypatch, capsys, error, logged):
    served, data, handler = run_service(), file_bytes(40, 40), MessageHandler()
    monkeypatch.setattr(logging.getLogger("srgan"), "handlers", [handler])
    with monkeypatch.context() as broken:
        broken.setattr("srgan.serve.service.upscale_bytes", lambda *_: _raise(error))
        answer = post(served, data)
        on_page = requests.post(f"{served.url}/page/upscale", files={"picture": data}, timeout=30)
    assert "bug in srgan" in detail(answer, 500) and "Content-Security-Policy" in answer.headers
    assert b"bug in srgan" in on_page.content and b"why" not in answer.content + on_page.content
    log = capsys.readouterr().err
    for identifier in (answer.headers["X-Request-ID"], on_page.headers["X-Request-ID"]):
        assert log.count(f"srgan: {identifier} failed") == 1
    assert log.count(logged) == log.count("why") == 2
    assert post(served, data).status_code == 200


def test_every_request_has_an_id_and_a_log_line(running, caplog):
    caplog.set_level(logging.INFO, "srgan")
    data = file_bytes(40, 40)
    answer = post(running, data)
    identifier, size = answer.headers["X-Request-ID"], len(answer.content)
    line = f"{identifier} POST /v1/upscale: 200, {len(data)} bytes in, {size} bytes out, "
    until(lambda: line in caplog.text)
    cut = post(running, data[:-12])  # a PNG without its end mark
    assert f"{cut.headers['X-Request-ID']} picture ends without its end mark" in caplog.text
    assert (
        get(running, "/nothing\x1b", headers={"X-Request-ID": "from-proxy.1"}).headers["X-Request-ID"] == "from-proxy.1"
    )
    until(lambda: "from-proxy.1 GET /nothing" in caplog.text)
    assert "\x1b" not in caplog.text
    assert get(running, "/healthz", headers={"X-Request-ID": "a b"}).headers["X-Request-ID"] != "a b"
    assert "/healthz" not in caplog.text


def test_no_folder_of_the_server_in_an_answer(run_service, monkeypatch, caplog):
    served, sentence = run_service(), "/dev/shm/srgan-x1/picture.jpg: a JPEG takes 65,502 of image/jpeg and/or less."
    answers = {
        ImageError: (422, sentence.replace("/dev/shm/srgan-x1/", "")),
        WeightsError: (500, "log has the details"),
    }
    for error, (status, words) in answers.items():
        with monkeypatch.context() as broken:
            broken.setattr("srgan.serve.service.upscale_bytes", lambda *_, e=error: _raise(e(sentence)))
            assert words in detail(post(served, file_bytes(40, 40)), status)
    assert sentence in caplog.text
    assert problem_from_error(ImageError("(/var/lib/x/a.png)")).detail == "(a.png)"


def _raise(error: Exception) -> None:
    raise error


def test_pixels_are_counted_without_decoding(tmp_path, monkeypatch):
    """Of every page, and of formats that Pillow reads."""
    pages = [PillowImage.new("RGB", size) for size in ((30, 20), (10, 40))]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "image.bmp")
    for module in ("srgan.image.pillow.load", "pyvips.Image.write_to_memory"):
        monkeypatch.setattr(module, lambda *_, **__: pytest.fail("decoded"))
    for name, expected in (("pages.tif", 30 * 20 + 10 * 40), ("image.bmp", 30 * 20)):
        source = ImageBytes(data=(tmp_path / name).read_bytes(), name=name)
        assert count_pixels(source, Limits()) == expected
        with pytest.raises(ImageError, match="the limit is 500"):
            count_pixels(source, Limits(pixels=500))


def test_only_the_last_model_keeps_activations_of_large_images(models, monkeypatch):
    released: list[str] = []
    monkeypatch.setattr(Upscaler, "release", lambda self: released.append(self.describe()["model"]))
    pool = ModelPool(engine="openvino")
    for name in ("srgan", "srgan", "photo", None):
        pool.upscaler(UpscaleParams(model=name), "large")
    pool.upscaler(UpscaleParams(model="srgan"), "small")
    assert released == ["srgan", "photo"]


def test_draining_refuses_new_work(run_service):
    served = run_service()
    served.service.drain()
    assert "shutting down" in detail(get(served, "/readyz"), 503)
    assert get(served, "/healthz").status_code == 200
    answer = post(served, file_bytes(40, 40))
    assert "shutting down" in detail(answer, 503) and "Retry-After" in answer.headers


def test_no_image_stays_on_a_disk(running, image_file, tmp_path, monkeypatch):
    source, scratch = image_file("photo.jpg"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    folders = [Path(path) for path in ("/dev/shm", ".") if Path(path).is_dir()]
    before = [{*folder.iterdir()} for folder in folders]
    for query in ({}, {"format": "avif"}):
        assert post(running, source.read_bytes(), "image/jpeg", **query).status_code == 200
    assert post(running, b"\xff\xd8\xff broken", "image/jpeg").status_code == 422
    assert list(scratch.iterdir()) == []
    assert [{*folder.iterdir()} - old for folder, old in zip(folders, before, strict=True)] == [set(), set()]


def test_a_refused_sender_can_read_why(run_service):
    served = run_service(size=50_000, budget=100_000)
    with served.connect() as sender:
        sender.sendall(head(served, 3_000_000))
        for _ in range(300):
            sender.sendall(bytes(10_000))
        assert sender.recv(12) == b"HTTP/1.1 413"


def test_too_many_connections_are_503(run_service):
    served = run_service(connections=4)
    held: list[socket.socket] = [served.connect() for _ in range(4)]
    refused = get(served, "/readyz")
    assert "4 connections are open" in detail(refused, 503) and refused.headers["Connection"] == "close"
    assert get(served, "/healthz").status_code == 200
    for connection in held:
        connection.close()
    until(lambda: not served.server.server_state.connections)
    assert get(served, "/readyz").status_code == 200


def test_the_docs_page_agrees_with_the_description(running):
    description, page = get(running, "/openapi.json").json(), get(running, "/docs").text
    assert set(description["paths"]) == {"/v1/upscale", "/v1/models", "/healthz", "/readyz", "/metrics"}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert f"<h2><code>{method.upper()} {path}</code></h2>" in page
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in page
            for kind in operation.get("requestBody", {}).get("content", {}):
                assert f"<code>{kind}</code>" in page
            assert set(operation["responses"]) - {"200"} <= {str(status) for status in STATUSES}
    for status, meaning in STATUSES.items():
        assert f"<code>{status}</code><td>{meaning.split(';')[0]}" in page
    assert "http://" not in page.replace("http://127.0.0.1:7860", "") and "https://" not in page
    [upscale] = description["paths"]["/v1/upscale"].values()
    assert set(upscale["responses"]) == {"200", *(str(status) for status in STATUSES)}
    schemas = {parameter["name"]: parameter["schema"] for parameter in upscale["parameters"]}
    assert {*schemas["model"]["enum"]} == {*CORNERS} and schemas["scale"]["enum"] == [2, 3, 4]
