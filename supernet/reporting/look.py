"""The style of all pictures: colors, markers, axes of error rates, and labels beside curves.

A filled circle is a choice or a size, ★ the best choice, ■ the full network; each size has the same color in
all pictures of a run.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from supernet.text.plain import plain

INK, SOFT, LINE, BACK = "#1c2530", "#5c6875", "#d9dfe6", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b8619a", "#b07d00", "#3a9bd9")
"""Colors distinguishable with color blindness (after Okabe and Ito), dark enough for lines on white."""
BEST, CHOICE, FULL = "*", "o", "s"
"""The markers of the best choice, of any other one, and of the full network."""
_MIN_END = 1e-4
"""The least upper end of an axis of rates."""
LONGEST = 40
"""Most characters of a name in a picture."""
_NO_XML = dict.fromkeys((0xFFFE, 0xFFFF), "\ufffd")
_STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names may contain dollar signs
    "text.usetex": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "supernet",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "white",
    "hatch.color": SOFT,
    "hatch.linewidth": 0.6,
}


@contextlib.contextmanager
def look() -> Iterator[None]:
    """Draw in the project's style; the caller's settings of matplotlib are restored afterwards."""
    with matplotlib.rc_context(_STYLE):
        yield


def panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, Any]:
    """A figure of ``size`` in inches and its axes (rows, columns), without a window or global state."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def label(name: object) -> str:
    """A name from a file for use in a picture: on one line, without control characters, and shortened."""
    text = plain(str(name)).translate(_NO_XML)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def size_colors(sizes: Iterable[str]) -> dict[str, str]:
    """By size or budget, which come the smallest first."""
    return dict(zip(sizes, itertools.cycle(SERIES), strict=False))


def percent(share: float) -> str:
    """``0.5 %``, with up to three significant digits."""
    return f"{100 * share:.3g} %"


def number(value: float) -> str:
    """``0.031`` or ``31,000``."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def rate_axis(axis: Any, rates: Iterable[float]) -> None:
    """Make ``axes.xaxis`` or ``axes.yaxis`` an axis of error rates in percent.

    It is logarithmic if the rates differ much, with 0 at its end if it occurs, and otherwise linear and
    limited to the rates.
    """
    known = [rate for rate in rates if math.isfinite(rate)]
    high = max([_MIN_END, *known])
    known = sorted(rate if rate > high / 1e4 else 0.0 for rate in known)  # invisibly small rates count as 0
    positive = [rate for rate in known if rate > 0]
    low = positive[0] if positive else high
    if positive and (high > 3 * low or known[0] <= 0):
        if known[0] <= 0:
            _scale(axis, "symlog", linthresh=low, linscale=0.5)
            _limit(axis, -0.15 * low, high * 1.25)
        else:
            _scale(axis, "log")
            _limit(axis, low / 1.2, high * 1.2)
        _set_ticks(axis, _round_values(low, high, _most_ticks(axis)) + [0.0] * (known[0] <= 0))
    else:
        margin = max(0.15 * (high - low), 0.05 * high)  # for labels of three digits to differ
        _limit(axis, max(0.0, low - margin) if positive else 0.0, high + margin)
    axis.set_major_formatter(FuncFormatter(lambda rate, _: percent(rate)))


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Round numbers from ``low`` to ``high``, as many as possible up to ``most``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        values = [value for value in values if low / 1.2 <= value <= high * 1.2]
        found = values if not found or len(values) <= most else found
    return found


def _scale(axis: Any, *arguments: Any, **options: Any) -> None:
    axes = axis.axes
    (axes.set_xscale if axis.axis_name == "x" else axes.set_yscale)(*arguments, **options)


def _limit(axis: Any, low: float, high: float) -> None:
    axes = axis.axes
    (axes.set_xlim if axis.axis_name == "x" else axes.set_ylim)(low, high)


def _set_ticks(axis: Any, ticks: Sequence[float]) -> None:
    axis.set_major_locator(FixedLocator(sorted(ticks)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def value_axis(axis: Any, values: Iterable[float]) -> None:
    """Make ``axis`` an axis of losses, logarithmic if they differ much, with plain numbers at ticks."""
    known = [value for value in values if math.isfinite(value)]
    positive = sorted(value for value in known if value > max(known) / 1e6 and value > 0)
    if positive and positive[-1] > 2.5 * positive[0]:
        low, high = positive[0], positive[-1]
        _scale(axis, "log")
        _limit(axis, low / 1.2, high * 1.2)
        _set_ticks(axis, _round_values(low, high, _most_ticks(axis)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _most_ticks(axis: Any) -> int:
    return 5 if axis.axis_name == "x" else 8


@dataclass(frozen=True)
class Mark:
    """A label at the height ``y`` of an axes."""

    y: float
    text: str
    color: str = INK


def label_right(axes: Any, marks: Sequence[Mark], height: float = 4.0, size: float = 9.0) -> None:
    """Draw labels at the right edge, each at its height or as near as possible without overlap.

    Args:
        axes: The axes, with final limits.
        marks: The labels.
        height: The approximate height of the axes in inches.
        size: The font size in points.
    """
    gap = 1.25 * size / 72 / height
    places = [_fraction(axes, mark.y) for mark in marks]
    order = sorted(range(len(marks)), key=lambda i: places[i])
    for i, place in zip(order, _apart([places[i] for i in order], gap), strict=True):
        look = {"color": marks[i].color, "clip_on": False, "transform": axes.transAxes, "linewidth": 0.8}
        axes.plot([1.0, 1.02], [places[i], place], alpha=0.6, **look)
        axes.text(
            1.03, place, marks[i].text, color=marks[i].color, va="center", fontsize=size,
            transform=axes.transAxes,
        )  # fmt: skip


def _fraction(axes: Any, y: float) -> float:
    x = axes.get_xlim()[0]
    place = float(axes.transLimits.transform(axes.transScale.transform((x, y)))[1])
    return min(1.0, max(0.0, place))


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as possible so that they are at least ``gap`` apart."""
    groups: list[list[float]] = []  # of each, the sum of its places and their number
    for place in places:
        groups.append([place, 1.0])
        while len(groups) > 1 and _end(groups[-2], gap) > _start(groups[-1], gap):
            total, count = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + count]
    return [_start(group, gap) + (i + 0.5) * gap for group in groups for i in range(int(group[1]))]


def _start(group: Sequence[float], gap: float) -> float:
    return group[0] / group[1] - group[1] * gap / 2


def _end(group: Sequence[float], gap: float) -> float:
    return group[0] / group[1] + group[1] * gap / 2


def mark_phases(axes: Any, phases: Sequence[tuple[str, int]], *, named: bool = True) -> None:
    """Draw a line at the start of each phase and its name above the axes; joins phases of the same name."""
    first, last = axes.get_xlim()
    starts = [(name, start) for i, (name, start) in enumerate(phases) if not i or phases[i - 1][0] != name]
    shown = [(name, max(start, first)) for name, start in starts if start < last]
    ends = [0.0] * 4  # the end of each line of names
    for i, (name, start) in enumerate(shown):
        if i:
            axes.axvline(start, color=SOFT, linestyle=(0, (4, 3)), linewidth=0.8)
        if not named:
            continue
        place = (start - first) / ((last - first) or 1)
        line = next((k for k, end in enumerate(ends) if end <= place), len(ends) - 1)
        ends[line] = place + 0.016 * (len(label(name)) + 2)
        axes.text(
            place, 1.01 + 0.055 * line, f"▸{label(name)}", transform=axes.transAxes, fontsize=8, color=SOFT
        )
