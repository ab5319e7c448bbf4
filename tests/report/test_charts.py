"""Charts: points lie where the axes say, lines differ without colour, any finite number is drawn."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.report.charts import DASHES, MAX_BINS, binned, draw

XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'


def svg(text: str) -> ET.Element:
    return ET.fromstring(text.replace("<svg ", f"<svg {XLINK} ", 1))  # well-formed, or this raises


def lines(text: str) -> list[list[tuple[float, float]]]:
    """Pixels of the points of each plotted line."""
    groups = [group for group in svg(text).iter("g") if re.fullmatch(r"line2d_\d+", group.get("id", ""))]
    paths = [path.get("d", "") for group in groups for path in group.findall("path") if path.get("clip-path")]
    points = [[tuple(map(float, pair)) for pair in re.findall(r"[ML] (\S+) (\S+)", path)] for path in paths]
    return [line for line in points if len({x for x, _ in line}) > 1 and len({y for _, y in line}) > 1]


def test_straight_line_is_straight():
    (line,) = lines(draw({"a": [(0, 1.0), (30, 1.6), (100, 3.0)]}))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.3) and (y1 - y0) / (y2 - y0) == pytest.approx(0.3)
    assert x2 > x0 + 200 and y0 > y1 > y2 + 50, "more is higher up"


def test_wide_positive_range_is_logarithmic():
    text = draw({"a": [(1, 100.0), (2, 10.0), (3, 1.0), (4, 0.1)]}, note="dB")
    heights = [y for _, y in lines(text)[0]]
    assert np.diff(heights) == pytest.approx(heights[1] - heights[0])
    assert "dB, logarithmic" in text
    assert "logarithmic" not in draw({"a": [(1, 100.0), (2, -1.0)]})


def test_many_points_become_means_with_a_band():
    points = [(i, float(i % 2)) for i in range(10 * MAX_BINS)]
    x, mean, low, high = binned(points)
    assert x.shape == (MAX_BINS,) and set(mean) == {0.5} and set(low) == {0.0} and set(high) == {1.0}
    assert "FillBetween" in draw({"a": points})
    assert np.array_equal(binned(points[:50])[1], [y for _, y in points[:50]])


def test_lines_differ_in_dashes_and_markers():
    text = draw({f"run {i}": [(0, i), (1, i + 1)] for i in range(6)})
    markers = re.findall(r'<use xlink:href="#(m\w+)"[^>]*style="fill: #ffffff', text)
    assert len(set(markers)) == len(DASHES) == 6
    assert len(set(re.findall(r"stroke-dasharray: ([\d., ]+)", text))) == 5, "five, and the solid line"


def test_names_are_text():
    points = [(0, 1.0), (1, 2.0)]
    text = draw({"<i>&\"'$x$": points, "_run\n": points})
    found = [element.text or "" for element in svg(text).iter("text")]
    assert any("<i>&\"'$x$" in one for one in found) and any(one.endswith("_run\\n") for one in found)


def test_same_numbers_give_the_same_bytes_and_too_few_nothing():
    series = {name: [(0, 1.0), (1, 2.0)] for name in "ab"}
    assert draw(series) == draw(series)
    assert draw({"a": [(0, 1.0)], "b": []}) == ""


@settings(max_examples=15)
@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=20), st.booleans())
def test_any_finite_number_is_drawn(values, zero):
    text = draw({"a": list(enumerate(values))}, zero=zero)
    svg(text)
    assert not re.search(r"\b(nan|inf)\b", text)
