"""Pictures about units: evidence about each one, and similarities of the stream along the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter

from selection.comparing.comparison import UnitFacts
from supernet.reporting.look import SERIES, label, panels
from supernet.reporting.picture import Picture, picture
from supernet.reporting.pictures import name_units

_PLAIN = FuncFormatter(lambda value, _: f"{value:.3g}")


def similarity_maps(similarities: Mapping[str, Sequence[Sequence[float]]], units: Sequence[str]) -> Picture:
    """A heat map per measure: similarity of the stream at any two points of the network."""
    figure, axes = panels(1, len(similarities), (5.2 * len(similarities), 4.4))
    for (measure, matrix), axis in zip(similarities.items(), axes.flat, strict=True):
        edge = len(matrix)
        drawn = axis.imshow(
            np.array(matrix), cmap="viridis", vmax=1, interpolation="none", extent=(0, edge, edge, 0)
        )
        axis.set(title=f"Similarity ({label(measure)})", xlabel="after unit", ylabel="after unit")
        axis.grid(False)
        for one in (axis.xaxis, axis.yaxis):
            _name_points(one, units)
        figure.colorbar(drawn, ax=axis, shrink=0.85, label="1: the same")
    return picture(figure, "similarities", "Similarity of the stream at any two points of the network")


def _name_points(axis: Any, units: Sequence[str]) -> None:
    """Label an axis with the input and each unit, or each layer in the middle of its modules."""
    layers: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        layers.setdefault(unit.split(".")[1], []).append(i + 1)
    places = [0.5, *(0.5 + float(np.mean(points)) for points in layers.values())]
    axis.set_ticks(
        places, ["input", *map(label, layers)], fontsize=8, rotation=90 if axis.axis_name == "x" else 0
    )
    axis.set_tick_params(length=2)


def unit_facts(facts: Sequence[UnitFacts], kept: Mapping[str, float]) -> Picture:
    """Bars by unit in a panel for each kind of evidence; darker if more of the best choices keep it."""
    shown = _panels(facts)
    figure, axes = panels(len(shown), 1, (9.0, 1.5 * len(shown) + 0.7), sharex=True)
    opacities = [0.25 + 0.75 * kept.get(fact.name, 0.0) for fact in facts]
    for (name, bars), axis in zip(shown.items(), axes.flat, strict=True):
        _draw_bars(axis, bars, opacities)
        axis.set_ylabel(name, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="x", visible=False)
    axes.flat[0].set_title("Evidence about each unit (strong color: the best choices keep it)")
    name_units(axes.flat[-1], [fact.name for fact in facts])
    axes.flat[-1].set(xlabel="unit", xlim=(-0.6, len(facts) - 0.4))
    text = "Score, loss without it, error rate after it, gradient and similarity of each unit"
    return picture(figure, "facts", text)


def _panels(facts: Sequence[UnitFacts]) -> dict[str, dict[str, list[float]]]:
    """One or more values per unit, by the label of their panel."""
    found = {}
    scores = [fact.score for fact in facts if fact.score is not None]
    if len(scores) == len(facts):
        found["learned\nscore"] = {"score": scores}
    found["loss rises\nwithout it by"] = {"loss": [fact.loss_without for fact in facts]}
    rates = [fact.rate_after for fact in facts if fact.rate_after is not None]
    if len(rates) == len(facts):
        found["error rate\nread after it"] = {"rate": rates}
    found["Taylor"] = {"taylor": [fact.taylor for fact in facts]}
    if measures := list(facts[0].similarity):
        found["1 - similarity"] = {m: [1 - fact.similarity[m] for fact in facts] for m in measures}
    return found


def _draw_bars(axes: Any, bars: Mapping[str, list[float]], opacities: Sequence[float]) -> None:
    width, everything = 0.8 / len(bars), np.array(list(bars.values()))
    bottom = everything.min() - 0.1 * np.ptp(everything) if everything.max() <= 0 else 0.0
    for i, (name, values) in enumerate(bars.items()):
        places = np.arange(len(values)) + (i + 0.5) * width - 0.4
        drawn = axes.bar(
            places, np.array(values) - bottom, width, bottom=bottom, color=SERIES[i], label=label(name)
        )
        for bar, opacity in zip(drawn, opacities, strict=True):
            bar.set_alpha(opacity)
    _fit_bars(axes, everything)
    if len(bars) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)


def _fit_bars(axes: Any, values: Any) -> None:
    """Choose a scale on which small bars are visible next to large ones."""
    sizes = np.abs(values)
    if values.min() > 0 and sizes.max() > 50 * np.quantile(sizes, 0.25):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_PLAIN)
    elif sizes.max() > 20 * np.median(sizes) > 0 and values.max() > 0:
        axes.set_yscale("symlog", linthresh=float(np.median(sizes)))
        axes.yaxis.set_major_formatter(_PLAIN)
