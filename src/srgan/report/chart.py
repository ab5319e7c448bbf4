"""Line charts as SVG: small, readable without colour, and drawn by nobody but us."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 12, 40
BINS = 160
"""More points than twice this are drawn as means with a band from the least to the greatest."""
LOGARITHMIC = 20.0
"""A positive quantity that spans more than this factor gets a logarithmic axis."""
DEEPEST = 1e-9
"""Of a logarithmic axis: its least value, of its greatest."""
DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 2 1 2")
Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line: its name, its points in order of x, and whether each point is worth a marker."""

    name: str
    points: Sequence[Point]
    marked: bool = False


@dataclass(frozen=True)
class Axis:
    """A range of values onto a range of pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        value = min(max(value, self.low), self.high)
        low, high = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high))
        at = math.log10(value) if self.logarithmic else value
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Four to eight round values within the range."""
        if self.logarithmic:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            found: list[float] = []
            for digits in ((1,), (1, 3), (1, 2, 5)):
                every = [d * 10.0**e for e in range(first, last + 1) for d in digits]
                found = [value for value in every if self.low <= value <= self.high]
                if len(found) >= 4:
                    break
            return found[:: max(1, math.ceil(len(found) / 7))]
        step = _round_step((self.high - self.low) / 5)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def draw(title: str, series: Sequence[Series], *, unit: str = "", zero: bool = False, best: Point | None = None) -> str:
    """An <svg> with its legend in a <figure>; x is the step. Empty where no series has two points.

    `zero`: the y axis begins at 0. `best`: a point to be starred.
    """
    drawn = [one for one in series if len(one.points) > 1]
    if not drawn:
        return ""
    ys = [y for one in drawn for y in _extent(one.points)]
    x = _axis([p[0] for one in drawn for p in one.points], LEFT, WIDTH - RIGHT)
    logarithmic = not zero and min(ys) > 0 and max(ys) / min(ys) > LOGARITHMIC
    y = _axis([0.0, *ys] if zero else ys, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic, margin=0.05)
    inside = "".join(_line(one, index, x, y) for index, one in enumerate(drawn))
    star = _star(x(best[0]), y(best[1])) if best else ""
    about = ", ".join(filter(None, (unit, "logarithmic" if logarithmic else "")))
    label = escape(f"{title}: {', '.join(one.name for one in drawn)} over steps")
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<span>{escape(about)}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_grid(x, y)}{inside}{star}</svg>{_legend(drawn) if len(drawn) > 1 else ''}</figure>"
    )


def _axis(values: Sequence[float], start: float, end: float, *, logarithmic: bool = False, margin: float = 0.0) -> Axis:
    low, high = min(values), max(values)
    if logarithmic:
        low = max(low, high * DEEPEST)
        room = (high / low) ** margin
        return Axis(low / room, high * room, start, end, True)
    room = (high - low) * margin
    if high - low <= 1e-9 * max(abs(high), abs(low)):  # all the same
        room = abs(high) * 0.1 or 1.0
    return Axis(low - (room if low else 0.0), high + room, start, end)


def _extent(points: Sequence[Point]) -> list[float]:
    """What the y axis must show: every mean, and the band but for its outermost twentieth."""
    binned = _binned(points)
    least, greatest = sorted(low for _, _, low, _ in binned), sorted(high for _, _, _, high in binned)
    cut = len(binned) // 20
    return [mean for _, mean, _, _ in binned] + [least[cut], greatest[-1 - cut]]


def _binned(points: Sequence[Point]) -> list[tuple[float, float, float, float]]:
    """(x, mean, least, greatest) of at most BINS runs of points."""
    count = max(1, math.ceil(len(points) / BINS)) if len(points) > 2 * BINS else 1
    found = []
    for i in range(0, len(points), count):
        part = points[i : i + count]
        ys = [y for _, y in part]
        found.append((sum(x for x, _ in part) / len(part), sum(ys) / len(ys), min(ys), max(ys)))
    return found


def _line(series: Series, index: int, x: Axis, y: Axis) -> str:
    binned = _binned(series.points)
    line = [(x(a), y(mean)) for a, mean, _, _ in binned]
    dash = DASHES[index % len(DASHES)]
    parts = []
    if len(binned) < len(series.points):
        around = [(x(a), y(low)) for a, _, low, _ in binned]
        around += [(x(a), y(high)) for a, _, _, high in reversed(binned)]
        parts.append(f'<polygon class="s{index % 6} band" points="{_path(around)}"/>')
    style = f' stroke-dasharray="{dash}"' if dash else ""
    parts.append(f'<polyline class="s{index % 6} line" points="{_path(line)}"{style}/>')
    every = 1 if series.marked and len(line) <= 30 else max(1, len(line) // 7)
    for at in range(every // 2 if every > 1 else 0, len(line), every):
        told = f"{series.name}, step {binned[at][0]:,.0f}: {number(binned[at][1])}"
        parts.append(_marker(index, *line[at], told))
    return "".join(parts)


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _marker(index: int, a: float, b: float, title: str = "") -> str:
    """A circle, square, triangle, diamond, cross or plus: told apart without colour."""
    r = 3.4
    shapes = (
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{r}"',
        f'<rect x="{a - r:.1f}" y="{b - r:.1f}" width="{2 * r}" height="{2 * r}"',
        f'<path d="M{a:.1f} {b - 4:.1f}l4 7h-8z"',
        f'<path d="M{a:.1f} {b - 4.6:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z"',
        f'<path d="M{a - r:.1f} {b - r:.1f}l{2 * r} {2 * r}m0 -{2 * r}l-{2 * r} {2 * r}"',
        f'<path d="M{a:.1f} {b - 4.4:.1f}v8.8m-4.4 -4.4h8.8"',
    )
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'{shapes[index % 6]} class="s{index % 6} mark">{told}</{shapes[index % 6][1:].split()[0]}>'


def _star(a: float, b: float) -> str:
    corners = [
        (a + r * math.sin(math.pi * i / 5), b - r * math.cos(math.pi * i / 5)) for i, r in enumerate((9.0, 3.8) * 5)
    ]
    return f'<polygon class="star" points="{_path(corners)}"><title>best</title></polygon>'


def _grid(x: Axis, y: Axis) -> str:
    parts = []
    for tick in y.ticks():
        at = f"{y(tick):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{at}">{number(tick)}</text>')
    for tick in x.ticks():
        at = f"{x(tick):.1f}"
        parts.append(f'<path class="grid" d="M{at} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="x" x="{at}" y="{HEIGHT - BOTTOM + 17}">{_steps(tick)}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="x" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}">step</text>')
    return "".join(parts)


def _legend(series: Sequence[Series]) -> str:
    items = []
    for index, one in enumerate(series):
        dash = DASHES[index % len(DASHES)]
        style = f' stroke-dasharray="{dash}"' if dash else ""
        line = f'<path class="s{index % 6} line" d="M1 8H37"{style}/>{_marker(index, 19, 8)}'
        items.append(f'<li><svg viewBox="0 0 38 16" aria-hidden="true">{line}</svg>{escape(one.name)}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(digit * power for digit in (1.0, 2.0, 2.5, 5.0, 10.0) if digit * power >= rough * (1 - 1e-9))


def _steps(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def number(value: float) -> str:
    """A number for the eye: up to four significant digits, 1e-4 and smaller with a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}"
