"""Crops through time: the run's sample sheets as small WebP pictures inside the page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srgan.report.record import Record, Sample

T = TypeVar("T")
BUDGET = 7_000_000
"""Bytes of all pictures of a page, as base64."""
MOST = 40
"""Frames of a run."""
QUALITY = 88
FIXED = (("bicubic", "bicubic, from the same small pictures"), ("hr", "the originals"))


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A sheet as it goes into the page."""

    title: str
    sample: Sample | None
    """None for the sheets that training does not change."""
    uri: str
    width: int
    height: int


def frames(record: Record, budget: int, notes: list[str]) -> tuple[list[Frame], list[Frame]]:
    """The run's frames in order of time, thinned evenly to `budget` bytes and MOST; and the fixed sheets."""
    fixed = [
        frame
        for name, title in FIXED
        if (path := record.folder / "samples" / f"{name}.png").is_file()
        and (frame := _frame(path, title, None, notes)) is not None
    ]
    left = budget - sum(len(frame.uri) for frame in fixed)
    chosen = thinned(record.samples, MOST)
    made = [_of_sample(sample, notes) for sample in chosen]
    found = [frame for frame in made if frame is not None]
    fewer = found
    while len(fewer) > 2 and sum(len(frame.uri) for frame in fewer) > left:
        fewer = thinned(found, len(fewer) - 1)
    found = fewer
    if len(found) < len(record.samples):
        notes.append(f"{len(found)} of {len(record.samples)} sample sheets are shown; all are in samples/.")
    return found, fixed


def thinned(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of `items`, evenly, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _of_sample(sample: Sample, notes: list[str]) -> Frame | None:
    return _frame(sample.path, f"{sample.phase}, step {sample.step:,}", sample, notes)


def _frame(path: Path, title: str, sample: Sample | None, notes: list[str]) -> Frame | None:
    import pyvips

    try:
        picture = pyvips.Image.new_from_file(str(path), fail_on="truncated")
        content = picture.webpsave_buffer(Q=QUALITY, keep="none")
    except pyvips.Error as error:
        notes.append(f"{path.name} cannot be read: {str(error).strip().splitlines()[-1]}.")
        return None
    uri = "data:image/webp;base64," + base64.b64encode(content).decode("ascii")
    return Frame(title=title, sample=sample, uri=uri, width=picture.width, height=picture.height)
