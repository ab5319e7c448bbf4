"""The numbers of a report: what report.json holds, and what the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from srgan.report.run_log import Line, RunLog, finite, seconds, state

Curves = dict[str, list[tuple[int, float]]]
"""Name -> (step, value), of finite values."""
SCORES = {"psnr_y": 2, "psnr_rgb": 2, "ssim_daala": 4, "ssim_wang": 4, "niqe": 3}
"""Scores in the page's order, and their digits."""
PLANNED_STEPS = {"pretrain": "pretrain_steps", "adversarial": "train_steps"}


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
        "validation": {phase: _validation(lines) for phase, lines in log.validations.items()},
        "best": {phase: _best(lines) for phase, lines in log.validations.items()},
        "evaluation": log.evaluation,
        "settings": log.settings,
        **{part: start.get(part) for part in ("data", "hardware", "versions", "git")},
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


def _validation(lines: Sequence[Line]) -> Curves:
    of_line = curves(lines)
    return curves(lines, "scores") | {name: of_line[name] for name in ("bn_gap", "checkerboard") if name in of_line}


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


def json_ready(value: Any) -> Any:
    """Plain values for JSON; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return finite(value)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
