"""Options for quick selections, and functions that read their comparisons."""

from __future__ import annotations

import json
from typing import Any

from selection.measuring.evidence_store import EvidenceStore
from supernet.runs.run import Run

QUICK = ("--utterances", "4", "--frozen-steps", "3", "--seconds", "1")
NAMES = (
    "learned", "simple-top-k", "iterative-zero-out", "ortho-softmax", "auto-train-once", "dais", "tail",
    "every-other", "random", "greedy", "greedy-forward", "leave-one-out", "similarity", "similarity-svcca",
    "gradient", "saliency", "evolution", "exhaustive", "optuna",
)  # fmt: skip


def comparison(found: Run) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(found.comparison_file.read_text())
    return data


def rows(found: Run, budget: str) -> dict[str, dict[str, Any]]:
    (contest,) = (c for c in comparison(found)["contests"] if c["budget"] == budget)
    return {row["strategy"]: row for row in contest["rows"]}


def count(found: Run) -> int:
    (number,) = (
        EvidenceStore(found.evidence_file)._connection.execute("SELECT COUNT(*) FROM judged").fetchone()
    )
    return int(number)
