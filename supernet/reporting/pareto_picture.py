"""The picture of several runs: error rates of all sizes against MACs and against time, with the best of each
cost.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from supernet.budget import budget_label
from supernet.network.model_costs import MACS_SECONDS
from supernet.reporting.look import (
    BEST,
    CHOICE,
    SERIES,
    SOFT,
    Mark,
    label,
    label_right,
    look,
    panels,
    rate_axis,
)
from supernet.reporting.picture import Picture, picture
from supernet.reporting.trained import results_of
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure

Axis = Literal["macs", "milliseconds"]
LABELS: dict[Axis, str] = {
    "macs": f"MACs for {MACS_SECONDS:g} s of audio (G)",
    "milliseconds": "computation for 1 s of audio (ms)",
}


@dataclass(frozen=True)
class Point:
    """A size of a run."""

    run: str
    granularity: str
    size: str
    macs: float
    milliseconds: float
    """For a second of audio."""
    rate: float
    interval: tuple[float, float]
    """95 % bootstrap interval of the rate."""
    measure: Measure
    corpus: tuple[int, int]
    """The number of utterances and of words that it was tested on."""
    is_busy: bool = False
    """Whether the machine was busy while the time was measured."""

    def cost(self, axis: Axis) -> float:
        return self.macs / 1e9 if axis == "macs" else self.milliseconds


def points_of(run: Run, name: str) -> list[Point]:
    """The sizes of a finished run, called ``name``. Raises ``UserError`` if it has no valid results."""
    results = results_of(run)
    measure, granularity = results.measures[0], str(run.config_data()["granularity"])
    return [
        Point(
            name, granularity, size, row.macs, 1000 * row.rtf, row.rate(measure), row.interval(measure),
            measure, (row.test.utterances, row.test.words), row.rtf_busy,
        )
        for size, row in results.by_size.items()
    ]  # fmt: skip


def frontier(points: Sequence[Point], axis: Axis) -> list[Point]:
    """The points than which no other is both better and as cheap, or as good and cheaper, by cost."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost(axis), point.rate)):
        if not found or point.rate < found[-1].rate:
            found.append(point)
    return found


def draw_pareto(points: Sequence[Point]) -> Picture:
    """Plot error rates against MACs and time: a color for each run, ★ for the best of each cost."""
    measure, runs = points[0].measure.upper(), list(dict.fromkeys(point.run for point in points))
    colors = dict(zip(runs, itertools.cycle(SERIES), strict=False))
    with look():
        figure, (row,) = panels(1, 2, (11.0, 4.4), sharey=True)
        rate_axis(row[0].yaxis, [rate for point in points for rate in (point.rate, *point.interval)])
        for axes, axis in zip(row, LABELS, strict=True):
            _draw(axes, points, axis, colors)
        row[0].set_ylabel(f"test {measure} (95 % interval)")
        marks = [Mark(_last(points, run).rate, _named(points, run), colors[run]) for run in runs]
        label_right(row[1], marks, height=3.4)
        title = f"Test {measure} of {len(runs)} run{'s' * (len(runs) > 1)} against MACs and time"
        figure.suptitle(f"{title} (★: best for its cost)", x=0.01, ha="left", fontsize=11)
        return picture(figure, "pareto", title)


def _draw(axes: Any, points: Sequence[Point], axis: Axis, colors: dict[str, str]) -> None:
    for run, color in colors.items():
        mine = sorted((point for point in points if point.run == run), key=lambda point: point.cost(axis))
        x, y = [point.cost(axis) for point in mine], [point.rate for point in mine]
        axes.plot(x, y, CHOICE, linestyle="-", color=color, markersize=6, linewidth=1.2)
        for point in mine:
            axes.plot([point.cost(axis)] * 2, point.interval, color=color, linewidth=1, alpha=0.5)
    best = frontier(points, axis)
    x, y = [point.cost(axis) for point in best], [point.rate for point in best]
    axes.plot(x, y, color=SOFT, linewidth=1.2, linestyle=":", drawstyle="steps-post", zorder=1)
    for point in best:
        axes.plot([point.cost(axis)], [point.rate], BEST, color=colors[point.run], markersize=13, zorder=3)
        axes.annotate(
            label(budget_label(point.size)), (point.cost(axis), point.rate), (7, 7),
            textcoords="offset points", fontsize=8, color=colors[point.run],
        )  # fmt: skip
    axes.set_xlim(0, 1.22 * max(point.cost(axis) for point in points))
    axes.set_xlabel(LABELS[axis])


def _last(points: Sequence[Point], run: str) -> Point:
    """The point of a run that is farthest to the right in the right panel."""
    return max((point for point in points if point.run == run), key=lambda point: point.milliseconds)


def _named(points: Sequence[Point], run: str) -> str:
    """The granularity of a run, if no other has it, or its name."""
    mine = next(point.granularity for point in points if point.run == run)
    others = {point.granularity for point in points if point.run != run}
    return label(run if mine in others else f"{mine}s")
