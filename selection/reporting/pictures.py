"""Pictures of a comparison: the units that each strategy keeps, how good the choices are, and their costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from selection.comparing.comparison import Comparison, Contest, Row
from selection.reporting.unit_pictures import similarity_maps, unit_facts
from supernet.budget import SCALES
from supernet.reporting.look import (
    BEST,
    CHOICE,
    FULL,
    INK,
    LINE,
    SERIES,
    SOFT,
    Mark,
    label,
    label_right,
    look,
    panels,
    rate_axis,
    value_axis,
)
from supernet.reporting.picture import Picture, picture
from supernet.reporting.pictures import name_units

LEARNED = "learned"
"""The strategy by the scores from training, which the others put to the test."""
BLUE, ORANGE = SERIES[:2]
AXES = {
    "macs": ("MACs for {seconds:g} s of audio (G)", SCALES["g"]),
    "params": ("parameters (M)", SCALES["m"]),
    "latency": ("latency for {seconds:g} s of audio (ms)", SCALES["ms"]),
}
"""Axis label and scale by quantity."""


def draw_all(comparison: Comparison) -> dict[str, Picture]:
    """Draw all pictures for which there is data, by name; ``choices-1`` is for the first budget."""
    drawn: dict[str, Picture] = {}
    contests = [contest for contest in comparison.contests if is_open(contest, comparison.units)]
    with look():
        for i, contest in enumerate(comparison.contests):
            if contest in contests:
                drawn[f"choices-{i + 1}"] = choices(comparison, contest, f"choices-{i + 1}")
        for quantity in quantities(contests):
            drawn[f"against-{quantity}"] = trade_offs(comparison, contests, quantity)
        if comparison.facts:
            drawn["facts"] = unit_facts(comparison.facts, kept_by_best(contests))
        if comparison.similarities:
            drawn["similarities"] = similarity_maps(comparison.similarities, comparison.units)
    return drawn


def is_open(contest: Contest, units: Sequence[str]) -> bool:
    """Whether there is a choice to make, which is not so for a budget that the full network meets."""
    return len(contest.rows) > 1 or set(contest.rows[0].kept) != set(units)


def quantities(contests: Sequence[Contest]) -> list[str]:
    """The quantities that are known for every choice, and so can be an axis of costs."""
    rows = [row for contest in contests for row in contest.rows]
    return [name for name in AXES if rows and all(name in row.costs for row in rows)]


def kept_by_best(contests: Sequence[Contest]) -> dict[str, float]:
    """For each unit, the share of budgets whose yardstick keeps it."""
    best = [row.kept for contest in contests for row in contest.rows if row.strategy == contest.yardstick]
    return {
        unit: sum(unit in kept for kept in best) / len(best) for unit in {u for kept in best for u in kept}
    }


def alike_together(contest: Contest) -> list[list[Row]]:
    """Rows grouped by the units that they keep, ordered by loss, the yardstick first."""
    groups: dict[frozenset[str], list[Row]] = {}
    for row in sorted(contest.rows, key=lambda row: (row.strategy != contest.yardstick, row.loss)):
        groups.setdefault(frozenset(row.kept), []).append(row)
    return list(groups.values())


def choices(comparison: Comparison, contest: Contest, name: str) -> Picture:
    """A row per strategy: the units that it keeps, its validation loss and its test error rate."""
    groups, units = alike_together(contest), comparison.units
    rows = [row for group in groups for row in group]
    wide = 0.24 if len(units) <= 24 else 0.15
    size = (1.6 + wide * len(units) + 2 * 2.6, 1.5 + 0.25 * len(rows))
    figure, ((kept, loss, wer),) = panels(
        1, 3, size, sharey=True, width_ratios=[max(1.2, wide * len(units)), 2.6, 2.6]
    )
    _draw_kept(kept, rows, set(groups[0][0].kept), units)
    kept.set_yticks(range(len(rows)), [_named(row, contest) for row in rows], fontsize=9)
    _draw_losses(loss, rows, contest, comparison.full_loss)
    _draw_rates(wer, rows, contest, comparison.full_rate)
    for axes in (kept, loss, wer):
        for end in np.cumsum([len(group) for group in groups])[:-1]:
            axes.axhline(end - 0.5, color=SOFT, linewidth=0.6)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    return picture(
        figure,
        name,
        f"Units kept by each strategy for the budget {label(contest.budget)}, and how good the choices are",
    )


def _named(row: Row, contest: Contest) -> str:
    return f"{'★ ' if row.strategy == contest.yardstick else ''}{label(row.strategy)}"


def _draw_kept(axes: Any, rows: Sequence[Row], best: set[str], units: Sequence[str]) -> None:
    for y, row in enumerate(rows):
        mine = set(row.kept)
        for x, unit in enumerate(units):
            color = (BLUE if unit in best else ORANGE) if unit in mine else None
            look: dict[str, Any] = {
                "facecolor": color or "none",
                "edgecolor": color or LINE,
                "linewidth": 0.8,
            }
            axes.add_patch(Rectangle((x - 0.38, y - 0.38), 0.76, 0.76, **look))
    name_units(axes, units)
    axes.set_xlim(-0.6, len(units) - 0.4)
    axes.set_xlabel("unit")
    axes.set_title("Kept (orange: not by ★)", fontsize=10)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _draw_losses(axes: Any, rows: Sequence[Row], contest: Contest, full: float) -> None:
    """Draw losses; where all subnets were scored, their quartiles and median in the background."""
    losses = [row.loss for row in rows]
    if len(contest.spread) == 5:
        low, first, median, third, _ = contest.spread
        axes.axvspan(first, third, color=LINE, alpha=0.7, linewidth=0)
        axes.axvline(median, color=SOFT, linewidth=1)
        losses += [low, third]
    for y, row in enumerate(rows):
        _point(axes, row.loss, y, row, contest)
    axes.axvline(full, color=INK, linewidth=1, linestyle=":")
    value_axis(axes.xaxis, [*losses, full])
    axes.set_xlabel("validation loss per frame")
    axes.set_title("Loss (gray: half of all subnets)" if contest.spread else "Loss", fontsize=10)


def _draw_rates(axes: Any, rows: Sequence[Row], contest: Contest, full: float) -> None:
    for y, row in enumerate(rows):
        low, high = row.rate_ci95
        axes.plot([low, high], [y, y], color=_color(row, contest), linewidth=1.4)
        _point(axes, row.rate, y, row, contest)
    axes.axvline(full, color=INK, linewidth=1, linestyle=":")
    rate_axis(axes.xaxis, [full, *(rate for row in rows for rate in (row.rate, *row.rate_ci95))])
    axes.set_xlabel(f"test {contest.measure.upper()} (95 % interval)")
    axes.set_title(f"{contest.measure.upper()} (dotted: full network)", fontsize=10)


def _point(axes: Any, x: float, y: float, row: Row, contest: Contest) -> None:
    best = row.strategy == contest.yardstick
    axes.plot([x], [y], BEST if best else CHOICE, color=_color(row, contest), markersize=11 if best else 6)


def _color(row: Row, contest: Contest) -> str:
    """Blue for rows that keep the same units as the best choice."""
    best = next(other for other in contest.rows if other.strategy == contest.yardstick)
    return BLUE if set(row.kept) == set(best.kept) else ORANGE


def trade_offs(comparison: Comparison, contests: Sequence[Contest], quantity: str) -> Picture:
    """Validation loss and test error rate against cost: the best choices, the learned ones, all others."""
    (name, scale), rows = AXES[quantity], [row for contest in contests for row in contest.rows]
    figure, ((left, right),) = panels(1, 2, (11.0, 4.2))
    best = [row for contest in contests for row in contest.rows if row.strategy == contest.yardstick]
    learned = [row for row in rows if row.strategy == LEARNED]
    full, measure = comparison.full_costs[quantity] / scale, comparison.measure.upper()
    losses, rates = (
        [*(row.loss for row in rows), comparison.full_loss],
        [*(row.rate for row in rows), comparison.full_rate],
    )
    value_axis(left.yaxis, losses)
    rate_axis(right.yaxis, rates)
    for axes, what, level in ((left, "loss", comparison.full_loss), (right, "rate", comparison.full_rate)):
        axes.plot([row.costs[quantity] / scale for row in rows], [getattr(row, what) for row in rows],
                  CHOICE, color=SOFT, markersize=4, alpha=0.6)  # fmt: skip
        axes.plot([full], [level], FULL, color=INK, markersize=7)
        axes.set_xlabel(name.format(seconds=comparison.seconds_of_audio))
        marks = [Mark(level, "■ full network", INK)]
        for some, marker, color, text in (
            (learned, CHOICE, ORANGE, "● learned scores"),
            (best, BEST, BLUE, "★ best choices"),
        ):
            marks += _draw_some(axes, some, quantity, scale, what, (marker, color, text))
        axes.margins(x=0.06)
        label_right(axes, marks, height=3.4)
    left.set(ylabel="validation loss per frame", title="Validation loss against cost")
    right.set(ylabel=f"test {measure}", title=f"Test {measure} against cost")
    return picture(
        figure, f"against-{quantity}", f"Validation loss and test {measure} of all choices against {quantity}"
    )


def _draw_some(
    axes: Any, rows: Sequence[Row], quantity: str, scale: float, what: str, drawn: tuple[str, str, str]
) -> list[Mark]:
    marker, color, text = drawn
    if not rows:
        return []
    points = sorted((row.costs[quantity] / scale, getattr(row, what)) for row in rows)
    x, y = zip(*points, strict=True)
    axes.plot(x, y, marker=marker, color=color, linewidth=1.4, markersize=11 if marker == BEST else 6)
    return [Mark(y[-1], text, color)]
