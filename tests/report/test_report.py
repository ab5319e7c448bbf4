"""The page and its numbers: self-contained, escaped, small, and readable for half a run."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from srgan import cli
from srgan.errors import DataError, UsageError
from srgan.report.report import write
from tests.report.runs import START, write_evaluation, write_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&$x_"


class Page(HTMLParser):
    """Tags, text, and whatever an attribute would make a browser fetch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = ("src", "href", "xlink:href", "srcset", "action", "data")
        self.links += [value or "" for name, value in attrs if name in names]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def numbers(page: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    document = json.loads(page.with_suffix(".json").read_text(), parse_constant=refuse)
    assert document["srgan.report"] == 1
    return list(document["runs"])


def append(folder: Path, *lines: dict[str, Any]) -> None:
    with (folder / "journal.jsonl").open("a") as journal:
        journal.writelines(json.dumps(line) + "\n" for line in lines)


def test_whole_run(tmp_path):
    folder = write_run(tmp_path / "paper", steps=400)
    write_evaluation(folder)
    assert cli.main(["report", str(folder), "--quiet"]) == 0
    page, (run,) = Page(folder / "report.html"), numbers(folder / "report.html")
    for expected in ("42.25", "28.49", "25.99", "26.00", "img_014", "BatchNorm", "f" * 64, "cpu", "0123456789abcdef"):
        assert expected in page.text, expected
    assert page.tags.count("img") == 16 and page.tags.count("h2") == 9 and page.tags.count("svg") == 5 + 5 + 3 + 3 + 7
    assert run["state"] == "finished" and run["phases"]["pretrain"]["steps"] == 400 and run["notes"] == []
    assert run["samples"][0] == "pretrain_0000050.png" and run["settings"]["batch_size"] == 16
    assert len(run["phases"]["adversarial"]["health"]["d_real"]) == 8
    assert run["evaluation"]["srgan"]["sets"]["Set14"]["mean"]["psnr_y"] == 42.25
    best = run["best"]["adversarial"]
    assert best["step"] == 350 and f"{best['scores']['psnr_y']:.2f}" in page.text


def test_keys_of_report_json_and_nothing_is_fetched(tmp_path):
    page = write([write_run(tmp_path / "run", steps=80, every=10, phases=("pretrain",))])
    assert all(link.startswith(("data:", "#")) for link in Page(page).links)
    assert not re.search(r"https?:|@import|url\((?!#)|fetch\(|XMLHttp", page.read_text())
    assert "default-src 'none'" in page.read_text()
    (run,) = numbers(page)
    assert list(run) == (
        "name state time phases validation best evaluation settings data hardware versions git warnings events "
        "samples notes"
    ).split(" ")
    assert list(run["time"]) == ["began", "last_line", "seconds_in_training", "starts"]
    phase = "steps of steps_per_s loss health learning_rate data_wait not_finite"
    assert list(run["phases"]["pretrain"]) == phase.split(" ")


def test_texts_from_files_are_escaped(tmp_path):
    folder = write_run(tmp_path / "a<b>&c", steps=80, every=10, sheets=False, phases=("pretrain",), recipe=HOSTILE)
    write_evaluation(folder, models=(HOSTILE,))
    append(
        folder,
        {"kind": "warning", "text": HOSTILE, "time": START},
        {"kind": "report", "phase": HOSTILE, "step": 10, "loss": {HOSTILE: 1.0}},
        {"kind": "report", "phase": HOSTILE, "step": 20, "loss": {HOSTILE: 2.0}},
        {"kind": "report", "phase": HOSTILE, "step": 10**400, "loss": [], "health": 1},
        {"kind": "validation", "phase": HOSTILE, "step": 20, "scores": {HOSTILE: 2.0}, "best": True},
        {"kind": "end", "state": [HOSTILE], "time": {}},
    )
    other = write_run(tmp_path / f"${HOSTILE.replace('/', '')}", steps=80, every=10, sheets=False, phases=("pretrain",))
    page = Page(write([folder, other]))
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert any(HOSTILE in text for text in page.texts), "shown as text"


def test_several_runs(tmp_path):
    first = write_run(tmp_path / "one" / "paper", steps=80, every=10, sheets=False, phases=("pretrain",))
    second = write_run(tmp_path / "two" / "paper", steps=160, every=10, seed=1, learning_rate=3e-4)
    write_evaluation(second, models=("srgan",))
    page = write([first, second], tmp_path / "both.html")
    text = Page(page).text
    assert "two/paper: srgan" in text and "0.0003" in text and text.index("learning_rate") < text.index("batch_size")
    assert [run["name"] for run in numbers(page)] == ["one/paper", "two/paper"]
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(UsageError, match=r"package\.json is there and is no report"):
        write([first], tmp_path / "package.html")


@pytest.mark.parametrize("kept", [0, 1, 4, 12])
def test_half_a_run(tmp_path, kept):
    folder = write_run(tmp_path / "run", steps=80, every=10)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:kept]) + '{"kind": "rep')
    (folder / "settings.yaml").write_text("a: [")
    (folder / "samples" / "pretrain_0000010.png").write_bytes(b"\x89PNG broken")
    text = Page(write([folder])).text
    assert "1 broken line" in text and "not finished" in text and "pretrain_0000010.png cannot be read" in text
    assert ("No step has been reported yet" in text) == (kept < 2)


def test_numbers_that_are_not_finite(tmp_path):
    folder = write_run(tmp_path / "run", steps=80, every=10, sheets=False, phases=("pretrain",), weight=float("inf"))
    text = (folder / "journal.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    next(line for line in lines if line.get("step") == 40)["loss"]["pixel"] = "nan"
    next(line for line in lines if line.get("step") == 60)["loss"]["pixel"] = 10**400
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "evaluation.json").write_text('{"sets": {"Set5": {"mean": {"psnr_y": Infinity, "niqe": NaN}}}}')
    page = write([folder])
    assert "2 reports hold a number that is not finite" in page.read_text()
    (run,) = numbers(page)
    assert [step for step, _ in run["phases"]["pretrain"]["loss"]["pixel"]] == [10, 20, 30, 50, 70, 80]
    assert run["evaluation"]["model"]["sets"]["Set5"]["mean"] == {"psnr_y": None, "niqe": None}
    assert run["settings"]["weight"] is None


def test_images_keep_to_the_budget(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "run", steps=80, every=10)

    def image_bytes(page: Path) -> int:
        return sum(len(link) for link in Page(page).links if link.startswith("data:image"))

    whole = image_bytes(write([folder]))
    monkeypatch.setattr("srgan.report.report.IMAGE_BUDGET", whole // 4)
    page = write([folder])
    assert image_bytes(page) <= whole // 4 and 2 <= Page(page).tags.count("img") < 16
    text = Page(page).text
    assert "pretrain, step 10" in text and "adversarial, step 80" in text and "of 16 sample sheets" in text


def test_a_folder_whose_name_is_not_utf8(tmp_path):
    folder = write_run(tmp_path / "run", steps=80, every=80, phases=("pretrain",))
    folder = folder.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    page = Page(write([folder]))
    assert "img" in page.tags and "cannot be read" not in page.text


def test_misuse_is_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="at least one run"):
        write([])
    folder = write_run(tmp_path / "run", steps=80, every=80, sheets=False, phases=("pretrain",))
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write([folder], tmp_path / "page.pdf")
    with pytest.raises(DataError, match="not a run's folder"):
        write([folder, tmp_path / "nowhere"])
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write([folder], tmp_path / "taken.html")
    assert not (tmp_path / "taken.json").exists()
