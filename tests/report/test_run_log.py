"""A run's folder is readable in whatever state its run left it."""

import json
from typing import Any

import pytest

from srgan.report.run_log import read_run, seconds, state
from tests.report.runs import START, write_evaluation, write_run


@pytest.mark.parametrize("junk", [b"", b"\n\n", b"\xff\xfe\n", b"[1]\nnull\n", b"[" * 100_000, b'{"kind": 3}\n'])
def test_journal_of_nothing(tmp_path, junk):
    (tmp_path / "journal.jsonl").write_bytes(junk)
    run = read_run(tmp_path)
    assert run.reports == {} and run.lines == [] and seconds(run) == 0.0


def test_steps_repeated_after_a_restart_count_once_and_their_time_twice(tmp_path):
    def line(step: int, elapsed: float) -> dict[str, Any]:
        return {"kind": "report", "phase": "pretrain", "step": step, "elapsed_s": elapsed, "loss": {"pixel": step}}

    start = {"kind": "start", "time": START}
    lines = [start, line(50, 5.0), line(100, 10.0), start, line(100, 6.0), line(150, 12.0)]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    run = read_run(tmp_path)
    assert [row["step"] for row in run.reports["pretrain"]] == [50, 100, 150] and seconds(run) == 22.0


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"kind": "end", "state": "stopped"}, "stopped"),
        ({"kind": "end", "state": "diverged"}, "diverged"),
        ({"kind": "end", "state": "done"}, "finished"),
        # The first edition's journals.
        ({"kind": "event", "text": "Stopped and saved. Go on with ..."}, "stopped"),
        ({"kind": "warning", "text": "training diverged in phase pretrain at step 7"}, "diverged"),
        ({"kind": "end", "phase": "run", "diverged": "at step 7"}, "diverged"),
        ({"kind": "end", "phase": "run"}, "finished"),
        ({"kind": "end", "phase": "pretrain"}, "unfinished"),
        ({"kind": "start"}, "unfinished"),
    ],
)
def test_state_is_that_of_the_last_start(tmp_path, last, expected):
    lines = [
        {"kind": "start", "time": START},
        {"kind": "end", "phase": "run", "time": START + 1},
        {"kind": "start", "time": START + 2},
        {**last, "time": START + 3},
    ]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert state(read_run(tmp_path)) == expected


def test_evaluation_of_one_or_several_models(tmp_path):
    folder = write_run(tmp_path / "run", steps=80, every=10, sheets=False)
    write_evaluation(folder)
    assert set(read_run(folder).evaluation) == {"srresnet", "srgan"}
    one = json.loads((folder / "evaluation.json").read_text())["srgan"]
    (folder / "evaluation.json").write_text(json.dumps(one))
    assert set(read_run(folder).evaluation) == {"srgan"}
    (folder / "evaluation.json").write_text("{")
    assert read_run(folder).evaluation == {} and "evaluation.json" in read_run(folder).notes[0]
