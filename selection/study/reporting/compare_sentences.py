"""The conclusions of a comparison in sentences, with their limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selection.study.definition import Contender
from selection.study.regime_outcome import RegimeOutcome
from supernet.budget import budget_label

TITLES = {
    "updates": "at the same number of updates",
    "compute": "at the same compute for all sizes together",
    "compute-each": "at the same compute, each size alone with all of it",
}
"""The quantity that is equal for all trainings, by regime."""


def conclusions(outcome: RegimeOutcome) -> list[str]:
    """A sentence for each size, then one about the limits of the numbers."""
    return [*(_about_size(outcome, size) for size in reversed(outcome.sizes)), *_limits(outcome)]


def _about_size(outcome: RegimeOutcome, size: str) -> str:
    yardstick, gaps = outcome.yardstick(size), outcome.gaps[size]
    result = outcome.results[yardstick][size]
    same = [c for c in gaps if np.array_equal(outcome.results[c][size].errors_RN, result.errors_RN)]
    clear = [c for c in gaps if gaps[c].is_clear]
    named, lowest = budget_label(size), "" if outcome.against else f"lowest {outcome.measure.upper()} with "
    said = {
        "": [f"{named}: {lowest}{_names([yardstick, *same])}, {100 * result.mean:.2f} % on average"],
        "clearly worse than ": _gaps(outcome, size, [c for c in clear if gaps[c].points < 0]),
        "clearly better than ": _gaps(outcome, size, [c for c in clear if gaps[c].points > 0]),
        "not told apart from ": _gaps(outcome, size, [c for c in gaps if c not in clear and c not in same]),
    }
    return "; ".join(how + ", ".join(names) for how, names in said.items() if names) + "."


def _gaps(outcome: RegimeOutcome, size: str, contenders: Sequence[Contender]) -> list[str]:
    found = sorted(contenders, key=lambda c: outcome.gaps[size][c].points)
    return [f"{c.name} ({100 * outcome.gaps[size][c].points:+.2f})" for c in found]


def _names(contenders: Sequence[Contender]) -> str:
    return " = ".join(contender.name for contender in contenders)


def _limits(outcome: RegimeOutcome) -> list[str]:
    units = "words" if outcome.measure == "wer" else "characters"
    num_seeds, result = len(outcome.seeds), next(iter(next(iter(outcome.results.values())).values()))
    few = (
        "One seed says nothing about other trainings."
        if num_seeds == 1
        else f"{num_seeds} seeds say little about how much trainings differ, so intervals are wide."
        if num_seeds < 5
        else f"Differences smaller than what {num_seeds} seeds resolve are not ruled out."
    )
    return [
        f"{few} All of it holds for this corpus ({len(result.words_N):,} test utterances, "
        f"{int(result.words_N.sum()):,} {units}), these sizes and these settings; with settings of its own "
        "(`tune`) each method might do better."
    ]
