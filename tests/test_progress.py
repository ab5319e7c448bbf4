"""Progress: lines elsewhere, a bar on a terminal, nothing when quiet; messages outlive their reader."""

import os
import pty
import subprocess
import sys

import pytest

from srgan import progress
from srgan.progress import Progress, clock

BAR = """
import logging, sys, time
from srgan import cli, progress
progress.BAR_DELAY = 0.0

def work(argv):
    with progress.Progress("packing", 3, unit="image") as bar:
        for done in range(1, 4):
            bar.update(done, "[bold]a.png")
            logging.getLogger("srgan").info(f"message {done} :smile:.png")
            time.sleep(0.15)
    return 0

sys.exit(cli.exit_code_of(work, []))
"""


def test_lines(caplog, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    caplog.set_level("INFO", "srgan")
    with Progress("training", 5000) as bar:
        bar.update(2500, "loss 0.1")
    with Progress("upscaling", 2, unit="image") as bar:
        bar.update(0.5)
    with Progress("reading", None, unit="file") as bar:
        bar.update(1200)
        bar.update(3, total=4)
    assert caplog.messages == [
        "training: 2,500 of 5,000 steps, loss 0.1, 0:00 left",
        "upscaling: 25 %, 0:00 left",
        "reading: 1,200 files",
        "reading: 3 of 4 files, 0:00 left",
    ]


@pytest.mark.parametrize(("interval", "level"), [(10.0, "INFO"), (0.0, "WARNING")])
def test_no_line_before_its_time_or_when_quiet(interval, level, caplog, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", interval)
    caplog.set_level(level, "srgan")
    with Progress("training", 10) as bar:
        bar.update(5)
    assert not caplog.messages
    assert [clock(seconds) for seconds in (0.4, 75, 3675)] == ["0:00", "1:15", "1:01:15"]


def test_bar_on_a_terminal_and_one_that_goes_away():
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", BAR], stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    while ".png\r\n" not in shown:
        shown += os.read(ours, 10_000).decode()
    assert "packing" in shown and "srgan: message 1 :smile:.png" in shown
    os.close(ours)  # the terminal is gone: writes fail with EIO
    assert process.wait(30) == 0
