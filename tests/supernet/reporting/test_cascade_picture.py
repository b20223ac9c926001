"""The picture of a cascade has a panel for each kind of cost."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree

from supernet.reporting.cascade_picture import COSTS, draw_cascade
from supernet.scoring.cascades import Point


def point(threshold: float, rate: float, macs: float, milliseconds: float, *shares: float) -> Point:
    return Point(threshold, 0, rate, macs, milliseconds, shares)


def test_error_rates_are_drawn_against_macs_and_against_time() -> None:
    sizes = {"6": point(0.0, 0.0839, 0.5e9, 4.0, 1.0), "12": point(0.0, 0.0203, 1e9, 9.0, 1.0)}
    curve = [point(0.0, 0.0839, 0.5e9, 4.0, 1.0, 0.0), point(0.8, 0.0312, 0.8e9, 7.5, 0.4, 0.6)]
    drawn = draw_cascade("6,12, test", "wer", curve, curve[1], sizes)
    found = Counter("".join(text.itertext()) for text in ElementTree.fromstring(drawn.svg).iter("text"))
    assert [found[name] for name in COSTS] == [1, 1]
    assert [name for name in COSTS if "MACs" in name or "time" in name] == [*COSTS]
    for label in ("6 units: 8.39 %", "12 units: 2.03 %", "cascade: 3.12 %", "WER"):
        assert found[label] == 2, "once in each panel"
    assert drawn.png.startswith(b"\x89PNG")


def test_each_panel_shows_its_own_cost() -> None:
    macs, time = COSTS.values()
    assert (macs(point(0.8, 0.1, 0.8e9, 7.5)), time(point(0.8, 0.1, 0.8e9, 7.5))) == (0.8, 7.5)
