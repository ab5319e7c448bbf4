"""The page's files and its stream of events."""

import json
import re
from typing import Any

import numpy as np
import requests

from srgan.image.files import Image, ImageBytes, read_image, read_rgb8
from srgan.image.resize import bicubic
from srgan.serve import page
from tests.serve.conftest import Running, by_command, file_bytes, until


def frames(running: Running, data: bytes, name: str = "photo.png", **query: Any) -> list[tuple[dict[str, Any], bytes]]:
    files = {"picture": (name, data)}
    answer = requests.post(f"{running.url}/page/upscale", params=query, files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    rest, events = answer.content, []
    while rest:
        line, _, rest = rest.partition(b"\n")
        event = json.loads(line)
        events.append((event, rest[: event["bytes"]]))
        rest = rest[event["bytes"] :]
    return events


def test_the_stream_has_bicubic_progress_and_the_commands_file(running, image_file):
    source = image_file(height=140, width=150)
    events = frames(running, source.read_bytes(), texture="0.5", scale=3)
    kinds = [event["event"] for event, _ in events]
    assert kinds[:2] == ["lr", "bicubic"] and kinds[-2:] == ["sr", "end"]
    assert set(kinds[2:-2]) == {"progress"}
    by_kind = {event["event"]: (event, data) for event, data in events}
    lr = read_rgb8(source)
    assert np.array_equal(read_rgb8(ImageBytes(data=by_kind["lr"][1], name="lr")), lr)
    assert np.array_equal(read_rgb8(ImageBytes(data=by_kind["bicubic"][1], name="bicubic")), bicubic(lr, 420, 450))
    expected = by_command(source, source.with_name("ours.png"), "--texture", "0.5", "--scale", "3")
    assert by_kind["sr"][1] == expected
    assert by_kind["sr"][0]["headers"]["Content-Disposition"].endswith('"photo_x3.png"')
    last = by_kind["progress"][0]
    assert last["done"] == last["total"] == 140 * 150


def test_tiff_comes_with_a_png_view(running):
    deep = file_bytes(40, 40, ".tif", deep=True)
    by_kind = {event["event"]: data for event, data in frames(running, deep, "photo.tif")}
    assert by_kind["sr"].startswith(b"II*") and by_kind["view"].startswith(b"\x89PNG")
    sr, view = (read_image(ImageBytes(data=by_kind[kind], name=kind)).pixels for kind in ("sr", "view"))
    assert np.array_equal(sr, view)


def test_a_failing_view_does_not_fail_the_result(running, monkeypatch):
    def fail(data: bytes) -> bytes:
        raise RuntimeError("no view")

    monkeypatch.setattr(page, "png_from_bytes", fail)
    events = frames(running, file_bytes(40, 40, ".tif", deep=True), "photo.tif")
    assert [event["event"] for event, _ in events][-2:] == ["sr", "end"]


def test_the_body_counts_until_the_stream_ends(running, monkeypatch):
    held, data = [], file_bytes(40, 40)

    def bicubic_image(image: Image, scale: int) -> Image:
        held.append(running.service.bodies.held)
        return image

    monkeypatch.setattr(page, "bicubic_image", bicubic_image)
    frames(running, data)
    assert held[0] >= len(data)
    until(lambda: running.service.bodies.held == 0)


def test_a_damaged_image_ends_the_stream(running):
    good = file_bytes(60, 60)
    [(event, _)] = frames(running, good[:40] + b"junk" + good[60:])
    assert (event["event"], event["status"]) == ("problem", 422)
    assert "photo.png" in event["detail"]


def test_every_link_of_the_page_exists(running):
    def get(path: str) -> requests.Response:
        return requests.get(running.url + path, timeout=30)

    about = get("/page/about").json()
    assert about["examples"] and about["knobs"] == ["texture", "restore"]
    seen, unseen = set(), {"/", "/docs", *about["examples"]}
    while unseen:
        path = unseen.pop()
        seen.add(path)
        answer = get(path)
        assert answer.status_code == 200, path
        if not answer.headers["Content-Type"].startswith("image/png"):
            links = re.findall(r"""(?:src|href|from)=?\s*["']([./][\w./-]+)["']""", answer.text)
            unseen |= {re.sub(r"^\./", "/static/", link) for link in links} - seen
            outside = re.findall(r"https?://(?!127\.0\.0\.1|www\.w3\.org)[^\s\"']+", answer.text)
            assert outside == []
    assert {"/static/page.js", "/static/viewer.js", "/static/frames.js", "/static/page.css"} <= seen
