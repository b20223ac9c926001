"""What a comparison says, in words: what can be concluded, and what cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from selection.study.definition import Contender
from selection.study.verdict import Verdict

TITLES = {
    "updates": "at the same number of updates",
    "compute": "at the same compute for all sizes together",
    "compute-each": "at the same compute, each size alone with all of it",
}
"""By regime, what trainings are given equally much of."""


def conclusions(verdict: Verdict) -> list[str]:
    """A sentence for each size, then what the numbers do not show."""
    return [*(_about_size(verdict, size) for size in reversed(verdict.sizes)), *_limits(verdict)]


def _about_size(verdict: Verdict, size: int) -> str:
    yardstick, gaps = verdict.yardstick(size), verdict.gaps[size]
    cell = verdict.cells[yardstick][size]
    same = [c for c in gaps if np.array_equal(verdict.cells[c][size].errors_RN, cell.errors_RN)]
    clear = [c for c in gaps if gaps[c].is_clear]
    lowest = "" if verdict.against else f"lowest {verdict.measure.upper()} with "
    said = {
        "": [f"{size} units: {lowest}{_names([yardstick, *same])}, {100 * cell.mean:.2f} % on average"],
        "clearly worse than ": _gaps(verdict, size, [c for c in clear if gaps[c].points < 0]),
        "clearly better than ": _gaps(verdict, size, [c for c in clear if gaps[c].points > 0]),
        "not told apart from ": _gaps(verdict, size, [c for c in gaps if c not in clear and c not in same]),
    }
    return "; ".join(how + ", ".join(names) for how, names in said.items() if names) + "."


def _gaps(verdict: Verdict, size: int, contenders: Sequence[Contender]) -> list[str]:
    found = sorted(contenders, key=lambda c: verdict.gaps[size][c].points)
    return [f"{c.name} ({100 * verdict.gaps[size][c].points:+.2f})" for c in found]


def _names(contenders: Sequence[Contender]) -> str:
    return " = ".join(contender.name for contender in contenders)


def _limits(verdict: Verdict) -> list[str]:
    units = "words" if verdict.measure == "wer" else "characters"
    num_seeds, cell = len(verdict.seeds), next(iter(next(iter(verdict.cells.values())).values()))
    few = (
        "With one seed nothing is said about other trainings."
        if num_seeds == 1
        else f"{num_seeds} seeds say little about how much trainings differ, so intervals are wide."
        if num_seeds < 5
        else f"Differences smaller than what {num_seeds} seeds resolve are not ruled out."
    )
    return [
        f"{few} All of it holds for this corpus ({len(cell.words_N):,} test utterances, "
        f"{int(cell.words_N.sum()):,} {units}), these sizes and these settings; with settings of its own "
        "(`tune`) each method might do better."
    ]
