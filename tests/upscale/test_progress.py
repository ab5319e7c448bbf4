"""What is shown while the work goes on: lines with the time left off a terminal, nothing when quiet."""

from __future__ import annotations

from pathlib import Path

import pytest

from srgan.upscale import progress
from srgan.upscale.progress import Bar, Lines, Quiet, clock, display


def test_a_line_with_the_time_left_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Lines(3)
    shown.start(Path("a.png"))
    for done in (10, 20, 25, 100):
        now[0] += 6
        shown.advance(done, 100)
    shown.end()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "srgan: [1/3] a.png: 20 %, 0:48 left"  # 20 % took 12 s
    assert said[1] == "srgan: [1/3] a.png: 100 %, 0:00 left"
    assert said[2] == "srgan: [1/3] a.png: 24.0 s"


def test_the_display_fits_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(display(1, quiet=True), Quiet)
    assert isinstance(display(1, quiet=False), Lines)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(display(1, quiet=False), Bar)


def test_the_bar_counts_pictures_and_their_parts() -> None:
    bar = Bar(2)
    bar.start(Path("[bold]a.png"))
    bar.advance(1, 4)
    assert bar._bar.tasks[0].completed == 0.25
    bar.end()
    bar.start(Path("b.png"))
    bar.advance(1, 2)
    assert bar._bar.tasks[0].completed == 1.5 and bar._bar.tasks[0].fields["label"] == "2/2 b.png"


def test_clock() -> None:
    assert [clock(s) for s in (0, 59.6, 75, 4000)] == ["0:00", "1:00", "1:15", "66:40"]
