"""What a run's folder says: half a run, half a line and old journals are readable too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, kw_only=True)
class Sample:
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

    @property
    def name(self) -> str:
        return self.folder.resolve().name

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
            samples.append(Sample(phase=phase, step=int(step), path=path))
    return sorted(samples, key=lambda sample: (PHASES.index(sample.phase), sample.step))
