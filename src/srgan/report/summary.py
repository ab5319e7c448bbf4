"""The numbers of a report as plain values: what the page shows and report.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from srgan.report.record import Line, Record, finite, state

HEALTH = ("d_real", "d_fake", "d_accuracy", "content_to_adversarial")
SCORES = ("psnr_y", "psnr_rgb", "ssim_daala", "ssim_wang", "niqe")
Curve = list[tuple[int, float]]


def of(record: Record) -> dict[str, Any]:
    """One run's numbers; a part that the run does not have is empty or null."""
    start = record.starts[-1] if record.starts else {}
    return {
        "name": record.name,
        "state": state(record),
        "time": {
            "began": moment(record.starts[0]) if record.starts else None,
            "last_line": moment(_last(record)),
            "seconds_in_training": round(record.seconds, 1),
            "starts": len(record.starts),
        },
        "phases": {name: _phase(lines, record) for name, lines in record.reports.items()},
        "validation": {name: _validation(lines) for name, lines in record.validations.items()},
        "best": {name: best(lines) for name, lines in record.validations.items()},
        "evaluation": record.evaluation,
        "settings": record.settings,
        "data": start.get("data"),
        "hardware": start.get("hardware"),
        "versions": start.get("versions"),
        "git": start.get("git"),
        "warnings": [str(line.get("text", "")) for line in record.remarks if line["kind"] == "warning"],
        "events": [str(line.get("text", "")) for line in record.remarks if line["kind"] == "event"],
        "samples": [sample.path.name for sample in record.samples],
        "notes": record.notes,
    }


def curves(lines: list[Line], group: str) -> dict[str, Curve]:
    """Name -> (step, value), of the finite numbers in `group` ("loss", "health", "scores", "" = the line)."""
    found: dict[str, Curve] = {}
    for line in lines:
        values = line.get(group) if group else line
        for name, value in values.items() if isinstance(values, dict) else ():
            number = finite(value)
            if number is not None and name not in ("step", "time"):
                found.setdefault(str(name), []).append((line["step"], number))
    return found


def best(lines: list[Line]) -> dict[str, Any] | None:
    """The last validation that the run called its best."""
    chosen = [line for line in lines if line.get("best") is True]
    return {"step": chosen[-1]["step"], "scores": scores(chosen[-1])} if chosen else None


def scores(line: Line) -> dict[str, float]:
    """The finite scores of a validation, the usual ones first."""
    given = line.get("scores")
    found = (
        {str(k): number for k, v in given.items() if (number := finite(v)) is not None}
        if isinstance(given, dict)
        else {}
    )
    names = [name for name in SCORES if name in found] + [name for name in found if name not in SCORES]
    return {name: found[name] for name in names}


def moment(line: Mapping[str, Any] | None) -> str | None:
    """When a journal's line was written, UTC."""
    number = finite(line.get("time")) if line else None
    if number is None or not 0 <= number < 4e9:
        return None
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _phase(lines: list[Line], record: Record) -> dict[str, Any]:
    last = lines[-1]
    setting = {"pretrain": "pretrain_steps", "adversarial": "train_steps"}.get(str(last.get("phase")), "")
    of_all = curves(lines, "")
    speeds = [value for _, value in of_all.get("steps_per_s", [])]
    return {
        "steps": last["step"],
        "of": record.settings.get(setting),
        "steps_per_s": round(sorted(speeds)[len(speeds) // 2], 4) if speeds else None,
        "loss": curves(lines, "loss"),
        "health": curves(lines, "health"),
        "learning_rate": of_all.get("learning_rate", []),
        "data_wait": of_all.get("data_wait", []),
        "not_finite": sum(_not_finite(line) for line in lines),
    }


def _not_finite(line: Line) -> bool:
    groups = (line.get("loss"), line.get("health"))
    return any(finite(value) is None for group in groups if isinstance(group, dict) for value in group.values())


def _validation(lines: list[Line]) -> dict[str, Curve]:
    found = curves(lines, "scores")
    found |= {name: curve for name, curve in curves(lines, "").items() if name in ("bn_gap", "checkerboard")}
    return found


def _last(record: Record) -> Line | None:
    lines = [line for found in (record.reports, record.validations) for part in found.values() for line in part[-1:]]
    lines += [*record.starts[-1:], *record.remarks[-1:], *record.ends[-1:]]
    return max(lines, key=lambda line: finite(line.get("time")) or 0.0, default=None)
