"""The look of plots: axes of error rates, labels that do not overlap, phases, and unchanged settings."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supernet.reporting.look import Mark, _apart, label, label_right, look, mark_phases, panels, rate_axis
from supernet.reporting.picture import picture


def ticks(rates: list[float], axis: str = "yaxis") -> list[str]:
    figure, ((axes,),) = panels(1, 1, (6, 4))
    rate_axis(getattr(axes, axis), rates)
    figure.draw_without_rendering()
    low, high = sorted(axes.get_ylim() if axis == "yaxis" else axes.get_xlim())
    inside = [tick for tick in getattr(axes, axis).get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1.get_text() for tick in inside]


def test_rates_of_different_magnitudes_have_a_logarithmic_axis() -> None:
    assert ticks([0.008, 0.02, 0.11, 1.0]) == ["1 %", "2 %", "5 %", "10 %", "20 %", "50 %", "100 %"]


def test_an_axis_with_a_rate_of_zero_begins_at_zero() -> None:
    assert ticks([0.0, 0.01, 0.9])[:2] == ["0 %", "1 %"]
    assert ticks([0.0, 0.0])[0] == "0 %"


def test_similar_rates_have_a_narrow_axis() -> None:
    found = [float(text.removesuffix(" %")) for text in ticks([0.021, 0.024])]
    assert 1.9 <= found[0] <= 2.1
    assert found[-1] <= 2.6
    assert len(found) >= 3


@settings(max_examples=15)
@given(st.lists(st.floats(0, 2), min_size=1, max_size=8), st.sampled_from(["xaxis", "yaxis"]))
@example([0.6015625, 0.603515625], "xaxis")
@example([0.01003, 0.01005], "yaxis")
def test_any_axis_has_a_few_distinct_ticks(rates: list[float], axis: str) -> None:
    found = ticks(rates, axis)
    assert len(set(found)) == len(found) <= 12
    assert all(text.endswith(" %") for text in found)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20).map(sorted), st.floats(0.01, 0.2))
def test_labels_keep_their_order_and_do_not_overlap(places: list[float], gap: float) -> None:
    found = _apart(places, gap)
    assert len(found) == len(places)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(found))
    if all(b - a >= gap for a, b in pairwise(places)):
        assert found == pytest.approx(places)


def drawn(text: str) -> list[str]:
    with look():
        figure, ((axes,),) = panels(1, 1, (4, 3))
        axes.plot([0, 1], [0, 1])
        axes.set_title(label(text))
        label_right(axes, [Mark(0.5, label(text))])
        mark_phases(axes, [(text, 0), ("next", 1), ("next", 2)])
        root = ElementTree.fromstring(picture(figure, "x", label(text)).svg)
    return ["".join(element.itertext()) for element in root.iter("text")]


NAMES = {
    "$x^{": "$x^{",
    "<b>&\"'": "<b>&\"'",
    "a\x1b[31m\ud800": r"a\x1b[31m\ud800",
    "\ufffe": "\ufffd",
    "％ 語": "％ 語",
}


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.filterwarnings("error")
def test_names_are_drawn_literally_with_visible_control_characters(text: str) -> None:
    assert drawn(text).count(NAMES[text]) == 2
    assert len(label("x" * 500)) == 40


def test_consecutive_phases_of_the_same_name_are_merged() -> None:
    with look():
        _, ((axes,),) = panels(1, 1, (4, 3))
        axes.set_xlim(0, 100)
        mark_phases(axes, [("zero-out", 0), ("zero-out", 10), ("joint", 30), ("late", 100)])
    assert [text.get_text() for text in axes.texts] == ["▸zero-out", "▸joint"]
    assert len(axes.lines) == 1


def test_matplotlibs_settings_are_restored() -> None:
    before: dict[Any, Any] = dict(matplotlib.rcParams)
    with look():
        assert matplotlib.rcParams["text.parse_math"] is False
    assert dict(matplotlib.rcParams) == before
