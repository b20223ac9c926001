"""The picture of a comparison: every contender's test errors, a panel for each size."""

from __future__ import annotations

from typing import Any

from selection.study.definition import Contender
from selection.study.reporting.sentences import TITLES
from selection.study.verdict import Verdict
from supernet.network.costs import MACS_SECONDS
from supernet.reporting.look import BEST, CHOICE, SERIES, SOFT, label, look, panels, rate_axis
from supernet.reporting.picture import Picture, picture

BLUE, ORANGE, GREEN = SERIES[:3]


def errors(verdict: Verdict) -> Picture:
    """Contenders in rows, the lowest rates on top; in each panel means, and every seed as a tick."""
    order = sorted(
        verdict.cells, key=lambda contender: sum(cell.mean for cell in verdict.cells[contender].values())
    )
    sizes = list(reversed(verdict.sizes))
    with look():
        figure, (row,) = panels(1, len(sizes), (2.0 + 2.9 * len(sizes), 1.5 + 0.32 * len(order)), sharey=True)
        for axes, size in zip(row, sizes, strict=True):
            _draw_size(axes, verdict, size, order)
        row[0].set_yticks(range(len(order)), [label(contender.name) for contender in order])
        row[0].set_ylim(len(order) - 0.4, -0.6)
        title = f"Test {verdict.measure.upper()} {TITLES[verdict.regime]}"
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)
        return picture(figure, f"errors-{verdict.regime}", f"{title}, a panel for each size")


def _draw_size(axes: Any, verdict: Verdict, size: int, order: list[Contender]) -> None:
    yardstick, best = verdict.yardstick(size), verdict.best(size)
    cells = {contender: verdict.cells[contender][size] for contender in order}
    for y, (contender, cell) in enumerate(cells.items()):
        color = _color(verdict, contender, size)
        axes.plot([min(cell.rates), max(cell.rates)], [y, y], color=color, linewidth=1.4)
        axes.plot(cell.rates, [y] * len(cell.rates), "|", color=color, markersize=9)
        marker, large = (BEST, 11) if contender == best else (CHOICE, 6)
        axes.plot([cell.mean], [y], marker, color=color, markersize=large)
    axes.axvline(cells[yardstick].mean, color=SOFT, linewidth=1, linestyle=":")
    rate_axis(axes.xaxis, [rate for cell in cells.values() for rate in cell.rates])
    axes.set_title(f"{size} units, {cells[best].macs / 1e9:.2f} G MACs", fontsize=10)
    axes.set_xlabel(f"test {verdict.measure.upper()} (MACs: {MACS_SECONDS:g} s)")
    axes.tick_params(axis="y", length=0)


def _color(verdict: Verdict, contender: Contender, size: int) -> str:
    """Blue: not told apart from the yardstick; orange: clearly worse; green: clearly better."""
    gap = verdict.gaps[size].get(contender)
    if gap is None or not gap.is_clear:
        return BLUE
    return ORANGE if gap.points > 0 else GREEN
