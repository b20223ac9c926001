"""The report of learning curves: a table, CSV, a picture and a page."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from optuna.study import Study

from selection.study.curves_definition import CurvesDefinition
from selection.study.work import ended
from supernet.console.fitted import Fitted
from supernet.console.screen import console
from supernet.reporting.look import CHOICE, Mark, label_right, look, panels, rate_axis, size_colors
from supernet.reporting.pages import page_environment
from supernet.reporting.picture import Picture, picture
from supernet.system.files import write_whole

FLAT = 0.05
"""Largest relative fall of the error rate over the last step of lengths at which a curve counts as flat."""
COLUMNS = (
    *("size", "updates", "seed", "lr", "measure", "error", "params", "macs", "unit_steps"),
    "training_seconds",
)
HEIGHT = 3.8


@dataclass(frozen=True)
class Curves:
    """Validation error rates by size and number of updates, one for each finished seed."""

    sizes: tuple[int, ...]
    lengths: tuple[int, ...]
    measure: str
    errors: Mapping[tuple[int, int], Sequence[float]]
    rates: Mapping[tuple[int, int], float]
    """Learning rates."""

    @classmethod
    def of(cls, definition: CurvesDefinition, notes: Sequence[Mapping[str, Any]]) -> Curves:
        errors: dict[tuple[int, int], list[float]] = {}
        rates = {}
        for note in notes:
            key = note["size"], note["updates"]
            errors.setdefault(key, []).append(note["error"])
            rates[key] = note["lr"]
        lengths = tuple(sorted({definition.steps(length) for length in definition.lengths}))
        measure = str(next((note["measure"] for note in notes), "wer")).upper()
        return cls(definition.sizes, lengths, measure, errors, rates)

    def mean(self, size: int, length: int) -> float | None:
        found = self.errors.get((size, length))
        return None if found is None else statistics.mean(found)

    def curve(self, size: int) -> list[tuple[int, float]]:
        """Numbers of updates and mean error rates."""
        means = ((length, self.mean(size, length)) for length in self.lengths)
        return [(length, mean) for length, mean in means if mean is not None]


def write(study: Study, definition: CurvesDefinition, folder: Path) -> None:
    """Print the table and conclusions, and write CSV, picture and page."""
    notes = notes_of(ended(study), definition)
    curves = Curves.of(definition, notes)
    drawn = draw(curves) if notes else None
    if drawn is not None:
        write_whole(folder / "curves.png", drawn.png)
    write_whole(folder / "results.csv", as_csv(notes))
    write_whole(folder / "report.html", page(study.study_name, curves, drawn))
    console.print(table(curves))
    for sentence in conclusions(curves):
        console.print(sentence)
    if missing := len(definition.points()) - len(notes):
        console.print(f"{missing} runs have not finished.")


def notes_of(trials: Sequence[Any], definition: CurvesDefinition) -> list[Mapping[str, Any]]:
    """The notes of completed trials of the study's points, one for each."""
    wanted = {(point.size, point.steps, point.seed) for point in definition.points()}
    notes = [trial.user_attrs for trial in trials if "error" in trial.user_attrs]
    found = {(note["size"], note["updates"], note["seed"]): note for note in notes}
    return [note for key, note in found.items() if key in wanted]


def table(curves: Curves) -> Fitted:
    """A row per number of updates, a column per size."""
    made = Fitted(
        "Each size trained alone",
        f"validation {curves.measure}, %: mean over the seeds; below it, the learning rate.",
    )
    made.add_column("updates")
    for size in curves.sizes:
        made.add_column(f"{size} units")
    for length in curves.lengths:
        made.add_row(f"{length:,}\n", *(cell(curves, size, length) for size in curves.sizes))
    return made


def cell(curves: Curves, size: int, length: int) -> str:
    mean = curves.mean(size, length)
    return "" if mean is None else f"{100 * mean:.2f}\n{curves.rates[size, length]:g}"


def conclusions(curves: Curves) -> list[str]:
    """Whether larger sizes are better at the end, and whether the curves are flat."""
    last = {size: curves.curve(size)[-1] for size in curves.sizes if curves.curve(size)}
    if len({length for length, _ in last.values()}) != 1 or len(last) < len(curves.sizes):
        return []
    order = sorted(last, key=lambda size: last[size][1])
    found = [
        f"After {last[order[0]][0]:,} updates, from the best: "
        + ", ".join(f"{size} units ({100 * last[size][1]:.2f}%)" for size in order)
        + "."
    ]
    if len(curves.lengths) > 1:
        falls = {size: 1 - last[size][1] / before for size in order if (before := curves.curve(size)[-2][1])}
        said = ", ".join(f"{size} units {100 * falls[size]:.0f}%" for size in sorted(falls))
        state = "flat" if max(falls.values(), default=0.0) <= FLAT else "still falling"
        found.append(f"Over the last step of lengths, errors fell by: {said}. The curves are {state}.")
    return found


def draw(curves: Curves) -> Picture:
    """A line per size; the error rate against the number of updates, a mark per seed."""
    colors = size_colors(map(str, curves.sizes))
    with look():
        figure, ((axes,),) = panels(1, 1, (7.0, HEIGHT))
        axes.set_xscale("log", base=2)
        marks = []
        for size in curves.sizes:
            color, line = colors[str(size)], curves.curve(size)
            if line:
                axes.plot(*zip(*line, strict=True), color=color, linewidth=1.6, marker=CHOICE, markersize=5)
                marks.append(Mark(line[-1][1], f"{size} units", color))
            for length, _ in line:
                errors = curves.errors[size, length]
                axes.plot([length] * len(errors), errors, "_", color=color, markersize=8)
        rate_axis(axes.yaxis, [error for errors in curves.errors.values() for error in errors])
        axes.set_xticks(curves.lengths, [f"{length:,}" for length in curves.lengths])
        axes.minorticks_off()
        axes.set(xlabel="updates", ylabel=f"validation {curves.measure}")
        axes.set_title("Each size trained alone", loc="left", fontsize=11)
        label_right(axes, marks, HEIGHT)
        return picture(figure, "curves", "Validation error rates against updates, a line for each size")


def as_csv(notes: Sequence[Mapping[str, Any]]) -> str:
    """A CSV table with a line per training."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(sorted(notes, key=lambda note: (note["seed"], note["updates"], note["size"])))
    return file.getvalue()


def page(name: str, curves: Curves, drawn: Picture | None) -> str:
    """The page with its picture."""
    environment = page_environment("selection")
    environment.filters["drawn"] = Markup
    return environment.get_template("study/reporting/curves_report.html.jinja").render(
        name=name, curves=curves, picture=drawn, cell=cell, sentences=conclusions(curves)
    )
