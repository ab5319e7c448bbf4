"""The sections of a report, each as HTML; "" where the runs have nothing for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from srgan.report import tables
from srgan.report.chart import Series, draw
from srgan.report.record import Record
from srgan.report.samples import Frame
from srgan.report.summary import Curve, scores

PHASE_TITLES = {"pretrain": "SRResNet (pretraining)", "adversarial": "SRGAN (adversarial training)"}
STATES = {
    "finished": "finished",
    "stopped": "stopped, to be gone on with",
    "diverged": "diverged",
    "unfinished": "not finished: running, or broken off",
}
UNITS = {
    "psnr_y": "dB, higher is better",
    "ssim_daala": "higher is better",
    "ssim_wang": "higher is better",
    "niqe": "lower is better",
    "bn_gap": "between BatchNorm's modes, levels of 255",
    "checkerboard": "pattern of 4 pixels, levels of 255",
    "d_accuracy": "0.5 cannot tell, 1 always can",
    "content_to_adversarial": "weighted content over weighted adversarial loss",
    "steps_per_s": "per second",
    "data_wait": "share of the time, 0 to 1",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run on its way into the page."""

    title: str
    record: Record
    numbers: dict[str, Any]
    frames: list[Frame]
    fixed: list[Frame]


Find = Callable[[dict[str, Any]], dict[str, Curve]]


def facts(run: Shown) -> str:
    """The run in a few figures."""
    numbers = run.numbers
    found = [("state", STATES[numbers["state"]])]
    for phase, about in numbers["phases"].items():
        planned = about["of"] if isinstance(about["of"], int) else about["steps"]
        of = f" of {planned:,}" if planned != about["steps"] else ""
        found.append((f"steps, {phase}{of}", f"{about['steps']:,}"))
    for phase, best in numbers["best"].items():
        shown = next(iter(best["scores"].items()), None) if best else None
        if best and shown:
            found.append((f"best {shown[0]}, {phase}, at step {best['step']:,}", f"{shown[1]:.2f}"))
    found.append(("time in training", duration(numbers["time"]["seconds_in_training"])))
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(name)}</span></li>" for name, value in found)
    return f'<ul class="facts">{items}</ul>'


def result(runs: Sequence[Shown]) -> str:
    """The final table, or how to get one."""
    found = {}
    for run in runs:
        for model, document in run.record.evaluation.items():
            found[model if len(runs) == 1 else f"{run.title}: {model}"] = document
    table = tables.final(found)
    if not table:
        hint = "srgan evaluate --model RUN/srgan.safetensors --data DATA --json RUN/evaluation.json"
        return f"<p>The run was not scored on the test sets. This does it: <code>{hint}</code></p>"
    protocols = {str(document.get("protocol")) for document in found.values()}
    about = "".join(f'<p class="quiet">Protocol {escape(one)}</p>' for one in sorted(protocols))
    return table + about + "".join(tables.pictures(title, document) for title, document in found.items())


def crops(runs: Sequence[Shown]) -> str:
    """The same crops through time, with the scores of their step."""
    parts = []
    for run in runs:
        if not run.frames:
            continue
        known = {
            (phase, line["step"]): scores(line) for phase, lines in run.record.validations.items() for line in lines
        }
        heading = f"<h3>{escape(run.title)}</h3>" if len(runs) > 1 else ""
        sheets = "".join(_figure(frame, "", {}) for frame in run.fixed)
        fixed = f'<div class="sheets">{sheets}</div>' if sheets else ""
        parts.append(heading + _gallery(run.frames, known, run.title) + fixed)
    return "".join(parts)


def _gallery(frames: Sequence[Frame], known: dict[tuple[str, int], dict[str, float]], title: str) -> str:
    last = len(frames) - 1
    kept = {0, last, *(round(last * i / 5) for i in range(6))}  # on paper
    figures = "".join(
        _figure(frame, " kept" if i in kept else "", known.get((frame.sample.phase, frame.sample.step), {}))
        for i, frame in enumerate(frames)
        if frame.sample is not None
    )
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="step, {escape(title)}">'
    return f'<div class="time">{slider}<div class="frames">{figures}</div></div>'


def _figure(frame: Frame, kept: str, found: dict[str, float]) -> str:
    told = " · ".join(f"{name} {value:.{2 if name.startswith('psnr') else 4}f}" for name, value in found.items())
    return (
        f'<figure class="frame{kept}"><img src="{frame.uri}" width="{frame.width}" height="{frame.height}" '
        f'alt="crops, {escape(frame.title)}"><figcaption><b>{escape(frame.title)}</b>{escape(told)}</figcaption></figure>'
    )


def validation(runs: Sequence[Shown]) -> str:
    """Scores over steps, by phase."""
    parts = []
    for phase in _phases(runs, "validation"):
        best = runs[0].numbers["best"].get(phase) if len(runs) == 1 else None

        def of_phase(numbers: dict[str, Any], phase: str = phase) -> dict[str, Curve]:
            found: dict[str, Curve] = numbers["validation"].get(phase, {})
            return found

        charts = _charts(runs, of_phase, marked=True, best=best)
        parts.append(_group(phase, charts))
    return "".join(parts)


def health(runs: Sequence[Shown]) -> str:
    """How the two networks stand to each other, and what else training watches of itself."""
    parts = []
    for phase in _phases(runs, "phases"):

        def of_phase(numbers: dict[str, Any], phase: str = phase) -> dict[str, Curve]:
            found: dict[str, Curve] = numbers["phases"].get(phase, {}).get("health", {})
            return {name: curve for name, curve in found.items() if name not in ("d_real", "d_fake")}

        parts.append(_group(phase, _opinion(runs, phase) + _charts(runs, of_phase)))
    if "adversarial" not in _phases(runs, "phases"):
        return "".join(parts)
    return (
        "<p>Two healthy adversaries stay between the extremes: where the discriminator's accuracy stays at 1, the "
        "generator learns nothing from it any more; where it stays at 0.5, the discriminator knows nothing.</p>"
        + "".join(parts)
    )


def _opinion(runs: Sequence[Shown], phase: str) -> str:
    """What the discriminator takes real and generated pictures for."""
    lines = []
    for run in runs:
        found = run.numbers["phases"].get(phase, {}).get("health", {})
        prefix = f"{run.title}: " if len(runs) > 1 else ""
        for name, title in (("d_real", "real pictures"), ("d_fake", "generated pictures")):
            lines.append(Series(name=prefix + title, points=found.get(name, ())))
    return draw("discriminator's opinion", lines, unit="probability of being real", zero=True)


def losses(runs: Sequence[Shown]) -> str:
    """Every loss over steps, by phase, with the learning rate."""
    parts = []
    for phase in _phases(runs, "phases"):

        def of_phase(numbers: dict[str, Any], phase: str = phase) -> dict[str, Curve]:
            about = numbers["phases"].get(phase, {})
            return {**about.get("loss", {}), "learning rate": about.get("learning_rate", [])}

        parts.append(_group(phase, _charts(runs, of_phase)))
    return "".join(parts)


def _charts(runs: Sequence[Shown], find: Find, *, marked: bool = False, best: dict[str, Any] | None = None) -> str:
    """A chart for each quantity, with a line for each run."""
    found = [(run.title, find(run.numbers)) for run in runs]
    names = list(dict.fromkeys(name for _, curves in found for name in curves))
    charts = []
    for name in names:
        lines = [
            Series(name=title if len(runs) > 1 else name, points=curves.get(name, ()), marked=marked)
            for title, curves in found
        ]
        star = (best["step"], best["scores"][name]) if best and name in best["scores"] else None
        charts.append(draw(name, lines, unit=UNITS.get(name, ""), best=star))
    return "".join(charts)


def _group(phase: str, charts: str) -> str:
    title = escape(PHASE_TITLES.get(phase, phase))
    return f'<h3>{title}</h3><div class="charts">{charts}</div>' if charts else ""


def _phases(runs: Sequence[Shown], part: str) -> list[str]:
    return list(dict.fromkeys(phase for run in runs for phase in run.numbers[part]))


def duration(seconds: float) -> str:
    """Seconds as days, hours, minutes: the two largest."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts[:2])
