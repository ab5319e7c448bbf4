"""Scores beside those of Ledig et al. 2017, as lines of text and as the JSON of `srgan evaluate --json`."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from srgan import config
from srgan.evaluate.scoring import SetScores
from srgan.image.metrics import Scores

PROTOCOL = "srgan-1: x4, 8-bit images, Y = BT.601 in 16..235 unrounded, 4 px shaved, mean over images"

COUNTS = {"Set5": 5, "Set14": 14, "BSD100": 100}
"""Images in each set."""

CONTROL = {"Set5": 28.4302, "Set14": 25.9970, "BSD100": 25.9620}
"""Mean `psnr_y` of bicubic x4 on the paper's images; another value means other images."""

_TABLES = {
    "nearest": ((26.26, 0.7552), (24.64, 0.7100), (25.02, 0.6606)),
    "bicubic": ((28.43, 0.8211), (25.99, 0.7486), (25.94, 0.6935)),
    "srresnet": ((32.05, 0.9019), (28.49, 0.8184), (27.58, 0.7620)),
    "srgan": ((29.40, 0.8472), (26.02, 0.7397), (25.16, 0.6688)),
    "srgan_mse": ((30.64, 0.8701), (26.92, 0.7611)),
    "srgan_vgg22": ((29.84, 0.8468), (26.44, 0.7518)),
}
"""Tables 1 and 2: method -> (PSNR, SSIM) on Set5, Set14, BSD100; `srgan` is the paper's SRGAN-VGG54."""

PAPER = {
    name: {
        method: {"psnr_y": columns[i][0], "ssim_daala": columns[i][1]}
        for method, columns in _TABLES.items()
        if i < len(columns)
    }
    for i, name in enumerate(COUNTS)
}
"""Set -> method -> score."""

COLUMNS = tuple(field.name for field in dataclasses.fields(Scores))
TITLES = {"bicubic": "paper bicubic", "srresnet": "paper SRResNet", "srgan": "paper SRGAN"}
COLUMN_WIDTH = 12


class Table:
    """One set's table as lines of text, with the paper's rows or without; a long image name widens the first column."""

    def __init__(self, names: Iterable[str], *, paper: bool = True) -> None:
        self._paper = PAPER if paper else {}
        self._width = max(map(len, [*names, "bicubic mean", "  difference", *TITLES.values()])) + 1

    def header(self) -> str:
        """The columns' names."""
        return " " * self._width + "".join(f"{name:>{COLUMN_WIDTH}}" for name in COLUMNS)

    def row(self, title: str, scores: Scores) -> str:
        """One row of our scores; a missing score is a dash."""
        values = dataclasses.asdict(scores).items()
        return self._line(title, {name: f"{value:.4f}" for name, value in values if value is not None})

    def bicubic_rows(self, set_name: str, mean: Scores) -> list[str]:
        """The bicubic control here, and the paper's."""
        return [self.row("bicubic mean", mean), *self._paper_row(set_name, "bicubic")]

    def mean_rows(self, set_name: str, mean: Scores) -> list[str]:
        """The mean, then each of the paper's networks and how far our mean is above it."""
        lines = [self.row("mean", mean)]
        for method in ("srresnet", "srgan") if set_name in self._paper else ():
            ours = dataclasses.asdict(mean)
            difference = {name: f"{ours[name] - value:+.4f}" for name, value in PAPER[set_name][method].items()}
            lines += [*self._paper_row(set_name, method), self._line("  difference", difference)]
        return lines

    def _paper_row(self, set_name: str, method: str) -> list[str]:
        """The paper's row, with as many digits as it prints."""
        if set_name not in self._paper:
            return []
        paper = PAPER[set_name][method]
        cells = {"psnr_y": f"{paper['psnr_y']:.2f}", "ssim_daala": f"{paper['ssim_daala']:.4f}"}
        return [self._line(TITLES[method], cells)]

    def _line(self, title: str, cells: Mapping[str, str]) -> str:
        return f"{title:<{self._width}}" + "".join(f"{cells.get(name, '-'):>{COLUMN_WIDTH}}" for name in COLUMNS)


def warnings(set_name: str, count: int, bicubic: Scores) -> list[str]:
    """Why a set's means must not be compared with the paper's; empty for the paper's own images."""
    if count != COUNTS.get(set_name, count):
        return [f"note: {set_name} has {COUNTS[set_name]} images, here are {count}; the means do not compare."]
    expected, got = CONTROL.get(set_name), bicubic.psnr_y
    if expected is None or abs(got - expected) <= 5e-4:
        return []
    return [
        f"note: bicubic on {set_name} should give {expected:.4f} dB and gives {got:.4f}: these HR or LR files "
        "are not the paper's, and the means do not compare."
    ]


def to_json(
    model: Mapping[str, str | None], sets: Mapping[str, tuple[SetScores, SetScores]], *, jpeg: int | None = None
) -> dict[str, Any]:
    """The JSON document: what was scored; sets by name, each with (our scores, the bicubic control's).

    A missing score (no NIQE) is null, an infinite one (the PSNR of an equal image) the text "inf".
    `jpeg`: quality that every LR went through; then the paper's scores do not compare and are null.
    """
    paper = {name: {method: rows[method] for method in ("srresnet", "srgan")} for name, rows in PAPER.items()}
    return {
        "protocol": PROTOCOL,
        "model": model,
        **({} if jpeg is None else {"jpeg": jpeg}),
        "sets": {
            name: {
                "count": len(ours.images),
                **set_to_json(ours),
                "bicubic": set_to_json(bicubic),
                "paper": paper[name] if jpeg is None and name in PAPER else None,
            }
            for name, (ours, bicubic) in sets.items()
        },
    }


def set_to_json(scores: SetScores) -> dict[str, Any]:
    """The mean and every image of a set, as values that JSON has."""
    return {"mean": _plain(scores.mean), "pictures": {name: _plain(image) for name, image in scores.images.items()}}


def _plain(scores: Scores) -> dict[str, Any]:
    values = dataclasses.asdict(scores).items()
    rounded = {name: None if value is None else round(value, 6) for name, value in values}
    return dict(config.plain(rounded, lambda value: None if math.isnan(value) else str(value)))
