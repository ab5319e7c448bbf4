"""Crops over time: the run's sample sheets as WebP images inside the page, within a budget of bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyvips

from srgan.report.numbers import SCORES, scores
from srgan.report.run_log import RunLog

T = TypeVar("T")
MAX_FRAMES, WEBP_QUALITY = 40, 88
REFERENCE_SHEETS = {"bicubic": "bicubic, from the same small images", "hr": "the originals"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A sheet of crops as a data URI, with its caption."""

    title: str
    scores: str
    uri: str
    width: int
    height: int


def frames(log: RunLog, budget: int) -> tuple[list[Frame], list[Frame]]:
    """Sheets in order of time, thinned to MAX_FRAMES and `budget` bytes; and the sheets that training does not change.

    What cannot be read or is left out is appended to the run's notes.
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
        image = pyvips.Image.new_from_file(str(path), fail_on="truncated")
        content = image.webpsave_buffer(Q=WEBP_QUALITY, keep="none")
    except pyvips.Error as error:
        notes.append(f"{path.name} cannot be read: {str(error).strip().splitlines()[-1]}.")
        return None
    uri = f"data:image/webp;base64,{base64.b64encode(content).decode('ascii')}"
    return Frame(title=title, scores=scores, uri=uri, width=image.width, height=image.height)
