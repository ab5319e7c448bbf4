"""Charts: the points lie where the axes say, and nothing of colour alone tells lines apart."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.report.chart import BINS, DASHES, HEIGHT, LEFT, RIGHT, WIDTH, Axis, Series, draw, number


def svg(html: str) -> ET.Element:
    return ET.fromstring(html)  # a figure: well-formed, or this raises


def lines(html: str) -> list[list[tuple[float, float]]]:
    found = [line.get("points", "") for line in svg(html).iter("polyline")]
    return [[tuple(map(float, pair.split(","))) for pair in line.split()] for line in found]  # type: ignore[misc]


def test_a_straight_line_is_straight_and_fills_the_width() -> None:
    (line,) = lines(draw("loss", [Series(name="a", points=[(0, 1.0), (50, 2.0), (100, 3.0)])]))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert (x0, x2) == (LEFT, WIDTH - RIGHT)
    assert x1 == pytest.approx((x0 + x2) / 2) and y1 == pytest.approx((y0 + y2) / 2, abs=0.1)
    assert y0 > y1 > y2, "more is higher up"


def test_a_wide_positive_range_is_logarithmic_and_says_so() -> None:
    html = draw("loss", [Series(name="a", points=[(1, 100.0), (2, 10.0), (3, 1.0), (4, 0.1)])])
    heights = [y for _, y in lines(html)[0]]
    assert heights[1] - heights[0] == pytest.approx(heights[3] - heights[2], abs=0.2)
    assert "logarithmic" in html
    assert "logarithmic" not in draw("loss", [Series(name="a", points=[(1, 100.0), (2, -1.0)])])


def test_many_points_become_means_with_a_band() -> None:
    points = [(i, float(i % 2)) for i in range(10 * BINS)]
    html = draw("loss", [Series(name="a", points=points)])
    (line,) = lines(html)
    assert len(line) == BINS and html.count("<polygon") == 1
    assert len({y for _, y in line}) == 1, "every bin has the mean 0.5"


def test_lines_differ_in_dashes_and_markers() -> None:
    series = [Series(name=f"run {i}", points=[(0, i), (1, i + 1)]) for i in range(6)]
    root = svg(draw("loss", series))
    dashes = [line.get("stroke-dasharray") or "" for line in root.iter("polyline")]
    assert dashes == list(DASHES) and len(set(DASHES)) == 6
    keys = root.find("ul")
    assert keys is not None and len({key[0][1].get("d") or key[0][1].tag for key in keys}) == 6


def test_names_are_escaped() -> None:
    html = draw("<b>", [Series(name="<i>&\"'", points=[(0, 1), (1, 2)]), Series(name="x", points=[(0, 1), (1, 2)])])
    assert "<b>" not in html and "<i>" not in html
    svg(html)


def test_too_few_points_draw_nothing() -> None:
    assert draw("loss", [Series(name="a", points=[(0, 1.0)]), Series(name="b", points=[])]) == ""


@given(
    st.lists(st.floats(-1e30, 1e30, allow_subnormal=False), min_size=2, max_size=40),
    st.booleans(),
)
def test_any_finite_numbers_stay_on_the_paper(values: list[float], zero: bool) -> None:
    html = draw("q", [Series(name="a", points=list(enumerate(values)))], zero=zero)
    for x, y in lines(html)[0]:
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT
    assert not re.search(r"nan|inf", html)


@given(st.floats(1e-20, 1e20), st.floats(1.0001, 1e12), st.booleans())
def test_ticks_are_few_and_within(low: float, factor: float, logarithmic: bool) -> None:
    ticks = Axis(low, low * factor, 0.0, 100.0, logarithmic and factor > 20).ticks()
    assert 1 <= len(ticks) <= 11
    unseen = 1e-6 * low * (factor - 1)
    assert all(low - unseen <= tick <= low * factor + unseen for tick in ticks)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1e-4, "1e-4"), (2.5e-05, "2.5e-5"), (0.12345, "0.1235"), (31.0, "31"), (2.5e6, "2.5e6")],
)
def test_numbers_for_the_eye(value: float, shown: str) -> None:
    assert number(value) == shown
