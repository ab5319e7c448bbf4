"""The page and its numbers: self-contained, escaped, small, and the same in both files."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from srgan.commands.report import main, write
from srgan.errors import DataError, UsageError
from tests.report.runs import START, write_evaluation, write_run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Page(HTMLParser):
    """Tags, texts and whatever an attribute would make a browser fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_a_whole_run(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "paper", steps=400)
    write_evaluation(folder)
    assert main([str(folder), "--quiet"]) == 0
    found, text = page(folder / "report.html"), " ".join(page(folder / "report.html").texts)
    for expected in (
        "42.25",
        "28.49",
        "25.99",
        "26.00",
        "img_014",
        "BatchNorm",
        "f" * 64,
        "cpu",
        "0123456789abcdef",
    ):
        assert expected in text, expected
    assert found.tags.count("img") == 16 and found.tags.count("h2") == 9
    numbers = json.loads((folder / "report.json").read_text())["runs"][0]
    assert numbers["state"] == "finished" and numbers["phases"]["pretrain"]["steps"] == 400
    assert len(numbers["phases"]["adversarial"]["health"]["d_real"]) == 8
    assert numbers["evaluation"]["srgan"]["sets"]["Set14"]["mean"]["psnr_y"] == 42.25
    best = numbers["best"]["adversarial"]
    assert best["step"] == 350 and f"{best['scores']['psnr_y']:.2f}" in text


def test_nothing_is_fetched(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "paper", steps=400)
    html = write([folder]).read_text()
    assert all(link.startswith(("data:", "#")) for link in Page(html).links)
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", html)
    assert "default-src 'none'" in html


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a<b>&c", steps=80, every=10, sheets=False, recipe=HOSTILE)
    write_evaluation(folder, models=(HOSTILE,))
    with (folder / "journal.jsonl").open("a") as journal:
        for line in (
            {"kind": "warning", "text": HOSTILE, "time": START},
            {"kind": "report", "phase": HOSTILE, "step": 10, "loss": {HOSTILE: 1.0}},
            {"kind": "report", "phase": HOSTILE, "step": 20, "loss": {HOSTILE: 2.0}},
            {"kind": "validation", "phase": HOSTILE, "step": 20, "scores": {HOSTILE: 2.0}, "best": True},
        ):
            journal.write(json.dumps(line) + "\n")
    found = page(write([folder]))
    assert found.tags.count("script") == 1 and "img" not in found.tags and "b" in found.tags
    assert any(HOSTILE in text for text in found.texts), "it is shown, as text"


def test_runs_beside_each_other(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one" / "paper", steps=400, sheets=False)
    second = write_run(tmp_path / "two" / "paper", steps=200, seed=1, learning_rate=3e-4)
    write_evaluation(second, models=("srgan",))
    target = write([first, second], tmp_path / "both.html")
    text = " ".join(page(target).texts)
    assert "one/paper" in text and "two/paper: srgan" in text and "0.0003" in text
    assert [run["name"] for run in json.loads(target.with_suffix(".json").read_text())["runs"]] == [
        "one/paper",
        "two/paper",
    ]


@pytest.mark.parametrize("kept", range(0, 14, 3))
def test_half_a_run_is_a_page_too(tmp_path: Path, kept: int) -> None:
    folder = write_run(tmp_path / "run", steps=80, every=10)
    journal = folder / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:kept]) + '{"kind": "rep')
    (folder / "settings.yaml").write_text("a: [")
    (folder / "samples" / "pretrain_0000010.png").write_bytes(b"\x89PNG broken")
    text = " ".join(page(write([folder])).texts)
    assert "1 broken line" in text and "not finished" in text and "pretrain_0000010.png cannot be read" in text
    assert ("No step has been reported yet" in text) == (kept < 2)


def test_numbers_that_are_none_leave_gaps_and_are_told(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=80, every=10, sheets=False)
    text = (folder / "journal.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    next(line for line in lines if line.get("step") == 40)["loss"]["pixel"] = "nan"
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    target = write([folder])
    assert "1 reports hold a number that is not finite" in target.read_text()
    steps = [
        step
        for step, _ in json.loads(target.with_suffix(".json").read_text())["runs"][0]["phases"]["pretrain"]["loss"][
            "pixel"
        ]
    ]
    assert steps == [10, 20, 30, 50, 60, 70, 80]


def test_pictures_keep_to_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", steps=400)

    def pictures(target: Path) -> int:
        return sum(len(link) for link in page(target).links if link.startswith("data:image"))

    whole = pictures(write([folder]))
    monkeypatch.setattr("srgan.report.samples.BUDGET", whole // 4)
    smaller = write([folder])
    assert pictures(smaller) <= whole // 4
    shown = page(smaller)
    assert 2 <= shown.tags.count("img") < 16
    text = " ".join(shown.texts)
    assert "pretrain, step 50" in text and "adversarial, step 400" in text and "of 16 sample sheets" in text


def test_mistakes_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one run"):
        write([])
    folder = write_run(tmp_path / "run", steps=80, every=10, sheets=False)
    with pytest.raises(UsageError, match=r"ends in \.html"):
        write([folder], tmp_path / "page.pdf")
    with pytest.raises(DataError, match="not a run's folder"):
        write([folder, tmp_path / "nowhere"])
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write([folder], tmp_path / "taken.html")
