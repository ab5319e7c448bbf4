from __future__ import annotations

import sys

import pytest

from srgan.data import display as module
from srgan.data.display import Display


def use(display: Display) -> None:
    with display:
        display.say("going on")
        progress = display.stage("packing")
        for done in range(1, 4):
            progress(done, 3)
        display.stage("fetching")(1234, 0)


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module, "EVERY", -1.0)
    use(Display(quiet=False))
    told = capsys.readouterr()
    assert told.out == "", "stdout is for results"
    assert told.err.splitlines() == [
        "srgan: going on",
        *(f"srgan: packing: {n} of 3" for n in (1, 2, 3)),
        "srgan: fetching: 1,234",
    ]


def test_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    use(Display(quiet=False))
    assert capsys.readouterr().err == "srgan: going on\n", "no line sooner than ten seconds after the last"


def test_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    use(Display(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    use(Display(quiet=False))
    told = capsys.readouterr()
    assert told.out == "" and "going on" in told.err and "packing" in told.err
