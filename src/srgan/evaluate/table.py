"""Scores as lines of text, and as the JSON document that `srgan evaluate --json` writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from srgan.evaluate.paper import CONTROL, COUNTS, PAPER, PROTOCOL
from srgan.evaluate.scoring import SetScores
from srgan.image.metrics import Scores

COLUMNS = tuple(field.name for field in dataclasses.fields(Scores))
TITLES = {"bicubic": "paper bicubic", "srresnet": "paper SRResNet", "srgan": "paper SRGAN"}
WIDTH = 12


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was scored: a model, or a folder of pictures (then it has a name alone)."""

    name: str
    sha256: str | None = None
    engine: str | None = None
    precision: str | None = None

    def line(self) -> str:
        """In one line, the hash shortened."""
        if self.sha256 is None:
            return f"pictures {self.name}"
        return f"model {self.name}, sha256 {self.sha256[:16]}, {self.engine} {self.precision}"


class Table:
    """Lays out one set's rows; every line is as long as it needs to be."""

    def __init__(self, names: Iterable[str]) -> None:
        self.width = max(map(len, [*names, "bicubic mean", "  difference", *TITLES.values()])) + 1

    def header(self) -> str:
        """The columns' names."""
        return " " * self.width + "".join(f"{name:>{WIDTH}}" for name in COLUMNS)

    def row(self, title: str, scores: Scores) -> str:
        """One row of ours; a score that is not there is a dash."""
        given = dataclasses.asdict(scores)
        return self._line(title, {name: "-" if given[name] is None else f"{given[name]:.4f}" for name in COLUMNS})

    def control(self, set_name: str, scores: Scores) -> list[str]:
        """Bicubic here, and the paper's beneath."""
        return [self.row("bicubic mean", scores), *self._paper(set_name, "bicubic")]

    def conclusion(self, set_name: str, scores: Scores) -> list[str]:
        """The mean, then each of the paper's networks with the difference of ours to it."""
        lines = [self.row("mean", scores)]
        for method in ("srresnet", "srgan") if set_name in PAPER else ():
            ours, paper = dataclasses.asdict(scores), PAPER[set_name][method]
            difference = {name: f"{ours[name] - value:+.4f}" for name, value in paper.items()}
            lines += [*self._paper(set_name, method), self._line("  difference", difference)]
        return lines

    def _paper(self, set_name: str, method: str) -> list[str]:
        """The paper's row, with the digits that it prints."""
        if set_name not in PAPER:
            return []
        paper = PAPER[set_name][method]
        cells = {name: f"{paper[name]:.{digits}f}" for name, digits in (("psnr_y", 2), ("ssim_daala", 4))}
        return [self._line(TITLES[method], cells)]

    def _line(self, title: str, cells: Mapping[str, str]) -> str:
        return f"{title:<{self.width}}" + "".join(f"{cells.get(name, '-'):>{WIDTH}}" for name in COLUMNS)


def caveats(set_name: str, count: int, control: Scores) -> list[str]:
    """Why a set's figures must not be put beside the paper's; nothing for the paper's own pictures."""
    if count != COUNTS.get(set_name, count):
        return [f"note: {set_name} has {COUNTS[set_name]} pictures, here are {count}; the means do not compare."]
    wanted, got = CONTROL.get(set_name), control.psnr_y
    if wanted is None or abs(got - wanted) <= 5e-4:
        return []
    return [
        f"note: bicubic on {set_name} should give {wanted:.4f} dB and gives {got:.4f}: these HR or LR files "
        "are not the paper's, and the means do not compare."
    ]


def document(subject: Subject, sets: Mapping[str, tuple[SetScores, SetScores]]) -> dict[str, Any]:
    """The JSON document: sets by name, each with (the subject's scores, the bicubic control's).

    A score without a finite value (no NIQE; the PSNR of an equal picture) is null.
    """
    return {
        "protocol": PROTOCOL,
        "model": dataclasses.asdict(subject),
        "sets": {
            name: {
                "count": len(ours.pictures),
                **entry(ours),
                "bicubic": entry(control),
                "paper": _paper(name),
            }
            for name, (ours, control) in sets.items()
        },
    }


def entry(scores: SetScores) -> dict[str, Any]:
    """The mean and every picture of a set, ready for JSON."""
    pictures = {name: _numbers(one) for name, one in scores.pictures.items()}
    return {"mean": _numbers(scores.mean), "pictures": pictures}


def _numbers(scores: Scores) -> dict[str, float | None]:
    values = dataclasses.asdict(scores).items()
    return {name: None if v is None or not math.isfinite(v) else round(v, 6) for name, v in values}


def _paper(set_name: str) -> dict[str, dict[str, float]] | None:
    if set_name not in PAPER:
        return None
    return {method: PAPER[set_name][method] for method in ("srresnet", "srgan")}
