"""The picture of a cascade: error rates against average cost for all thresholds, beside the sizes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from supernet.budget import budget_label
from supernet.network.model_costs import MACS_SECONDS
from supernet.reporting.look import BEST, INK, SOFT, label, look, panels, percent, rate_axis, size_colors
from supernet.reporting.picture import Picture, picture
from supernet.scoring.cascades import Point
from supernet.scoring.error_rates import Measure

COSTS: dict[str, Callable[[Point], float]] = {
    f"average MACs for {MACS_SECONDS:g} s of audio (G)": lambda p: p.macs / 1e9,
    f"average time for {MACS_SECONDS:g} s of audio (ms)": lambda p: p.milliseconds,
}
"""The cost of a point in each panel, by the label of its axis."""


def draw_cascade(
    title: str, measure: Measure, curve: Sequence[Point], chosen: Point, sizes: Mapping[str, Point]
) -> Picture:
    """Plot a cascade, against MACs and against the time on this machine.

    Args:
        title: The cascade and the split.
        measure: The error rate.
        curve: All thresholds, from the first size alone to all sizes.
        chosen: The threshold that is used.
        sizes: Each size alone.
    """
    with look():
        figure, (row,) = panels(1, len(COSTS), (11.5, 3.8))
        for axes, (name, cost) in zip(row, COSTS.items(), strict=True):
            _draw(axes, cost, curve, chosen, sizes)
            axes.set_xlabel(name)
            axes.set_ylabel(measure.upper())
        row[0].set_title(label(f"{measure.upper()} of all thresholds: {title}"))
        return picture(figure, "cascade", f"{measure.upper()} against average MACs and time: {title}")


def _draw(
    axes: Any,
    cost: Callable[[Point], float],
    curve: Sequence[Point],
    chosen: Point,
    sizes: Mapping[str, Point],
) -> None:
    costs, rates = [cost(p) for p in curve], [p.rate for p in curve]
    axes.plot(costs, rates, color=SOFT, linewidth=1.2, drawstyle="steps-post", zorder=1)
    for (name, p), color in zip(sizes.items(), size_colors(sizes).values(), strict=True):
        axes.plot([cost(p)], [p.rate], "o", color=color, markersize=8)
        words = f"{budget_label(name)}: {percent(p.rate)}"
        axes.annotate(words, (cost(p), p.rate), (6, 6), textcoords="offset points", color=color)
    axes.plot([cost(chosen)], [chosen.rate], BEST, color=INK, markersize=13, zorder=3)
    words, place = f"cascade: {percent(chosen.rate)}", (cost(chosen), chosen.rate)
    axes.annotate(words, place, (-4, -8), textcoords="offset points", ha="right", va="top")
    rate_axis(axes.yaxis, [*rates, *(p.rate for p in sizes.values())])
    axes.set_xlim(0, 1.3 * max([*costs, *(cost(p) for p in sizes.values())]))
