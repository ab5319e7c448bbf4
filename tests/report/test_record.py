"""A run's folder is read whatever state its run left it in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srgan.errors import DataError
from srgan.report.record import Sample, read, state
from tests.report.runs import START, write_evaluation, write_run


def lines(folder: Path) -> list[str]:
    return (folder / "journal.jsonl").read_text().splitlines(keepends=True)


def test_a_whole_run(tmp_path: Path) -> None:
    record = read(write_run(tmp_path / "paper", steps=400))
    assert record.name == "paper"
    assert [line["step"] for line in record.reports["pretrain"]] == list(range(50, 401, 50))
    assert len(record.validations["adversarial"]) == 8
    assert record.samples[0] == Sample(
        phase="pretrain", step=50, path=tmp_path / "paper" / "samples" / "pretrain_0000050.png"
    )
    assert (record.settings["batch_size"], state(record), record.notes) == (16, "finished", [])


def test_a_folder_without_a_journal_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a run's folder"):
        read(tmp_path)


def test_a_run_killed_in_the_middle_of_a_line(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=400, sheets=False)
    whole = lines(folder)[:6]
    (folder / "journal.jsonl").write_text("".join(whole) + '{"kind": "report", "phase": "pre')
    record = read(folder)
    assert len(record.reports["pretrain"]) == len([text for text in whole if '"report"' in text])
    assert record.notes == ["1 broken line of journal.jsonl left out."]
    assert state(record) == "unfinished"


@pytest.mark.parametrize("junk", [b"", b"\n\n", b"\xff\xfe\n", b"[1]\nnull\n", b"[" * 100_000, b'{"kind": 3}\n'])
def test_a_journal_of_nothing(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "journal.jsonl").write_bytes(junk)
    record = read(tmp_path)
    assert record.reports == {} and record.starts == [] and record.seconds == 0.0


def test_steps_trained_again_after_a_restart_count_once_and_their_time_twice(tmp_path: Path) -> None:
    def line(step: int, elapsed: float, loss: float) -> str:
        values = {
            "kind": "report",
            "phase": "pretrain",
            "step": step,
            "elapsed_s": elapsed,
            "loss": {"pixel": loss},
        }
        return json.dumps(values) + "\n"

    start = json.dumps({"kind": "start", "time": START}) + "\n"
    first, second = [line(50, 5.0, 1.0), line(100, 10.0, 2.0)], [line(100, 6.0, 2.0), line(150, 12.0, 3.0)]
    (tmp_path / "journal.jsonl").write_text("".join([start, *first, start, *second]))
    record = read(tmp_path)
    assert [row["step"] for row in record.reports["pretrain"]] == [50, 100, 150]
    assert record.seconds == 22.0


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"kind": "event", "text": "Stopped and saved. Go on with ..."}, "stopped"),
        ({"kind": "warning", "text": "training diverged in phase pretrain at step 7"}, "diverged"),
        ({"kind": "end", "phase": "run", "diverged": "at step 7"}, "diverged"),
        ({"kind": "end", "phase": "run"}, "finished"),
        ({"kind": "end", "phase": "pretrain"}, "unfinished"),
        ({"kind": "start"}, "unfinished"),
    ],
)
def test_the_state_is_that_of_the_last_start(tmp_path: Path, last: dict[str, str], expected: str) -> None:
    begin = [{"kind": "start", "time": START}, {"kind": "end", "phase": "run", "time": START + 1}]
    again = [{"kind": "start", "time": START + 2}, {**last, "time": START + 3}]
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(one) + "\n" for one in begin + again))
    assert state(read(tmp_path)) == expected


def test_one_models_evaluation_is_taken_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=80, every=10, sheets=False)
    write_evaluation(folder)
    assert set(read(folder).evaluation) == {"srresnet", "srgan"}
    one = json.loads((folder / "evaluation.json").read_text())["srgan"]
    (folder / "evaluation.json").write_text(json.dumps(one))
    assert set(read(folder).evaluation) == {"srgan"}
    (folder / "evaluation.json").write_text("{")
    assert read(folder).evaluation == {} and "evaluation.json" in read(folder).notes[0]
