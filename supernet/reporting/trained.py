"""Records of a finished training, validated for drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from supernet.runs.records import ResultsRecord, ScoresRecord, checked
from supernet.runs.run import Run
from supernet.system.files import read_json

Curve = list[tuple[int, float]]
"""Points (step, value), with NaN for missing values."""


def results_of(run: Run) -> ResultsRecord:
    """The results of a run. Raises ``UserError`` if ``results.json`` is invalid."""
    return checked(ResultsRecord, read_json(run.results_file), run.results_file)


def scores_of(run: Run) -> list[ScoresRecord]:
    """The scores over the training. Raises ``UserError`` if ``scores.jsonl`` is invalid."""
    return [checked(ScoresRecord, line, run.scores_file) for line in run.scores()]


def phases_of(results: ResultsRecord, lines: Iterable[ScoresRecord]) -> list[tuple[str, int]]:
    """Names and first updates of the phases; for runs without a record of them, derived from scores."""
    if results.phases is not None:
        return results.phases
    found: list[tuple[str, int]] = []
    for line in lines:
        if not found or found[-1][0] != line.phase:
            found.append((line.phase, line.step if found else 0))
    return found


def curves_of(run: Run, metrics: str, prefix: str, sizes: Iterable[str]) -> dict[str, Curve]:
    """By size or budget, what the engine noted as ``prefix`` and its name; what is no number is a gap."""
    lines = [line for line in run.metrics(metrics) if isinstance(line.get("Step"), int)]
    noted = {key for line in lines for key in line}
    return {
        size: [(line["Step"], _number(line, f"{prefix}{size}")) for line in lines]
        for size in sizes
        if f"{prefix}{size}" in noted
    }


def _number(line: Mapping[str, Any], key: str) -> float:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")
