"""Pictures about units: what is known of each, and how alike the stream is along the network."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from selection.comparison import UnitFacts


def similarity_maps(similarities: Mapping[str, Sequence[Sequence[float]]], units: Sequence[str]) -> bytes:
    """A map for each measure: how alike the stream is at any two points of the network."""
    figure, axes = plt.subplots(
        1, len(similarities), figsize=(5.4 * len(similarities), 4.6), squeeze=False, layout="constrained"
    )
    for (measure, matrix), axis in zip(similarities.items(), axes.flat, strict=True):
        mesh = axis.pcolormesh(np.array(matrix), cmap="viridis", vmax=1)
        axis.set_aspect("equal")
        axis.set(title=measure, xlabel="behind unit", ylabel="behind unit")
        for one in (axis.xaxis, axis.yaxis):
            _name_points(one, units)
        axis.invert_yaxis()
        figure.colorbar(mesh, ax=axis, shrink=0.85)
    return png(figure)


def _name_points(axis: Any, units: Sequence[str]) -> None:
    """Label an axis with the input and every unit, or with layers in the middle of their modules."""
    layers: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        layers.setdefault(unit.split(".")[1], []).append(i + 1)
    places = [0.5, *(0.5 + float(np.mean(points)) for points in layers.values())]
    axis.set_ticks(places, ["input", *layers], fontsize=8, rotation=90 if axis.axis_name == "x" else 0)
    axis.set_tick_params(length=2)


def unit_facts(facts: Sequence[UnitFacts], kept: Mapping[str, float]) -> bytes:
    """Bars over units, a panel for each fact; darker where the best choices of more budgets keep the unit."""
    panels = _panels(facts)
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(11, 1.6 * len(panels) + 0.6),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    colours = plt.get_cmap("Blues")([0.3 + 0.65 * kept.get(fact.name, 0.0) for fact in facts])
    for (label, bars), axis in zip(panels.items(), axes.flat, strict=True):
        _draw_bars(axis, bars, colours)
        axis.set_ylabel(label, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", alpha=0.3)
    name_units(axes.flat[-1], [fact.name for fact in facts], offset=0.0)
    axes.flat[-1].set(xlabel="unit", xlim=(-0.6, len(facts) - 0.4))
    return png(figure)


def _panels(facts: Sequence[UnitFacts]) -> dict[str, dict[str, list[float]]]:
    """By label, one or several values for each unit."""
    panels = {}
    scores = [fact.score for fact in facts if fact.score is not None]
    if len(scores) == len(facts):
        panels["learned\nscore"] = {"score": scores}
    panels["loss rises\nwithout it by"] = {"loss": [fact.loss_without for fact in facts]}
    panels["Taylor"] = {"taylor": [fact.taylor for fact in facts]}
    if measures := list(facts[0].similarity):
        panels["1 - similarity"] = {m: [1 - fact.similarity[m] for fact in facts] for m in measures}
    return panels


def _draw_bars(axes: Any, bars: Mapping[str, list[float]], colours: Any) -> None:
    axes.set_axisbelow(True)
    width, everything = 0.8 / len(bars), np.array(list(bars.values()))
    bottom = everything.min() - 0.1 * np.ptp(everything) if everything.max() <= 0 else 0.0
    for i, (name, values) in enumerate(bars.items()):
        places = np.arange(len(values)) + (i + 0.5) * width - 0.4
        look = {"color": colours, "hatch": "////" if i else None, "edgecolor": "white", "label": name}
        axes.bar(places, np.array(values) - bottom, width, bottom=bottom, **look)
    _fit_bars(axes, everything)
    if len(bars) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)


def _fit_bars(axes: Any, values: Any) -> None:
    """Let small bars be seen beside large ones."""
    sizes = np.abs(values)
    if values.min() > 0 and sizes.max() > 50 * np.quantile(sizes, 0.25):
        axes.set_yscale("log")
    elif sizes.max() > 20 * np.median(sizes) > 0 and values.max() > 0:
        axes.set_yscale("symlog", linthresh=float(np.median(sizes)))


def short_name(unit: str) -> str:
    """``layers.3`` as ``3``, ``layers.3.conv`` as ``3:conv``."""
    return ":".join(unit.split(".")[1:])


def name_units(axes: Any, units: Sequence[str], offset: float = 0.5) -> None:
    """Label the x axis with units, and draw where layers begin if units are modules."""
    layers = [unit.split(".")[1] for unit in units]
    thin = len(set(layers)) < len(layers)
    names = [short_name(unit) for unit in units]
    axes.set_xticks(
        np.arange(len(units)) + offset, names, rotation=90 if thin else 0, fontsize=7 if thin else 9
    )
    for i in range(1, len(units)):
        if thin and layers[i] != layers[i - 1]:
            axes.axvline(i + offset - 0.5, color="black", linewidth=0.7)


def png(figure: Any, whole: bool = False) -> bytes:
    """The figure as a file, which is as large as what is drawn if ``whole``."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120, bbox_inches="tight" if whole else None)
    plt.close(figure)
    return file.getvalue()
