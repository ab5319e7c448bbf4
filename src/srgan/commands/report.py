"""`srgan report`: read the runs, write the page and the numbers."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from srgan.config import parse
from srgan.errors import DataError, UsageError
from srgan.fs import atomic_write
from srgan.report import page, samples, summary
from srgan.report.record import Record, read
from srgan.report.sections import Shown

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Which runs, and where to write."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The runs' folders; several are compared."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The page, .html; its numbers go beside it as .json. Default: report.html in the run's folder, or, of
    several runs, in the folder around the first."""


def main(argv: list[str]) -> int:
    """`srgan report RUN... [-o FILE]`."""
    about = "One HTML page, and the same numbers as JSON, about one or more training runs."
    settings: ReportSettings = parse(ReportSettings, argv, prog="srgan report", description=about)
    target = write(settings.runs, settings.output)
    log.info(f"{target} ({target.stat().st_size / 1e6:.1f} MB) and {target.with_suffix('.json').name}")
    return 0


def write(runs: Sequence[Path], output: Path | None = None) -> Path:
    """Write the page of `runs`, and its numbers beside it; returns the page. Raises DataError, UsageError."""
    if not runs:
        raise UsageError("srgan report needs the folder of at least one run, such as runs/paper.")
    target = output or (runs[0] if len(runs) == 1 else runs[0].resolve().parent) / "report.html"
    if target.suffix not in (".html", ".htm"):
        raise UsageError(f"-o {target}: the page's name ends in .html.")
    records = [read(folder) for folder in runs]
    shown = [_shown(record, title, len(runs)) for record, title in zip(records, _titles(records), strict=True)]
    numbers = {"srgan.report": 1, "runs": [{**run.numbers, "name": run.title} for run in shown]}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(numbers, ensure_ascii=False, default=str)
        atomic_write(target.with_suffix(".json"), f"{text}\n".encode())
        atomic_write(target, page.html(shown).encode())
    except OSError as error:
        raise DataError(f"the report {target} cannot be written: {error.strerror}.") from error
    return target


def _shown(record: Record, title: str, count: int) -> Shown:
    frames, fixed = samples.frames(record, samples.BUDGET // count, record.notes)
    return Shown(title=title, record=record, numbers=summary.of(record), frames=frames, fixed=fixed)


def _titles(records: Sequence[Record]) -> list[str]:
    """The folders' names; with the folder around them where two are the same."""
    names = [record.name for record in records]
    if len(set(names)) == len(names):
        return names
    return [f"{record.folder.resolve().parent.name}/{record.name}" for record in records]
