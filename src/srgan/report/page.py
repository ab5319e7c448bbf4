"""The page: one file, everything in it, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources

from srgan import __version__
from srgan.report import sections, tables
from srgan.report.sections import Shown

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'"
"""What the browser may load: what is in the file."""


def html(runs: Sequence[Shown]) -> str:
    """The whole document."""
    several = len(runs) > 1
    title = "srgan: " + (" and ".join(run.title for run in runs) if several else runs[0].title)
    parts = {
        "Result": sections.result(runs),
        "Pictures through time": sections.crops(runs),
        "Validation": sections.validation(runs),
        "Health": sections.health(runs),
        "Losses": sections.losses(runs),
        "Speed": _speed(runs),
        "Settings": _settings(runs),
        "Data, hardware, versions": _circumstances(runs),
        "Warnings and events": _remarks(runs),
    }
    shown = {name: part for name, part in parts.items() if part}
    links = "".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in shown)
    body = "".join(f'<h2 id="{_anchor(name)}">{name}</h2>{part}' for name, part in shown.items())
    heads = "".join(_head(run, several) for run in runs)
    return (
        "<!doctype html>\n"
        f'<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_file('page.css')}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{heads}<nav>{links}</nav></header><main>{body}</main>"
        f"<footer>Written by srgan {__version__}. This file holds everything it shows; it loads nothing.</footer>"
        f"<script>{_file('page.js')}</script></body></html>\n"
    )


def _head(run: Shown, several: bool) -> str:
    about = run.numbers["time"]
    when = " to ".join(moment for moment in (about["began"], about["last_line"]) if moment)
    again = f", {about['starts']} starts" if about["starts"] > 1 else ""
    heading = f"<h3>{escape(run.title)}</h3>" if several else ""
    notes = "".join(f'<div class="notice">{escape(note)}</div>' for note in run.record.notes)
    bad = sum(phase["not_finite"] for phase in run.numbers["phases"].values())
    if bad:
        notes += f'<div class="notice">{bad} reports hold a number that is not finite.</div>'
    if not run.numbers["phases"]:
        notes += '<div class="notice">No step has been reported yet.</div>'
    return f'{heading}<p class="quiet">{escape(when + again)}</p>{sections.facts(run)}{notes}'


def _speed(runs: Sequence[Shown]) -> str:
    parts = []
    for phase in dict.fromkeys(phase for run in runs for phase in run.numbers["phases"]):
        columns = [_speed_of(run, phase) for run in runs]
        title = escape(sections.PHASE_TITLES.get(phase, phase))
        parts.append(f"<h3>{title}</h3>{tables.beside([run.title for run in runs], columns)}")
    return "".join(parts)


def _speed_of(run: Shown, phase: str) -> dict[str, object]:
    about = run.numbers["phases"].get(phase, {})
    waits = [share for _, share in about.get("data_wait", ())]
    return {
        "steps per second, median": about.get("steps_per_s"),
        "waiting for data, mean": f"{sum(waits) / len(waits):.1%}" if waits else None,
    }


def _settings(runs: Sequence[Shown]) -> str:
    table = tables.beside([run.title for run in runs], [run.record.settings for run in runs])
    if len(runs) == 1 or not table:
        return table
    return "<p>Settings in which the runs differ come first, in bold.</p>" + table


def _circumstances(runs: Sequence[Shown]) -> str:
    columns = []
    for run in runs:
        parts = {name: run.numbers[name] for name in ("data", "hardware", "versions", "git")}
        columns.append(tables.flat({name: part for name, part in parts.items() if part}))
    return tables.beside([run.title for run in runs], columns)


def _remarks(runs: Sequence[Shown]) -> str:
    parts = []
    for run in runs:
        for title, lines in (("Warnings", run.numbers["warnings"]), ("Events", run.numbers["events"])):
            if lines:
                name = f"{run.title}: {title.lower()}" if len(runs) > 1 else title
                items = "".join(f"<li>{escape(line)}</li>" for line in lines)
                parts.append(f'<h3>{escape(name)}</h3><ul class="words">{items}</ul>')
    return "".join(parts)


def _anchor(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


def _file(name: str) -> str:
    return resources.files("srgan.report").joinpath(name).read_text(encoding="utf-8")
