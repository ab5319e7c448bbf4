"""Line charts as SVG, legible without colour: every line has its own dashes and marker."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib import ticker
from matplotlib.figure import Figure
from numpy.typing import NDArray

from srgan.fs import printable

Point = tuple[float, float]
WIDTH = 4.8
"""Inches, of a chart."""
MAX_BINS = 160
"""More than twice as many points become means with a band from the least to the greatest."""
LOG_FACTOR = 20.0
"""A positive quantity whose values span more than this factor has a logarithmic axis."""
LOG_DEPTH = 1e-9
"""Least value of a logarithmic axis, as a share of its greatest."""
MAX_LABEL = 48
"""Characters of a name in the legend."""
DASHES = ("-", (0, (6, 3)), (0, (1.5, 2)), (0, (7, 2, 1.5, 2)), (0, (10, 3)), (0, (3, 1.5, 1, 1.5)))
LINES = (
    cycler(color=("#0b57d0", "#b3261e", "#1b7f3b", "#8a4baf", "#a05a00", "#00707c"))
    + cycler(linestyle=DASHES)
    + cycler(marker=("o", "s", "^", "D", "X", "P"))
)
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "srgan",  # the same numbers give the same bytes
    "text.parse_math": False,  # a `$` in a run's name is a dollar sign
    "font.sans-serif": ("DejaVu Sans", "Arial"),
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlepad": 8,
    "grid.alpha": 0.35,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
    "lines.markeredgewidth": 1.2,
}


def draw(
    series: Mapping[str, Sequence[Point]], *, note: str = "", zero: bool = False, best: Point | None = None
) -> str:
    """An <svg> of all lines (name -> points in order of step) with two points or more; "" when there is none.

    `note` stands above the axes, `zero` starts the y axis at 0, `best` is a point that gets a star.
    """
    lines = [(name, points, binned(points)) for name, points in series.items() if len(points) > 1]
    if not lines:
        return ""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the browser has fonts for every script
        legend_height = 0.22 * len(lines) if len(lines) > 1 else 0.0
        height = 2.8 + legend_height
        figure = Figure(figsize=(WIDTH, height))
        axes = figure.add_axes((0.68 / WIDTH, 1 - 2.35 / height, 1 - 0.8 / WIDTH, 2.05 / height))
        axes.set_prop_cycle(LINES)

        # Lines, with a band where points were averaged.
        for name, points, (x, mean, low, high) in lines:
            every = 1 if len(x) <= 30 else len(x) // 7
            label = f"\u200b{printable(name, MAX_LABEL)}"  # matplotlib hides a label that starts with "_"
            (line,) = axes.plot(x, mean, label=label, markevery=(every // 2, every), markerfacecolor="white")
            if len(x) < len(points):
                axes.fill_between(x, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
        if best:
            axes.plot(*best, "*", color="black", markersize=12, markeredgecolor="white", zorder=5)

        # Axes.
        note = ", ".join(filter(None, (note, _scale_y(axes, [rows for *_, rows in lines], zero=zero))))
        axes.set_title(note, loc="left", fontsize=10, color="#555555")
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        if len(lines) > 1:
            figure.legend(loc="lower left", frameon=False, handlelength=4, borderpad=0, borderaxespad=0.2)
        text = StringIO()
        unstated = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=unstated)
    # Inside HTML an SVG needs neither a prologue nor namespaces.
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", text.getvalue()[text.getvalue().index("<svg") :])


def binned(points: Sequence[Point]) -> NDArray[np.float64]:
    """Rows x, mean, least and greatest (4, N) of at most MAX_BINS runs of points, or of every point."""
    values = np.clip(np.array(points, np.float64), -1e100, 1e100)  # an axis must not overflow
    size = math.ceil(len(values) / MAX_BINS) if len(values) > 2 * MAX_BINS else 1
    parts = np.split(values, range(size, len(values), size))
    return np.array([(*part.mean(axis=0), part[:, 1].min(), part[:, 1].max()) for part in parts]).T


def _scale_y(axes: matplotlib.axes.Axes, lines: Sequence[NDArray[np.float64]], *, zero: bool) -> str:
    """Set limits and ticks of the y axis; returns "logarithmic" when it is.

    Every mean is inside; of the bands' bounds, the outermost twentieth may be outside.
    """
    low = min(min(mean.min(), np.quantile(least, 0.05)) for _, mean, least, _ in lines)
    high = max(max(mean.max(), np.quantile(greatest, 0.95)) for _, mean, _, greatest in lines)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.6g}"))
    if not zero and low > 0 and high > LOG_FACTOR * low:
        low = max(low, high * LOG_DEPTH)
        margin = (high / low) ** 0.05
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0) if high / low < 1e3 else (1.0,)))
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set_ylim(low / margin, high * margin)
        return "logarithmic"
    margin = 0.05 * (high - low) if high - low > 1e-9 * max(abs(high), abs(low)) else abs(high) * 0.1 or 1.0
    axes.set_ylim(0.0 if zero else low - margin, high + margin)
    return ""
