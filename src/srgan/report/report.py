"""One HTML page about one or more runs, and the same numbers as JSON."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jinja2
import pyvips
from markupsafe import Markup

from srgan import __version__, config
from srgan.errors import DataError, UsageError
from srgan.fs import atomic_write_all, may_replace, printable
from srgan.report import charts
from srgan.report.run_log import PARTS, SCORES, STATES, Curves, RunLog, finite, mapping, read_run, run_numbers, scores

T = TypeVar("T")
IMAGE_BUDGET = 7_000_000
"""Bytes of all images of a page, as base64."""
MAX_FRAMES, WEBP_QUALITY = 40, 88
REFERENCE_SHEETS = {"bicubic": "bicubic, from the same small images", "hr": "the originals"}
TABLE_SCORES = ("psnr_y", "ssim_daala", "niqe", "ssim_wang")
PAPER_ROWS = {"srresnet": "paper: SRResNet", "srgan": "paper: SRGAN (VGG54)"}
PHASE_TITLES = {"pretrain": "SRResNet (pretraining)", "adversarial": "SRGAN (adversarial training)"}
OPINION = "discriminator's opinion"
NOTES = {
    "psnr_y": "dB, higher is better",
    "ssim_daala": "higher is better",
    "ssim_wang": "higher is better",
    "niqe": "lower is better",
    "bn_gap": "between BatchNorm's modes, levels of 255",
    "checkerboard": "pattern of 4 pixels, levels of 255",
    "d_accuracy": "0.5 cannot tell, 1 always can",
    "content_to_adversarial": "weighted content over weighted adversarial loss",
    OPINION: "probability of being real",
}
"""What stands above a chart."""


class Frame(NamedTuple):
    """A sheet of crops as a data URI, with its caption."""

    title: str
    scores: str
    uri: str
    width: int
    height: int


class ReportRun(NamedTuple):
    """A run as the page's template takes it; `numbers` is its entry in report.json."""

    title: str
    numbers: dict[str, Any]
    frames: list[Frame]
    references: list[Frame]


def write(folders: Sequence[Path], output: Path | None = None) -> Path:
    """Write the page of some runs and its numbers beside it (.json); returns the page's path.

    Without `output`: report.html in the run's folder or, of several runs, in the folder around the first.
    Raises DataError, UsageError.
    """
    if not folders:
        raise UsageError("srgan report needs the folder of at least one run, such as runs/paper.")
    target = output or (folders[0] if len(folders) == 1 else folders[0].resolve().parent) / "report.html"
    if target.suffix not in (".html", ".htm"):
        raise UsageError(f"-o {printable(target)}: the page's name ends in .html.")
    for path, start in ((target, b"<!"), (target.with_suffix(".json"), b'{"srgan.report"')):
        if output and not may_replace(path, start):
            raise UsageError(f"{printable(path)} is there and is no report; give another name with -o.")
    logs = [read_run(folder) for folder in folders]
    names = [log.folder.resolve().name for log in logs]
    if len(set(names)) < len(names):
        names = [f"{log.folder.resolve().parent.name}/{name}" for log, name in zip(logs, names, strict=True)]
    runs = [
        ReportRun(title, run_numbers(log, title), *frames(log, IMAGE_BUDGET // len(logs)))
        for log, title in zip(logs, map(printable, names), strict=True)
    ]
    document = config.plain({"srgan.report": 1, "runs": [run.numbers for run in runs]}, not_finite=lambda value: None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        numbers = f"{text}\n".encode(errors="replace")
        atomic_write_all({target.with_suffix(".json"): numbers, target: render(runs).encode(errors="replace")})
    except OSError as error:
        raise DataError(f"the report {printable(target)} cannot be written: {error.strerror}.") from error
    return target


def render(runs: Sequence[ReportRun]) -> str:
    """The page: one file that loads nothing; the template escapes every text."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["anchor"] = lambda name: re.sub(r"\W", "-", name.lower())
    template = environment.from_string(resources.files("srgan.report").joinpath("report.html.j2").read_text("utf-8"))
    several = len(runs) > 1
    titles = [run.title for run in runs]
    models = {
        f"{run.title}: {model}" if several else model: document
        for run in runs
        for model, document in run.numbers["evaluation"].items()
    }
    phases = dict.fromkeys(phase for run in runs for phase in run.numbers["phases"])
    page = template.render(
        title="srgan: " + " and ".join(titles),
        several=several,
        version=__version__,
        runs=runs,
        thinned=thinned,
        facts=facts,
        score_names=TABLE_SCORES,
        score_rows=list(score_rows(models)),
        image_rows={title: list(image_rows(document)) for title, document in models.items()},
        protocols=sorted({str(document.get("protocol")) for document in models.values()}),
        charts=_charts(runs),
        speed={
            PHASE_TITLES.get(phase, phase): compare_columns([_speed(run, phase) for run in runs]) for phase in phases
        },
        settings=compare_columns([run.numbers["settings"] for run in runs]),
        circumstances=compare_columns(
            [{f"{p}.{key}": value for p in PARTS for key, value in mapping(run.numbers[p]).items()} for run in runs]
        ),
    )
    return f"{page.strip()}\n"


def facts(run: ReportRun) -> list[tuple[str, str]]:
    """The run in a few figures: (value, what it is)."""
    figures = [(STATES[run.numbers["state"]], "state")]
    for phase, part in run.numbers["phases"].items():
        of = f" of {part['of']:,}" if isinstance(part["of"], int) and part["of"] != part["steps"] else ""
        figures.append((f"{part['steps']:,}", f"steps, {phase}{of}"))
    for phase, best in run.numbers["best"].items():
        for name, value in list(best["scores"].items() if best else ())[:1]:
            figures.append((f"{value:.2f}", f"best {name}, {phase}, at step {best['step']:,}"))
    return [*figures, (duration(run.numbers["time"]["seconds_in_training"]), "time in training")]


def duration(seconds: float) -> str:
    """Seconds as days, hours, minutes: the two largest."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = int(seconds // 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2])


def score_rows(models: Mapping[str, Mapping[str, Any]]) -> Iterable[tuple[str, str, list[str]]]:
    """Rows (kind, title, cells) by test set: bicubic here and in the paper, our models, the paper's networks."""
    for name in dict.fromkeys(name for document in models.values() for name in document["sets"]):
        sets = {title: document["sets"][name] for title, document in models.items() if name in document["sets"]}
        sets = {title: one for title, one in sets.items() if isinstance(one, Mapping)}
        first: Mapping[str, Any] = next(iter(sets.values()), {})
        paper = mapping(first.get("paper"))
        yield "set", name + (f", {first['count']} images" if first.get("count") else ""), []
        yield "", "bicubic, here", _cells(mapping(first.get("bicubic")).get("mean"))
        if "bicubic" in paper:
            yield "", "bicubic, paper", _cells(paper["bicubic"])
        for title, one in sets.items():
            yield "ours", title, _cells(one.get("mean"))
        for method, title in PAPER_ROWS.items():
            if method in paper:
                yield "", title, _cells(paper[method])


def image_rows(document: Mapping[str, Any]) -> Iterable[tuple[str, str, list[str]]]:
    """Rows of every image of a model's test sets."""
    for set_name, one in document["sets"].items():
        for image, values in mapping(mapping(one).get("pictures")).items():
            yield "", f"{set_name} {image}", _cells(values)


def _cells(scores: Any) -> list[str]:
    values = [(finite(mapping(scores).get(name)), SCORES[name]) for name in TABLE_SCORES]
    return ["–" if value is None else f"{value:.{digits}f}" for value, digits in values]


def compare_columns(columns: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Rows (key, a cell for each run, whether the runs differ); those that differ come first."""
    rows = []
    for key in dict.fromkeys(key for column in columns for key in column):
        cells = [_text(column.get(key)) for column in columns]
        rows.append((str(key), cells, len(set(cells)) > 1))
    return sorted(rows, key=lambda row: not row[2])


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return str(value)


def _speed(run: ReportRun, phase: str) -> dict[str, object]:
    part = run.numbers["phases"].get(phase, {})
    waits = [share for _, share in part.get("data_wait", ())]
    return {
        "steps per second, median": part.get("steps_per_s"),
        "waiting for data, mean": f"{sum(waits) / len(waits):.1%}" if waits else None,
    }


def _curves(numbers: dict[str, Any]) -> dict[tuple[str, str, str], Curves]:
    """(section, phase, title of a chart) -> its curves by label, of one run."""
    charts: dict[tuple[str, str, str], Curves] = {}
    for phase, curves in numbers["validation"].items():
        charts |= {("Validation", phase, name): {"": curve} for name, curve in curves.items()}
    for phase, part in numbers["phases"].items():
        health = dict(part["health"])
        opinion = {"real images": health.pop("d_real", []), "generated images": health.pop("d_fake", [])}
        charts |= {("Health", phase, OPINION): opinion} if any(opinion.values()) else {}
        charts |= {("Health", phase, name): {"": curve} for name, curve in health.items()}
        losses = {**part["loss"], "learning rate": part["learning_rate"]}
        charts |= {("Losses", phase, name): {"": curve} for name, curve in losses.items()}
    return charts


def _charts(runs: Sequence[ReportRun]) -> dict[str, dict[str, dict[str, Markup]]]:
    """Section -> title of a phase -> title of a chart -> its <svg>, with a line for each run."""
    sections: dict[str, dict[str, dict[str, Markup]]] = {"Validation": {}, "Health": {}, "Losses": {}}
    curves = {run.title: _curves(run.numbers) for run in runs}
    for section, phase, chart in dict.fromkeys(key for of_run in curves.values() for key in of_run):
        series = {
            ": ".join(filter(None, (title * (len(runs) > 1), label))): curve
            for title, of_run in curves.items()
            for label, curve in of_run.get((section, phase, chart), {}).items()
        }
        best = runs[0].numbers["best"].get(phase) if section == "Validation" and len(runs) == 1 else None
        star = (best["step"], best["scores"][chart]) if best and chart in best["scores"] else None
        if svg := charts.draw(series, note=NOTES.get(chart, ""), zero=chart == OPINION, best=star):
            sections[section].setdefault(PHASE_TITLES.get(phase, phase), {})[chart] = Markup(svg)
    return sections


def frames(log: RunLog, budget: int) -> tuple[list[Frame], list[Frame]]:
    """Sheets in order of time, thinned to MAX_FRAMES and `budget` bytes; and the sheets that training does not change.

    What cannot be read or is left out is appended to the log's notes, which are part of its numbers.
    """
    references = [
        frame
        for name, title in REFERENCE_SHEETS.items()
        if (path := log.folder / "samples" / f"{name}.png").is_file() and (frame := _frame(path, title, "", log.notes))
    ]
    budget -= sum(len(frame.uri) for frame in references)
    by_step = {(phase, line["step"]): scores(line) for phase, lines in log.validations.items() for line in lines}
    readable = []
    for sample in thinned(log.samples, MAX_FRAMES):
        values = by_step.get((sample.phase, sample.step), {})
        text = " · ".join(f"{name} {value:.{SCORES.get(name, 4)}f}" for name, value in values.items())
        frame = _frame(sample.path, f"{sample.phase}, step {sample.step:,}", text, log.notes)
        readable += [frame] if frame else []
    chosen = readable
    while len(chosen) > 2 and sum(len(frame.uri) for frame in chosen) > budget:
        chosen = thinned(readable, len(chosen) - 1)
    if len(chosen) < len(log.samples):
        log.notes.append(f"{len(chosen)} of {len(log.samples)} sample sheets are shown; all are in samples/.")
    return chosen, references


def thinned(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _frame(path: Path, title: str, scores: str, notes: list[str]) -> Frame | None:
    try:
        # libvips opens no name that is not UTF-8.
        image = pyvips.Image.new_from_buffer(path.read_bytes(), "", fail_on="truncated")
        content = image.webpsave_buffer(Q=WEBP_QUALITY, keep="none")
    except (pyvips.Error, OSError) as error:
        notes.append(f"{path.name} cannot be read: {str(error).strip().splitlines()[-1]}.")
        return None
    uri = f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"
    return Frame(title, scores, uri, image.width, image.height)
