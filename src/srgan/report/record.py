"""What a run's folder says, read so that half a run, or half a line, is read too."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srgan.config import read_yaml
from srgan.errors import DataError, SettingsError

PHASES = ("pretrain", "adversarial")
Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sheet of crops made at a step."""

    phase: str
    step: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Record:
    """A run as its folder tells it; every part may be empty."""

    name: str
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    starts: list[Line] = field(default_factory=list)
    reports: dict[str, list[Line]] = field(default_factory=dict)
    """Phase -> lines in order of step; of a step trained twice (after a resume) the later line."""
    validations: dict[str, list[Line]] = field(default_factory=dict)
    remarks: list[Line] = field(default_factory=list)
    """Warnings and events."""
    ends: list[Line] = field(default_factory=list)
    seconds: float = 0.0
    """Time in training, over all starts."""
    evaluation: dict[str, Any] = field(default_factory=dict)
    """Model -> document of `srgan evaluate --json`."""
    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be read."""


def read(folder: Path) -> Record:
    """The record of a run's folder. Raises DataError where it is none."""
    journal = folder / "journal.jsonl"
    if not journal.is_file():
        raise DataError(f"{folder} is not a run's folder: it has no journal.jsonl (srgan train writes it).")
    notes: list[str] = []
    lines = list(_lines(journal, notes))
    return Record(
        name=folder.resolve().name,
        folder=folder,
        settings=_settings(folder, lines, notes),
        starts=[line for line in lines if line["kind"] == "start"],
        reports=_by_step(lines, "report"),
        validations=_by_step(lines, "validation"),
        remarks=[line for line in lines if line["kind"] in ("warning", "event")],
        ends=[line for line in lines if line["kind"] == "end"],
        seconds=_seconds(lines),
        evaluation=_evaluation(folder, notes),
        samples=_samples(folder),
        notes=notes,
    )


def finite(value: Any) -> float | None:
    """A number, or None for what is none (the journal writes NaN and infinity as texts)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def state(record: Record) -> str:
    """finished, diverged, stopped or unfinished."""
    last = [line for line in (*record.starts, *record.ends, *record.remarks) if "time" in line]
    last.sort(key=lambda line: finite(line["time"]) or 0.0)
    for line in reversed(last):
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
    found: dict[str, dict[int, Line]] = {}
    for line in lines:
        step = line.get("step")
        if line["kind"] == kind and type(step) is int and isinstance(line.get("phase"), str):
            found.setdefault(line["phase"], {})[step] = line
    known = [phase for phase in PHASES if phase in found] + sorted(set(found) - set(PHASES))
    return {phase: [found[phase][step] for step in sorted(found[phase])] for phase in known}


def _seconds(lines: list[Line]) -> float:
    """`elapsed_s` begins again at every start: the sum of the last of each."""
    total = latest = 0.0
    for line in lines:
        if line["kind"] == "start":
            total, latest = total + latest, 0.0
        latest = finite(line.get("elapsed_s")) or latest
    return total + latest


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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        notes.append(f"evaluation.json cannot be read: {error}.")
        return {}
    if isinstance(found, dict) and isinstance(found.get("sets"), dict):  # one model's document
        model = found.get("model")
        return {str(model.get("name", "model")) if isinstance(model, dict) else "model": found}
    documents = found.items() if isinstance(found, dict) else ()
    return {str(name): one for name, one in documents if isinstance(one, dict) and isinstance(one.get("sets"), dict)}


def _samples(folder: Path) -> list[Sample]:
    found = []
    for path in (folder / "samples").glob("*_*.png"):
        phase, _, step = path.stem.rpartition("_")
        if phase in PHASES and step.isdecimal():
            found.append(Sample(phase=phase, step=int(step), path=path))
    return sorted(found, key=lambda sample: (PHASES.index(sample.phase), sample.step))
