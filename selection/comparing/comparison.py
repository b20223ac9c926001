"""The data of a comparison, and its statistics: regrets, error rates with intervals, paired tests.

Shapes: N test utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from supernet.budget import Quantity
from supernet.scoring.error_rates import Measure
from supernet.scoring.statistics import Ints, holm, permutation_p

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """One strategy's choice for one budget, judged on the test split."""

    strategy: str
    kept: tuple[str, ...]
    costs: dict[str, float]
    """``units``, ``params``, ``macs``, and ``latency`` in seconds if units were timed: the sum over the
    units; for a latency budget, the time of the whole subnet.
    """
    head: str
    """The head through which the subnet was read for all of these numbers."""
    loss: float
    """Validation CTC loss per frame."""
    regret: float
    """Loss above the lowest one known for the budget."""
    wer: float
    cer: float
    rate: float
    """The one of ``wer`` and ``cer`` by which the texts are judged."""
    rate_ci95: tuple[float, float]
    evaluations: int
    """Number of subnets that the strategy had scored for this choice."""
    seconds: float
    """Computing time of all evidence it asked for, including what was cached from other strategies."""
    difference: Difference
    """Comparison with the budget's yardstick."""
    beats: float | None = None
    """Share of all subnets of this budget with a higher loss, if all were scored."""
    over: float = 0.0
    """Cost beyond the budget, as a share of it, if no subnet was found that meets the budget as measured;
    else 0.
    """
    num_valid: int = 0
    """Number of validation utterances that the choice was made on. Its loss is on those of the comparison."""


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two choices on the same test utterances."""

    rate: float
    """Difference of the error rates, positive if the first choice is worse."""
    ci95: tuple[float, float]
    p: float
    """p value of a paired permutation test, with Holm's correction for the number of distinct choices."""
    same: bool
    """Whether both keep the same units."""

    @property
    def verdict(self) -> str:
        """``same``, ``tie``, ``worse`` or ``better``."""
        if self.same:
            return "same"
        if self.p > SIGNIFICANT:
            return "tie"
        return "worse" if self.rate > 0 else "better"


@dataclass(frozen=True)
class Contest:
    """All choices for one budget."""

    budget: str
    quantity: Quantity
    limit: float
    rows: tuple[Row, ...]
    yardstick: str
    """The strategy with the lowest validation loss, with whose choice ``difference`` compares. Since the test
    utterances had no part in picking it, only the comparisons with it are corrected for.
    """
    num_scored: int | None = None
    """Number of subnets if all were scored, so that regrets are distances to the true optimum. None: a better
    subnet may exist.
    """
    spread: tuple[float, ...] = ()
    """Minimum, quartiles and maximum of all subnets' losses, if all were scored."""
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    """Corrected p value of the difference between any two strategies."""
    measure: Measure = "wer"
    """The measure of rates and differences."""

    @property
    def is_exact(self) -> bool:
        return self.num_scored is not None


@dataclass(frozen=True)
class UnitFacts:
    """Evidence about one unit: why it is kept or dropped."""

    name: str
    score: float | None
    """Score learned in training, if there is one."""
    loss_without: float
    """Rise of the full network's validation loss without this unit."""
    taylor: float
    """Mean squared gradient with respect to the unit's gate."""
    similarity: dict[str, float]
    """Similarity of the stream before and after the unit, by measure."""
    rate_after: float | None = None
    """Error rate on the validation split where the head reads the stream after the unit: of the network
    without all later units. None: later units leave norms that always run.
    """


@dataclass(frozen=True)
class Comparison:
    """All choices, judged, as plain data for reports."""

    run: str
    machine: str
    """Processor with its number of threads, or GPU."""
    seconds_of_audio: float
    """Input length for MACs and latency."""
    num_valid: int
    num_test: int
    """Number of test utterances; ``num_valid``: of validation utterances to choose on."""
    full_costs: dict[str, float]
    full_loss: float
    full_rate: float
    """Test error rate of the full network; ``full_loss`` is its validation loss, ``full_costs`` its costs."""
    units: tuple[str, ...]
    contests: tuple[Contest, ...]
    facts: tuple[UnitFacts, ...] = ()
    similarities: dict[str, list[list[float]]] = field(default_factory=dict)
    """Similarity matrix (U + 1, U + 1) of the stream, by measure."""
    latency_error: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    """Latency by budget and strategy, in seconds: the sum over the units, and measured as a whole."""
    busy: bool = False
    """Whether the machine was busy with other work while subnets were timed."""
    unfit: tuple[tuple[str, str, str], ...] = ()
    """Strategies that could not choose: strategy, budget and reason."""
    measure: Measure = "wer"
    """The measure of rates and differences: of words or of characters."""
    network: str = ""
    """Fingerprint of the supernet's weights."""

    def unfit_together(self) -> list[tuple[str, str, str]]:
        """``unfit`` with all budgets of a strategy that share a reason in one entry."""
        budgets: dict[tuple[str, str], list[str]] = {}
        for strategy, budget, reason in self.unfit:
            budgets.setdefault((strategy, reason), []).append(budget)
        return [(strategy, ", ".join(names), reason) for (strategy, reason), names in budgets.items()]

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def against(best: str, errors: Mapping[str, Ints]) -> dict[str, float]:
    """Corrected p value of the difference between each of ``errors`` and ``errors[best]``."""
    found = _corrected([(name, best) for name in errors], errors)
    return {name: found[name, best] for name in errors}


def all_pairs(errors: Mapping[str, Ints]) -> dict[str, dict[str, float]]:
    """Corrected p value of the difference between every two of ``errors``."""
    names = list(errors)
    found = _corrected([(a, b) for i, a in enumerate(names) for b in names[i:]], errors)
    return {a: {b: found[(a, b) if (a, b) in found else (b, a)] for b in names} for a in names}


def _corrected(pairs: Sequence[tuple[str, str]], errors: Mapping[str, Ints]) -> dict[tuple[str, str], float]:
    """Holm's correction over distinct comparisons: strategies with equal results count as one, and a
    comparison between equal results counts as none.
    """
    results = {name: counts.tobytes() for name, counts in errors.items()}
    kinds = {pair: frozenset(results[name] for name in pair) for pair in pairs}
    examples = {kind: pair for pair, kind in kinds.items() if len(kind) == 2}
    raw = [permutation_p(errors[a], errors[b]) for a, b in examples.values()]
    by_kind = dict(zip(examples, holm(raw), strict=True))
    return {pair: by_kind.get(kind, 1.0) for pair, kind in kinds.items()}
