"""What a run's folder says, and report.json: half a run, half a line and old journals are readable too."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from srgan.config import read_yaml
from srgan.errors import DataError, SettingsError
from srgan.fs import printable

PHASES = ("pretrain", "adversarial")
STATES = {
    "finished": "finished",
    "stopped": "stopped, can be resumed",
    "diverged": "diverged",
    "unfinished": "not finished: running, or broken off",
}
END_STATES = {"done": "finished", "stopped": "stopped", "diverged": "diverged"}
"""State in a run's last line -> state in report.json."""
Line = dict[str, Any]
Curves = dict[str, list[tuple[int, float]]]
"""Name -> (step, value), of finite values."""
SCORES = {"psnr_y": 2, "psnr_rgb": 2, "ssim_daala": 4, "ssim_wang": 4, "niqe": 3}
"""Scores in the page's order, and their digits."""
PARTS = ("data", "hardware", "versions", "git")
"""What a run's first line says beside the settings."""
PLANNED_STEPS = {"pretrain": "pretrain_steps", "adversarial": "train_steps"}


class Sample(NamedTuple):
    """A sheet of crops, made at a step."""

    phase: str
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class RunLog:
    """The contents of a run's folder; every part may be empty."""

    folder: Path
    settings: dict[str, Any]
    lines: list[Line]
    """Every whole line of the journal."""
    reports: dict[str, list[Line]]
    """Phase -> lines in order of step; of a step that was trained twice (after a resume) the later line."""
    validations: dict[str, list[Line]]
    evaluation: dict[str, Any]
    """Model -> document of `srgan evaluate --json`."""
    samples: list[Sample]
    notes: list[str]
    """What could not be read."""

    def of_kind(self, *kinds: str) -> list[Line]:
        """The journal's lines of these kinds: start, report, validation, warning, event, end."""
        return [line for line in self.lines if line["kind"] in kinds]


def read_run(folder: Path) -> RunLog:
    """Read a run's folder. Raises DataError when it has no journal."""
    journal = folder / "journal.jsonl"
    if not journal.is_file():
        raise DataError(f"{printable(folder)} is not a run's folder: it has no journal.jsonl (srgan train writes it).")
    notes: list[str] = []
    lines = list(_lines(journal, notes))
    return RunLog(
        folder=folder,
        settings=_settings(folder, lines, notes),
        lines=lines,
        reports=_by_step(lines, "report"),
        validations=_by_step(lines, "validation"),
        evaluation=_evaluation(folder, notes),
        samples=_samples(folder),
        notes=notes,
    )


def finite(value: Any) -> float | None:
    """A finite number, or None for anything else (the journal writes NaN and infinity as texts)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= 1e300:
        return None
    return float(value)


def state(run: RunLog) -> str:
    """One of STATES, of the last start."""
    for line in reversed(run.of_kind("start", "end", "warning", "event")):
        end = str(line.get("state"))
        if line["kind"] == "end" and end in END_STATES:
            return END_STATES[end]
        # Journals of the first edition have no state: their sentences say it.
        text = str(line.get("text", ""))
        if "diverged" in line or text.startswith("training diverged"):
            return "diverged"
        if line["kind"] == "end" and line.get("phase") == "run":
            return "finished"
        if text.startswith("Stopped"):
            return "stopped"
        if line["kind"] == "start":
            break
    return "unfinished"


def seconds(run: RunLog) -> float:
    """Time in training over all starts; `elapsed_s` begins again at each."""
    total = latest = 0.0
    for line in run.lines:
        if line["kind"] == "start":
            total, latest = total + latest, 0.0
        latest = finite(line.get("elapsed_s")) or latest
    return total + latest


def _lines(journal: Path, notes: list[str]) -> Iterator[Line]:
    broken = 0
    with journal.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except (ValueError, RecursionError):
                broken += bool(text.strip())
                continue
            if isinstance(line, dict) and isinstance(line.get("kind"), str):
                yield line
            else:
                broken += 1
    if broken:
        notes.append(f"{broken} broken line{'s' * (broken > 1)} of journal.jsonl left out.")


def _by_step(lines: list[Line], kind: str) -> dict[str, list[Line]]:
    by_phase: dict[str, dict[int, Line]] = {}
    for line in lines:
        step = line.get("step")
        if line["kind"] == kind and type(step) is int and 0 <= step < 1e12 and isinstance(line.get("phase"), str):
            by_phase.setdefault(line["phase"], {})[step] = line
    phases = [phase for phase in PHASES if phase in by_phase] + sorted(set(by_phase) - set(PHASES))
    return {phase: [by_phase[phase][step] for step in sorted(by_phase[phase])] for phase in phases}


def _settings(folder: Path, lines: list[Line], notes: list[str]) -> dict[str, Any]:
    for line in reversed(lines):
        if line["kind"] == "start" and isinstance(line.get("settings"), dict):
            return dict(line["settings"])
    path = folder / "settings.yaml"
    try:
        return read_yaml(path) if path.is_file() else {}
    except SettingsError as error:
        notes.append(str(error))
        return {}


def _evaluation(folder: Path, notes: list[str]) -> dict[str, Any]:
    path = folder / "evaluation.json"
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        notes.append(f"evaluation.json cannot be read: {error}.")
        return {}
    read = read if isinstance(read, dict) else {}
    if isinstance(read.get("sets"), dict):  # one model's document
        model = read.get("model")
        read = {model.get("name", "model") if isinstance(model, dict) else "model": read}
    return {str(name): one for name, one in read.items() if isinstance(one, dict) and isinstance(one.get("sets"), dict)}


def _samples(folder: Path) -> list[Sample]:
    samples = []
    for path in (folder / "samples").glob("*_*.png"):
        phase, _, step = path.stem.rpartition("_")
        if phase in PHASES and step.isdecimal():
            samples.append(Sample(phase, int(step), path))
    return sorted(samples, key=lambda sample: (PHASES.index(sample.phase), sample.step))


def run_numbers(log: RunLog, title: str) -> dict[str, Any]:
    """A run's entry in report.json; a part that the run does not have is empty or null."""
    starts = log.of_kind("start")
    start = starts[-1] if starts else {}
    return {
        "name": title,
        "state": state(log),
        "time": {
            "began": utc_time(starts[0]) if starts else None,
            "last_line": utc_time(log.lines[-1]) if log.lines else None,
            "seconds_in_training": round(seconds(log), 1),
            "starts": len(starts),
        },
        "phases": {phase: _phase(phase, lines, log.settings) for phase, lines in log.reports.items()},
        "validation": {
            phase: curves(lines, "scores") | {n: c for n, c in curves(lines).items() if n in ("bn_gap", "checkerboard")}
            for phase, lines in log.validations.items()
        },
        "best": {phase: _best(lines) for phase, lines in log.validations.items()},
        "evaluation": log.evaluation,
        "settings": log.settings,
        **{part: start.get(part) for part in PARTS},
        "warnings": [str(line.get("text", "")) for line in log.of_kind("warning")],
        "events": [str(line.get("text", "")) for line in log.of_kind("event")],
        "samples": [sample.path.name for sample in log.samples],
        "notes": log.notes,
    }


def curves(lines: Sequence[Line], group: str = "") -> Curves:
    """Curves of the finite numbers in `group` ("loss", "health", "scores") of each line, or of the line itself."""
    result: Curves = {}
    for line in lines:
        for name, value in mapping(line.get(group) if group else line).items():
            number = finite(value)
            if number is not None and name not in ("step", "time"):
                result.setdefault(str(name), []).append((line["step"], number))
    return result


def utc_time(line: Line) -> str | None:
    """When a journal's line was written."""
    time = finite(line.get("time"))
    if time is None or not 0 <= time < 4e9:
        return None
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _phase(phase: str, lines: Sequence[Line], settings: Mapping[str, Any]) -> dict[str, Any]:
    of_line = curves(lines)
    speeds = sorted(value for _, value in of_line.get("steps_per_s", []))
    values = ([*mapping(line.get("loss")).values(), *mapping(line.get("health")).values()] for line in lines)
    return {
        "steps": lines[-1]["step"],
        "of": settings.get(PLANNED_STEPS.get(phase, "")),
        "steps_per_s": round(speeds[len(speeds) // 2], 4) if speeds else None,
        "loss": curves(lines, "loss"),
        "health": curves(lines, "health"),
        "learning_rate": of_line.get("learning_rate", []),
        "data_wait": of_line.get("data_wait", []),
        "not_finite": sum(any(finite(value) is None for value in row) for row in values),
    }


def _best(lines: Sequence[Line]) -> dict[str, Any] | None:
    """The last validation that the run called its best."""
    best = [line for line in lines if line.get("best") is True]
    return {"step": best[-1]["step"], "scores": scores(best[-1])} if best else None


def scores(line: Line) -> dict[str, float]:
    """The finite scores of a validation, the usual ones first."""
    values = {name: curve[0][1] for name, curve in curves([line], "scores").items()}
    return {name: values[name] for name in (*(name for name in SCORES if name in values), *values)}


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
