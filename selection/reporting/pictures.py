"""The pictures of a comparison: what is kept, and losses and error rates against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from selection.budget import SCALES
from selection.comparison import Comparison, Contest, Row
from selection.reporting.unit_pictures import name_units, png, similarity_maps, unit_facts

LEARNED = "learned"
"""The strategy that takes the scores from training: what the others are there to question."""
MANY = 24
"""More units than this need thin labels, and panels below each other."""
DROPPED, KEPT, ELSE = "#e9edf2", "#2f6db3", "#e8963a"
COLOURS = [*(f"C{i}" for i in range(10)), "navy", "gold", "darkgreen", "maroon"]
MARKERS = "osD^vP<>X"
"""Fewer than colours, so that both together are distinct for many strategies."""
AXES = {
    "macs": ("MACs for {seconds:g} s of audio (G)", SCALES["g"]),
    "params": ("parameters (M)", SCALES["m"]),
    "latency": ("latency for {seconds:g} s of audio (ms)", SCALES["ms"]),
}
"""By quantity, the label of its axis and the unit in which it is shown."""


def draw_all(comparison: Comparison) -> dict[str, bytes]:
    """All pictures that there is data for, as PNG by name."""
    pictures = {}
    contests = [contest for contest in comparison.contests if is_open(contest, comparison.units)]
    if contests:
        pictures["kept"] = kept_grids(contests, comparison.units)
        pictures |= {f"against-{q}": trade_offs(comparison, q) for q in quantities(contests)}
    if comparison.facts:
        pictures["facts"] = unit_facts(comparison.facts, kept_by_best(contests))
    if comparison.similarities:
        pictures["similarities"] = similarity_maps(comparison.similarities, comparison.units)
    return pictures


def is_open(contest: Contest, units: Sequence[str]) -> bool:
    """Whether there is a choice to make, which the full net's budget does not leave."""
    return len(contest.rows) > 1 or set(contest.rows[0].kept) != set(units)


def quantities(contests: Sequence[Contest]) -> list[str]:
    """What costs can be drawn in: the quantities that are known of every choice."""
    rows = [row for contest in contests for row in contest.rows]
    return [name for name in AXES if rows and all(name in row.costs for row in rows)]


def kept_by_best(contests: Sequence[Contest]) -> dict[str, float]:
    """By unit, for which share of the budgets the yardstick keeps it."""
    best = [row.kept for contest in contests for row in contest.rows if row.strategy == contest.yardstick]
    return {
        unit: sum(unit in kept for kept in best) / len(best) for unit in {u for kept in best for u in kept}
    }


def alike_together(contest: Contest) -> list[list[Row]]:
    """The rows by what they keep; the groups and the rows in each by loss, the yardstick first."""
    groups: dict[frozenset[str], list[Row]] = {}
    for row in sorted(contest.rows, key=lambda row: (row.strategy != contest.yardstick, row.loss)):
        groups.setdefault(frozenset(row.kept), []).append(row)
    return list(groups.values())


def kept_grids(contests: Sequence[Contest], units: Sequence[str]) -> bytes:
    """A panel for each budget: strategies in rows, units in columns."""
    columns = 1 if len(units) > MANY else min(3, len(contests))
    lines, most = math.ceil(len(contests) / columns), max(len(contest.rows) for contest in contests)
    size = (columns * (1.8 + (0.25 if len(units) <= MANY else 0.2) * len(units)), lines * (1 + 0.23 * most))
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(contests) :]:
        axis.set_visible(False)
    for contest, axis in zip(contests, axes.flat, strict=False):
        _draw_grid(axis, contest, units)
    keys = {"kept": KEPT, "kept, but not by the best choice": ELSE, "dropped": DROPPED}
    handles = [Patch(color=colour, label=label) for label, colour in keys.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return png(figure)


def _draw_grid(axes: Any, contest: Contest, units: Sequence[str]) -> None:
    groups = alike_together(contest)
    rows, best = [row for group in groups for row in group], set(groups[0][0].kept)
    cells = [[(u in row.kept) * (1 if u in best else 2) for u in units] for row in rows]
    colours = ListedColormap([DROPPED, KEPT, ELSE])
    axes.pcolormesh(np.array(cells), cmap=colours, vmin=0, vmax=2, edgecolors="white", linewidth=1.5)
    for end in np.cumsum([len(group) for group in groups])[:-1]:
        axes.axhline(end, color="black", linewidth=0.7)
    names = [f"★ {row.strategy}" if row.strategy == contest.yardstick else row.strategy for row in rows]
    axes.set_yticks(np.arange(len(rows)) + 0.5, names, fontsize=9)
    name_units(axes, units)
    axes.set_title(f"budget {contest.budget}", fontsize=10)
    axes.tick_params(length=0)
    axes.invert_yaxis()


def trade_offs(comparison: Comparison, quantity: str = "macs") -> bytes:
    """Validation loss and test error rate against cost, all strategies in one picture."""
    contests = [contest for contest in comparison.contests if is_open(contest, comparison.units)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
    label, scale = AXES[quantity]
    costs = [row.costs[quantity] / scale for contest in contests for row in contest.rows]
    width = 0.1 * ((max(costs) - min(costs)) or costs[0])
    _draw_spreads(left, contests, quantity, width)
    names = list(
        dict.fromkeys(row.strategy for c in contests for group in alike_together(c) for row in group)
    )
    for i, name in enumerate(names):
        rows = [row for contest in contests for row in contest.rows if row.strategy == name]
        aside = width * (i + 0.5 - len(names) / 2) / len(names)
        _draw_strategy(
            left, right, rows, [row.costs[quantity] / scale + aside for row in rows], _look(name, i)
        )
    _draw_full(left, right, comparison, quantity)
    for axes, what in (
        (left, "validation loss per frame"),
        (right, f"test {comparison.measure.upper()}, 95 % bars"),
    ):
        axes.set(xlabel=label.format(seconds=comparison.seconds_of_audio), ylabel=what)
        axes.grid(alpha=0.3)
    _fit_scales(left, right, comparison)
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    return png(figure)


def _look(name: str, i: int) -> dict[str, Any]:
    if name == LEARNED:
        return {
            "label": name,
            "color": "black",
            "marker": "*",
            "markersize": 11,
            "linewidth": 1.8,
            "zorder": 5,
        }
    look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
    return {"label": name, "markersize": 5.5, "linewidth": 1, "zorder": 4, **look}


def _draw_strategy(left: Any, right: Any, rows: list[Row], costs: list[float], look: dict[str, Any]) -> None:
    order = np.argsort(costs)
    rows, costs = [rows[i] for i in order], [costs[i] for i in order]
    left.plot(costs, [row.loss for row in rows], alpha=0.9, **look)
    low = [max(0.0, row.rate - row.rate_ci95[0]) for row in rows]
    high = [max(0.0, row.rate_ci95[1] - row.rate) for row in rows]
    right.errorbar(costs, [row.rate for row in rows], yerr=[low, high], alpha=0.9, elinewidth=0.8, **look)


def _draw_spreads(axes: Any, contests: Sequence[Contest], quantity: str, width: float) -> None:
    """Behind the choices for an exact budget: range, quartiles and median of all its subnets."""
    label, scale = "all subnets: range,\nquartiles and median", AXES[quantity][1]
    for contest in contests:
        if len(contest.spread) != 5:
            continue
        low, first, median, third, high = contest.spread
        middle = float(np.mean([row.costs[quantity] for row in contest.rows])) / scale
        half, look = 0.5 * width, {"color": "#9aa3ad", "zorder": 1}
        box = (middle - half, first), 2 * half, third - first
        axes.add_patch(Rectangle(*box, facecolor="#d5dae0", edgecolor="none", zorder=0.5, label=label))
        axes.vlines(middle, low, high, linewidth=1, **look)
        axes.hlines([low, median, high], middle - half, middle + half, linewidth=1, **look)
        label = "_nolegend_"


def _draw_full(left: Any, right: Any, comparison: Comparison, quantity: str) -> None:
    """The full net: a level and a point."""
    look = {"color": "#444444", "linestyle": ":", "linewidth": 1, "label": "full net"}
    left.axhline(comparison.full_loss, **look)
    right.axhline(comparison.full_rate, **look)
    x = comparison.full_costs[quantity] / AXES[quantity][1]
    left.scatter(x, comparison.full_loss, marker="s", color="#444444", zorder=6)
    right.scatter(x, comparison.full_rate, marker="s", color="#444444", zorder=6)


def _fit_scales(left: Any, right: Any, comparison: Comparison) -> None:
    rows = [row for contest in comparison.contests for row in contest.rows]
    losses = [row.loss for row in rows] + [x for contest in comparison.contests for x in contest.spread]
    fit_scale(left, [*losses, comparison.full_loss], FuncFormatter(lambda x, _: f"{x:g}"))
    fit_scale(right, [end for row in rows for end in (*row.rate_ci95, row.rate)], PercentFormatter(1.0))


def fit_scale(axes: Any, values: Sequence[float], formatter: Any) -> None:
    """Logarithmic where some values are many times the others."""
    if min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(formatter)
