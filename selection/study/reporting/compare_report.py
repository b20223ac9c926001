"""The report of a comparison: tables on the console, CSV, a picture for each regime, one page of HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from optuna.study import Study

from selection.study.contenders import Lineup
from selection.study.definition import CompareDefinition, Contender
from selection.study.regime_outcome import Cost, RegimeOutcome, SizeResult, missing, notes_of
from selection.study.reporting.compare_pictures import errors
from selection.study.reporting.compare_sentences import TITLES, conclusions
from selection.study.work import ended
from supernet.budget import budget_label
from supernet.console.fitted import Fitted
from supernet.console.screen import console
from supernet.reporting.pages import page_environment
from supernet.reporting.picture import Picture
from supernet.system.files import write_whole

NOTE = (
    "test {measure}, %: mean over the seeds, lowest and highest;\n"
    "below it, points behind {yardstick}, with its interval\n"
    "(95 % for all of a size together; * where it excludes 0)."
)
COST_NOTE = (
    "s: training; evals, search s: subnets scored by the strategy, and computing time of its search;\n"
    "hypervolume: % of the plane of MACs and errors that the sizes dominate; lr: learning rates, the largest "
    "size first."
)


def write(study: Study, definition: CompareDefinition, folder: Path) -> None:
    """Print the tables and conclusions, and write CSV, pictures and page."""
    lineup, notes = Lineup(definition), notes_of(ended(study))
    lacking = {regime: missing(lineup, regime, notes) for regime in definition.regimes}
    found = [RegimeOutcome(lineup, regime, notes) for regime, names in lacking.items() if not names]
    unfinished = list(dict.fromkeys(name for names in lacking.values() for name in names))
    pictures = [errors(outcome) for outcome in found]
    for outcome, picture in zip(found, pictures, strict=True):
        write_whole(folder / f"errors-{outcome.regime}.png", picture.png)
    write_whole(folder / "results.csv", as_csv(found))
    write_whole(folder / "report.html", page(study.study_name, found, unfinished, pictures))
    for outcome in found:
        console.print(error_table(outcome))
        console.print(cost_table(outcome))
        for sentence in conclusions(outcome):
            console.print(sentence)
    if unfinished:
        console.print(f"{len(unfinished)} runs have not finished, e.g. {unfinished[0]}.")


def error_table(outcome: RegimeOutcome) -> Fitted:
    """Error rates, with a row per contender and a column per size."""
    made = Fitted(
        f"{TITLES[outcome.regime].capitalize()} (seeds {', '.join(map(str, outcome.seeds))})",
        NOTE.format(measure=outcome.measure.upper(), yardstick=outcome.against or "the best of the size"),
    )
    made.add_column("contender", left=True, wraps=True)
    for size in reversed(outcome.sizes):
        made.add_column(budget_label(size), wraps=True)
    for contender, results in outcome.results.items():
        shown = (f"{rates(result)}\n{behind(outcome, contender, size)}" for size, result in results.items())
        made.add_row(contender.name, *shown)
    return made


def cost_table(outcome: RegimeOutcome) -> Fitted:
    """Costs, with a row per contender."""
    made = Fitted("Cost of all sizes together (mean over the seeds), and their hypervolume", COST_NOTE)
    made.add_column("contender", left=True, wraps=True)
    for name in ("runs", "updates", "unit-steps", "MACs", "s", "evals", "search s", "hyper-\nvolume", "lr"):
        made.add_column(name)
    for contender in outcome.results:
        cells = cost_cells(outcome.cost(contender)), volume(outcome, contender)
        made.add_row(contender.name, *cells[0], cells[1], learning_rates(outcome, contender))
    return made


def rates(result: SizeResult) -> str:
    """``2.68 (2.51–2.84)``, in %."""
    low, high = min(result.rates), max(result.rates)
    spread = f" ({100 * low:.2f}–{100 * high:.2f})" if len(result.rates) > 1 else ""
    return f"{100 * result.mean:.2f}{spread}"


def behind(outcome: RegimeOutcome, contender: Contender, size: str) -> str:
    """``+0.34 [0.10, 0.60]*``, in percentage points; ``best`` or ``yardstick`` for the yardstick itself."""
    if contender == outcome.yardstick(size):
        return "yardstick" if outcome.against else "best"
    gap = outcome.gaps[size][contender]
    low, high = (100 * end for end in gap.interval)
    return f"{100 * gap.points:+.2f} [{low:.2f}, {high:.2f}]{'*' if gap.is_clear else ''}"


def volume(outcome: RegimeOutcome, contender: Contender) -> str:
    found = [100 * v for v in outcome.hypervolumes(contender)]
    return f"{sum(found) / len(found):.1f}"


def learning_rates(outcome: RegimeOutcome, contender: Contender) -> str:
    return ", ".join(f"{rate:g}" for rate in outcome.learning_rates(contender))


def cost_cells(cost: Cost) -> list[str]:
    return [
        str(cost.runs),
        f"{cost.updates:,.0f}",
        f"{cost.unit_steps:,.0f}",
        f"{cost.training_macs / 1e12:,.0f} T",
        f"{cost.training_seconds:,.0f}",
        f"{cost.evaluations:,.0f}",
        f"{cost.selection_seconds:,.0f}",
    ]


COLUMNS = (
    *("regime", "contender", "size", "seed", "wer", "cer", "params", "macs", "kept", "updates", "lr"),
    *("unit_steps", "training_macs", "training_seconds", "evaluations", "selection_seconds"),
)


def as_csv(outcomes: Sequence[RegimeOutcome]) -> str:
    """A CSV table with a line per contender, size and seed."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(line for outcome in outcomes for line in _lines(outcome))
    return file.getvalue()


def _lines(outcome: RegimeOutcome) -> Iterator[dict[str, Any]]:
    for contender in outcome.results:
        for size in outcome.sizes:
            for seed in outcome.seeds:
                notes, row = outcome.found(contender, size, seed)
                line = {"regime": outcome.regime, "contender": contender.name, "seed": seed, **notes, **row}
                line |= {"kept": " ".join(row["kept"]), "selection_seconds": row["seconds"]}
                yield {column: line.get(column, "") for column in COLUMNS}


def page(
    name: str, outcomes: Sequence[RegimeOutcome], missing: Sequence[str], pictures: Sequence[Picture] = ()
) -> str:
    """The page, with a picture for each of ``outcomes``, if there are any."""
    environment = page_environment("selection")
    functions = (rates, behind, volume, cost_cells, learning_rates, conclusions, budget_label)
    environment.globals.update({function.__name__: function for function in functions})
    environment.filters["drawn"] = Markup
    return environment.get_template("study/reporting/compare_report.html.jinja").render(
        name=name,
        outcomes=outcomes,
        missing=missing,
        titles=TITLES,
        pictures=dict(zip((outcome.regime for outcome in outcomes), pictures, strict=False)),
    )
