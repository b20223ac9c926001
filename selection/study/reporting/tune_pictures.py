"""The pictures of a search: its history, the importance of settings, and their good values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from selection.study.space import setting_text
from supernet.reporting.look import (
    BEST,
    CHOICE,
    INK,
    SERIES,
    SOFT,
    label,
    look,
    panels,
    rate_axis,
    value_axis,
)
from supernet.reporting.picture import Picture, picture

BLUE, ORANGE = SERIES[:2]
MOST_SLICES = 6
"""Most settings with a panel of their own, the most important ones."""


class Drawing:
    """Draws a study from its completed trials, the best first."""

    def __init__(
        self,
        study: Study,
        objectives: Sequence[str],
        trials: Sequence[FrozenTrial],
        importances: Mapping[str, float],
        measure: str,
        is_rate: bool,
    ) -> None:
        """``measure``: WER or CER. ``is_rate``: whether errors are rates, not relative to a reference."""
        self._measure = measure
        self._study, self._objectives, self._trials = study, objectives, trials
        self._importances, self._is_rate = importances, is_rate

    def all(self) -> dict[str, Picture]:
        """Draw all pictures for which there is data, by name."""
        if not self._trials:
            return {}
        with look():
            drawn = {"history": self._history()}
            if len(self._objectives) > 1:
                drawn["front"] = self._front()
            if curves := [t for t in self._study.get_trials(deepcopy=False) if t.intermediate_values]:
                drawn["curves"] = self._curves(curves)
            if self._importances:
                drawn["importances"] = self._bars()
            if keys := (list(self._importances) or list(self._trials[0].params))[:MOST_SLICES]:
                drawn["slices"] = self._slices(keys)
        return drawn

    @property
    def _best(self) -> FrozenTrial:
        return self._trials[0]

    def _fit(self, axis: Any, values: Sequence[float], which: int = 0) -> None:
        rates = self._is_rate and self._objectives[which] != "compute"
        (rate_axis if rates else value_axis)(axis, values)

    def _named(self, which: int = 0) -> str:
        """The axis label of an objective, with its unit."""
        name = label(self._objectives[which])
        if name == "compute":
            return "compute (unit-steps)"
        kind, _, size = name.partition("/")
        measure = self._measure if kind == "errors" else kind.upper()
        of = f" of {size} units" if size else ", mean over the sizes"
        return f"validation {measure}{of}" + ("" if self._is_rate else " (1: the reference)")

    def _history(self) -> Picture:
        figure, ((axes,),) = panels(1, 1, (7.0, 3.6))
        trials = sorted(self._trials, key=lambda trial: trial.number)
        numbers, values = [t.number for t in trials], [t.values[0] for t in trials]
        axes.plot(numbers, values, CHOICE, color=SOFT, markersize=5)
        axes.step(numbers, list(itertools.accumulate(values, min)), where="post", color=BLUE, linewidth=1.6)
        axes.plot([self._best.number], [self._best.values[0]], BEST, color=BLUE, markersize=12)
        self._fit(axes.yaxis, values)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(xlabel="trial", ylabel=self._named(), title="How the search went (line: the best so far)")
        return picture(figure, "history", "The value of each trial and the best so far")

    def _front(self) -> Picture:
        front = {trial.number for trial in self._study.best_trials}
        others = range(1, len(self._objectives))
        figure, (row,) = panels(1, len(others), (0.8 + 5.4 * len(others), 3.8))
        for axes, which in zip(row, others, strict=True):
            for on_it, marker, color, size in ((False, CHOICE, SOFT, 5), (True, BEST, BLUE, 11)):
                points = [t.values for t in self._trials if (t.number in front) == on_it]
                axes.plot(
                    [p[which] for p in points], [p[0] for p in points], marker, color=color, markersize=size
                )
            for trial in self._trials:
                if trial.number in front:
                    place = (trial.values[which], trial.values[0])
                    axes.annotate(
                        str(trial.number), place, (7, 5), textcoords="offset points", color=BLUE, fontsize=8
                    )
            self._fit(axes.yaxis, [t.values[0] for t in self._trials])
            self._fit(axes.xaxis, [t.values[which] for t in self._trials], which)
            axes.set(
                xlabel=self._named(which), ylabel=self._named(), title="Pareto front (★, with trial numbers)"
            )
        return picture(figure, "front", "The objectives of all trials, those on the Pareto front marked")

    def _curves(self, trials: Sequence[FrozenTrial]) -> Picture:
        figure, ((axes,),) = panels(1, 1, (7.0, 3.6))
        for trial in sorted(trials, key=lambda t: t.number == self._best.number):
            steps, values = zip(*sorted(trial.intermediate_values.items()), strict=True)
            pruned, best = trial.state == TrialState.PRUNED, trial.number == self._best.number
            color = BLUE if best else ORANGE if pruned else SOFT
            axes.plot(steps, values, color=color, linewidth=2.0 if best else 1.0, marker="o", markersize=3)
        self._fit(axes.yaxis, [v for t in trials for v in t.intermediate_values.values()])
        title = "The best size of each trial (blue: the best trial, orange: pruned)"
        relative = "" if self._is_rate else " (1: the reference)"
        axes.set(xlabel="updates", ylabel=f"validation {self._measure}{relative}")
        axes.set_title(title)
        return picture(figure, "curves", "The validation error rate of each trial over its updates")

    def _bars(self) -> Picture:
        names, shares = list(self._importances), list(self._importances.values())
        figure, ((axes,),) = panels(1, 1, (6.4, 1.2 + 0.34 * len(names)))
        axes.barh(range(len(names)), shares, color=BLUE, height=0.6)
        for y, share in enumerate(shares):
            axes.text(share, y, f" {100 * share:.0f} %", va="center", color=INK, fontsize=9)
        axes.set_yticks(range(len(names)), [label(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, max(shares) * 1.15 or 1.0)
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
        axes.set(xlabel="share of the differences between trials", title="Which settings mattered")
        axes.grid(axis="y", visible=False)
        return picture(figure, "importances", "How much of the differences each setting explains")

    def _slices(self, keys: Sequence[str]) -> Picture:
        columns = min(3, len(keys))
        rows = math.ceil(len(keys) / columns)
        figure, grid = panels(rows, columns, (0.6 + 3.4 * columns, 0.4 + 2.9 * rows), sharey=True)
        for i, axes in enumerate(grid.flat):
            if i >= len(keys):
                axes.set_visible(False)
                continue
            self._slice(axes, keys[i])
        for row in grid:
            row[0].set_ylabel(self._named())
        self._fit(grid[0][0].yaxis, [t.values[0] for t in self._trials])
        return picture(figure, "slices", "The value of each trial against its settings")

    def _slice(self, axes: Any, key: str) -> None:
        trials = [trial for trial in self._trials if key in trial.params]
        values = [trial.params[key] for trial in trials]
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            places = [float(value) for value in values]
            value_axis(axes.xaxis, places)
        else:
            names = sorted({setting_text(value) for value in values})
            places = [float(names.index(setting_text(value))) for value in values]
            axes.set_xticks(range(len(names)), [label(name) for name in names], fontsize=8)
            axes.set_xlim(-0.5, len(names) - 0.5)
        axes.plot(places, [trial.values[0] for trial in trials], CHOICE, color=SOFT, markersize=5)
        for place, trial in zip(places, trials, strict=True):
            if trial.number == self._best.number:
                axes.plot([place], [trial.values[0]], BEST, color=BLUE, markersize=12)
        axes.set_title(label(key), fontsize=10)
        axes.set_xlabel("value")
