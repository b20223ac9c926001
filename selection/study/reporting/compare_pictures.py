"""The picture of a comparison: test error rates of all contenders, with a panel per size."""

from __future__ import annotations

from typing import Any

from selection.study.definition import Contender
from selection.study.regime_outcome import RegimeOutcome
from selection.study.reporting.compare_sentences import TITLES
from supernet.budget import budget_label
from supernet.network.model_costs import MACS_SECONDS
from supernet.reporting.look import BEST, CHOICE, SERIES, SOFT, label, look, panels, rate_axis
from supernet.reporting.picture import Picture, picture

BLUE, ORANGE, GREEN = SERIES[:3]


def errors(outcome: RegimeOutcome) -> Picture:
    """A row per contender, the lowest rates on top: means, and a tick for each seed."""
    order = sorted(
        outcome.results,
        key=lambda contender: sum(r.mean for r in outcome.results[contender].values()),
    )
    sizes = list(reversed(outcome.sizes))
    with look():
        figure, (row,) = panels(1, len(sizes), (2.0 + 2.9 * len(sizes), 1.5 + 0.32 * len(order)), sharey=True)
        for axes, size in zip(row, sizes, strict=True):
            _draw_size(axes, outcome, size, order)
        row[0].set_yticks(range(len(order)), [label(contender.name) for contender in order])
        row[0].set_ylim(len(order) - 0.4, -0.6)
        title = f"Test {outcome.measure.upper()} {TITLES[outcome.regime]}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        return picture(figure, f"errors-{outcome.regime}", f"{title}, a panel for each size")


def _draw_size(axes: Any, outcome: RegimeOutcome, size: str, order: list[Contender]) -> None:
    yardstick, best = outcome.yardstick(size), outcome.best(size)
    results = {contender: outcome.results[contender][size] for contender in order}
    for y, (contender, result) in enumerate(results.items()):
        color = _color(outcome, contender, size)
        axes.plot([min(result.rates), max(result.rates)], [y, y], color=color, linewidth=1.4)
        axes.plot(result.rates, [y] * len(result.rates), "|", color=color, markersize=9)
        marker, large = (BEST, 11) if contender == best else (CHOICE, 6)
        axes.plot([result.mean], [y], marker, color=color, markersize=large)
    axes.axvline(results[yardstick].mean, color=SOFT, linewidth=1, linestyle=":")
    rate_axis(axes.xaxis, [rate for result in results.values() for rate in result.rates])
    axes.set_title(f"{budget_label(size)}, {results[best].macs / 1e9:.2f} G MACs", fontsize=10)
    axes.set_xlabel(f"test {outcome.measure.upper()} (MACs: {MACS_SECONDS:g} s)")
    axes.tick_params(axis="y", length=0)


def _color(outcome: RegimeOutcome, contender: Contender, size: str) -> str:
    """Blue: no clear difference from the yardstick; orange: clearly worse; green: clearly better."""
    gap = outcome.gaps[size].get(contender)
    if gap is None or not gap.is_clear:
        return BLUE
    return ORANGE if gap.points > 0 else GREEN
