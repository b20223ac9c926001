"""The pictures of a run: error rates against cost, kept units, learning curves, scores and gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle

from supernet.budget import budget_label
from supernet.network.model_costs import MACS_SECONDS
from supernet.reporting.look import (
    INK,
    SOFT,
    Mark,
    label,
    label_right,
    look,
    mark_phases,
    panels,
    percent,
    rate_axis,
    size_colors,
    value_axis,
)
from supernet.reporting.picture import Picture, picture
from supernet.reporting.trained import Curve, curves_of, phases_of, scores_of
from supernet.runs.records import ResultsRecord, ScoresRecord
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure
from supernet.units import Subnet

Phases = Sequence[tuple[str, int]]
MOST_ON_AXIS = 60
"""The number of units up to which an axis has the name of each."""
MOST_NAMED = 16
"""The most units whose curves are labeled."""


def draw_all(run: Run, results: ResultsRecord, units: Sequence[str]) -> dict[str, Picture]:
    """The pictures of a run, by name, as far as it has data; ``units`` are all units of the supernet."""
    subnets, lines, rate = run.subnets(), scores_of(run), results.measures[0]
    phases = phases_of(results, lines)
    drawn: dict[str, Picture | None] = {}
    with look():
        drawn["sizes"] = _draw_sizes(results)
        drawn["kept"] = _draw_kept(subnets, units)
        drawn["wer"] = _draw_errors(curves_of(run, "valid", f"{rate}/", results.by_size), rate, phases)
        drawn["loss"] = _draw_loss(curves_of(run, "train", "ctc/", results.by_size), phases)
        drawn["scores"] = _draw_scores(lines, subnets, units, phases)
    return {name: found for name, found in drawn.items() if found is not None}


def _draw_sizes(results: ResultsRecord) -> Picture:
    """Plot error rates with their 95 % intervals against cost, a point per size."""
    rows, rate = sorted(results.by_size.items(), key=lambda item: item[1].macs), results.measures[0]
    colors = size_colors(results.by_size)
    figure, ((axes,),) = panels(1, 1, (6.6, 3.8))
    macs, rates = [row.macs / 1e9 for _, row in rows], [row.rate(rate) for _, row in rows]
    ends = [row.interval(rate) for _, row in rows]
    axes.plot(macs, rates, color=SOFT, linewidth=1, zorder=1)
    for (size, _), x, y, (low, high) in zip(rows, macs, rates, ends, strict=True):
        look = {"color": colors[size], "fmt": "o", "markersize": 8, "capsize": 4}
        axes.errorbar([x], [y], yerr=[[max(0.0, y - low)], [max(0.0, high - y)]], **look)
        axes.annotate(
            f"{budget_label(size)}\n{percent(y)}",
            (x, high),
            (0, 5),
            textcoords="offset points",
            ha="center",
            color=look["color"],
        )
    rate_axis(axes.yaxis, [value for pair in ends for value in pair] + rates)
    axes.set_ylim(top=axes.get_ylim()[1] * 1.25)  # for the labels of sizes
    axes.set_xlim(0, max(macs) * 1.25)
    axes.set_xlabel(f"MACs for {MACS_SECONDS:g} s of audio (G)")
    axes.set_ylabel(f"test {rate.upper()} (95 % interval)")
    axes.set_title(f"Test {rate.upper()} of each size against its cost")
    return picture(figure, "sizes", f"Test {rate.upper()} of each size against its MACs")


def _draw_kept(subnets: Mapping[str, Subnet], units: Sequence[str]) -> Picture | None:
    """Kept units, filled, and dropped units, hollow, one row per size."""
    if not subnets:
        return None
    colors = size_colors(subnets)
    wide = 0.34 if len(units) <= 24 else 0.17 if len(units) <= MOST_ON_AXIS else 0.07
    figure, ((axes,),) = panels(1, 1, (1.9 + wide * len(units), 1.3 + 0.36 * len(subnets)))
    for row, (size, subnet) in enumerate(subnets.items()):
        kept = set(subnet.kept)
        for column, unit in enumerate(units):
            cell = (column - 0.4, row - 0.4), 0.8, 0.8
            if unit in kept:
                axes.add_patch(Rectangle(*cell, facecolor=colors[size], edgecolor=colors[size]))
            else:
                axes.add_patch(Rectangle(*cell, facecolor="none", edgecolor=SOFT, linewidth=0.8))
    axes.set_yticks(range(len(subnets)), [budget_label(size) for size in subnets])
    name_units(axes, units)
    axes.set(xlim=(-0.6, len(units) - 0.4), ylim=(len(subnets) - 0.4, -0.6))
    axes.set_xlabel("unit, in the order in which they run")
    axes.set_title("Units of each size (filled: kept, hollow: dropped)")
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return picture(figure, "kept", "Which units each size keeps and which it drops")


def short_name(unit: str) -> str:
    """``layers.3`` as ``3``, ``layers.3.conv`` as ``3:conv``."""
    return label(":".join(unit.split(".")[1:]) or unit)


def name_units(axes: Any, units: Sequence[str]) -> None:
    """Label the x axis with units, with lines between layers if units are modules; with layers alone where
    there are too many units.
    """
    layers = [".".join(unit.split(".")[:2]) for unit in units]
    thin = len(set(layers)) < len(layers)
    if thin and len(units) > MOST_ON_AXIS:
        middles = [layers.index(layer) + (layers.count(layer) - 1) / 2 for layer in dict.fromkeys(layers)]
        axes.set_xticks(middles, [short_name(layer) for layer in dict.fromkeys(layers)], fontsize=9)
        axes.tick_params(axis="x", length=0)
    else:
        names = [short_name(unit) for unit in units]
        axes.set_xticks(range(len(units)), names, rotation=90 if thin else 0, fontsize=7 if thin else 9)
    for i in range(1, len(units)):
        if thin and layers[i] != layers[i - 1]:
            axes.axvline(i - 0.5, color=SOFT, linewidth=0.7)


def _draw_errors(found: Mapping[str, Curve], measure: Measure, phases: Phases) -> Picture | None:
    if not found:
        return None
    figure, ((axes,),) = panels(1, 1, (7.0, 4.0))
    rate_axis(axes.yaxis, [y for points in found.values() for _, y in points])
    _draw_curves(axes, found, "{size}: {y}", phases, percent)
    title = f"Validation {measure.upper()} over the updates"
    axes.set_ylabel(f"validation {measure.upper()}")
    axes.set_title(title, pad=_room(phases))
    return picture(figure, "wer", f"{title}, a line for each size")


def _draw_loss(found: Mapping[str, Curve], phases: Phases) -> Picture | None:
    if not found:
        return None
    figure, ((axes,),) = panels(1, 1, (7.0, 4.0))
    value_axis(axes.yaxis, [y for points in found.values() for _, y in points])
    _draw_curves(axes, found, "{size}", phases, lambda y: f"{y:.3g}")
    axes.set_ylabel("CTC loss per frame (nats)")
    axes.set_title("Training loss over the updates", pad=_room(phases))
    return picture(figure, "loss", "Training loss of each size over the updates")


def _draw_curves(
    axes: Any, curves: Mapping[str, Curve], text: str, phases: Phases, shown: Callable[[float], str]
) -> None:
    colors, marks = size_colors(curves), []
    for size, points in curves.items():
        steps, values = np.array(points).T
        sparse = np.isfinite(values).sum() < 40
        axes.plot(
            steps, values, color=colors[size], linewidth=1.6, marker="o" if sparse else None, markersize=3
        )
        last = values[np.isfinite(values)]
        if len(last):
            marks.append(
                Mark(
                    float(last[-1]),
                    text.format(size=budget_label(size), y=shown(float(last[-1]))),
                    colors[size],
                )
            )
    axes.set_xlim(0, max(step for points in curves.values() for step, _ in points))
    axes.set_xlabel("updates")
    label_right(axes, marks, height=3.0)
    mark_phases(axes, phases)


def _room(phases: Phases) -> float:
    """Space in points between the axes and the title for the names of phases."""
    return 14.0 + 11.0 * min(2, len({name for name, _ in phases}) - 1) if phases else 6.0


def _draw_scores(
    lines: Sequence[ScoresRecord], subnets: Mapping[str, Subnet], units: Sequence[str], phases: Phases
) -> Picture | None:
    """Plot scores, and gates below them, over the updates in which they change, with the thresholds of sizes.

    Budgets other than sizes have no threshold: their units are chosen by score per cost.
    """
    lines = [line for line in lines if len(line.scores) == len(units)]
    scores = np.array([line.scores for line in lines])
    if not lines or np.ptp(scores) == 0:
        return None  # a method without scores
    changes = np.flatnonzero((np.diff(scores, axis=0) != 0).any(axis=1))
    end = min(len(lines), int(changes[-1]) + 2) if len(changes) else len(lines)
    lines, scores = lines[:end], scores[:end]
    steps = [line.step for line in lines]
    gated = [(line.step, line.gates) for line in lines if line.gates and len(line.gates) == len(units)]
    height = 2.6 + 0.16 * min(len(units), MOST_NAMED)
    figure, grid = panels(1 + bool(gated), 1, (7.4, height * (1.75 if gated else 1) + 0.5), sharex=True)
    upper = grid[0][0]
    owners, colors = smallest_keeping(subnets, units), size_colors(subnets)
    _draw_lines(upper, steps, scores, owners, colors)
    upper.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    upper.margins(y=0.06)
    upper.set_ylim(*upper.get_ylim())
    marks = [
        Mark(y, short_name(unit), _color(owners[unit], colors))
        for unit, y in zip(units, scores[-1], strict=True)
    ]
    marks, cuts = marks if len(units) <= MOST_NAMED else [], _draw_cuts(upper, steps, scores, subnets)
    label_right(upper, marks + cuts, height=height)
    upper.set_ylabel("score")
    explanation = " (dashed: the thresholds of sizes)" if cuts else ""
    upper.set_title(f"Scores while they are learned{explanation}", pad=_room(phases))
    mark_phases(upper, phases)
    if gated:
        lower = grid[1][0]
        _draw_lines(lower, [step for step, _ in gated], np.array([g for _, g in gated]), owners, colors)
        lower.set_ylabel("gate (1: open)")
        lower.set_title("Gates", fontsize=10)
        mark_phases(lower, phases, named=False)
    grid[-1][0].set_xlabel("updates")
    title = "Scores and gates of all units while they are learned"
    return picture(figure, "scores", f"{title}, and the thresholds of sizes" if cuts else title)


def _draw_lines(axes: Any, steps: Sequence[int], values: Any, owners: Any, colors: Any) -> None:
    for column, owner in enumerate(owners.values()):
        axes.plot(steps, values[:, column], color=_color(owner, colors), linewidth=1.4, alpha=0.9)


def _draw_cuts(axes: Any, steps: Sequence[int], scores: Any, subnets: Mapping[str, Subnet]) -> list[Mark]:
    """Plot the threshold of each size, midway between its last kept and its first dropped unit."""
    ranked, marks = -np.sort(-scores, axis=1), []
    for size in (int(name) for name in subnets if name.isdecimal()):
        if size < scores.shape[1]:
            cut = (ranked[:, size - 1] + ranked[:, size]) / 2
            axes.plot(steps, cut, color=INK, linewidth=1.1, linestyle=(0, (5, 3)))
            marks.append(Mark(float(cut[-1]), f"cut of {size} units", INK))
    return marks


def smallest_keeping(subnets: Mapping[str, Subnet], units: Sequence[str]) -> dict[str, str | None]:
    """The smallest size that keeps each unit."""
    return {unit: next((s for s, subnet in subnets.items() if unit in subnet.kept), None) for unit in units}


def _color(size: str | None, colors: Mapping[str, str]) -> str:
    return SOFT if size is None else colors[size]
