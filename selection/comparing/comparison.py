"""How good each choice is: distance to the best, error rates with intervals, and paired tests.

Shapes: N test utterances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from supernet.budget import Quantity
from supernet.scoring.error_rates import Measure
from supernet.scoring.statistics import Ints, interval, permutation_p

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Row:
    """What one strategy chose for one budget."""

    strategy: str
    kept: tuple[str, ...]
    costs: dict[str, float]
    """``units``, ``params``, ``macs``, and ``latency`` (seconds) where units were timed: their sum, or in a
    contest for milliseconds the subnet timed as a whole.
    """
    head: str
    """The head that read the subnet for all of these numbers."""
    loss: float
    """Validation CTC loss per frame."""
    regret: float
    """By how much the loss is above the best one known for the budget."""
    wer: float
    cer: float
    rate: float
    """The one of them that the texts are judged by."""
    rate_ci95: tuple[float, float]
    evaluations: int
    """How many subnets the strategy had scored for this choice."""
    seconds: float
    """The computing time of everything it asked for, also of what others had asked before."""
    difference: Difference
    """Against the yardstick of the budget."""
    beats: float | None = None
    """The share of all subnets of this budget that have a higher loss, where all were scored."""
    over: float = 0.0
    """By how much of the budget the choice costs more than the budget, where nothing was found that meets it
    as measured; 0 where it is met.
    """
    num_valid: int = 0
    """Validation utterances that the choice was made on; its loss is of those of the comparison."""


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two choices on the same test utterances."""

    rate: float
    """Difference of the error rates; positive where the first is worse."""
    ci95: tuple[float, float]
    p: float
    """Of a paired permutation test, corrected for the number of different choices compared (Holm)."""
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
    """The strategy with the lowest validation loss; its choice is what ``difference`` compares with. It was
    not chosen by the test utterances of the comparison, which are the same for all: those with it are as many
    as there are others.
    """
    num_scored: int | None = None
    """How many subnets there are, where every one was scored, so that regrets are distances to the true
    best. None: the best may not be known.
    """
    spread: tuple[float, ...] = ()
    """Where it is exact: minimum, quartiles and maximum of all subnets' losses."""
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    """By two strategies, the corrected p of their difference."""
    measure: Measure = "wer"
    """What rates and differences are of."""

    @property
    def is_exact(self) -> bool:
        return self.num_scored is not None


@dataclass(frozen=True)
class UnitFacts:
    """Why a unit stays or goes."""

    name: str
    score: float | None
    """As learned in training."""
    loss_without: float
    """By how much the full net's validation loss rises without this unit alone."""
    taylor: float
    """Mean squared gradient of the unit's gate."""
    similarity: dict[str, float]
    """By measure, how alike the stream is before and behind the unit."""


@dataclass(frozen=True)
class Comparison:
    """Everything that the report shows, as plain data."""

    run: str
    machine: str
    """Processor or GPU, and threads."""
    seconds_of_audio: float
    """The input length at which MACs and latency are given."""
    num_valid: int
    num_test: int
    """Utterances that choices were made and reported on."""
    full_costs: dict[str, float]
    full_loss: float
    full_rate: float
    """What the full net costs, its validation loss and its test error rate."""
    units: tuple[str, ...]
    contests: tuple[Contest, ...]
    facts: tuple[UnitFacts, ...] = ()
    similarities: dict[str, list[list[float]]] = field(default_factory=dict)
    """By measure, the matrix (U + 1, U + 1)."""
    latency_error: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    """By budget and strategy: seconds as the sum of its units, and as measured as a whole."""
    busy: bool = False
    """Whether the machine had other work while subnets were timed."""
    unfit: tuple[tuple[str, str, str], ...] = ()
    """Strategy, budget, and why it could not choose."""
    measure: Measure = "wer"
    """What rates and differences are of: words or characters."""
    network: str = ""
    """Fingerprint of the weights that were chosen from."""

    def unfit_together(self) -> list[tuple[str, str, str]]:
        """Strategy, all of its budgets with one reason, and the reason."""
        budgets: dict[tuple[str, str], list[str]] = {}
        for strategy, budget, reason in self.unfit:
            budgets.setdefault((strategy, reason), []).append(budget)
        return [(strategy, ", ".join(names), reason) for (strategy, reason), names in budgets.items()]

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def paired_difference(
    errors_N: Ints, other_N: Ints, words_N: Ints, seed: int = 0
) -> tuple[float, float, float]:
    """The difference of two error rates, and its 95 % interval, by resampling utterances in pairs."""
    change_N = errors_N - other_N
    return float(change_N.sum() / words_N.sum()), *interval(change_N, words_N, seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """The same p values, corrected for being several (Holm, 1979), in their order."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def against(best: str, errors: Mapping[str, Ints]) -> dict[str, float]:
    """The corrected p of each of ``errors`` against that of ``best``."""
    found = _corrected([(name, best) for name in errors], errors)
    return {name: found[name, best] for name in errors}


def all_pairs(errors: Mapping[str, Ints]) -> dict[str, dict[str, float]]:
    """The corrected p of every pair of ``errors``."""
    names = list(errors)
    found = _corrected([(a, b) for i, a in enumerate(names) for b in names[i:]], errors)
    return {a: {b: found[(a, b) if (a, b) in found else (b, a)] for b in names} for a in names}


def _corrected(pairs: Sequence[tuple[str, str]], errors: Mapping[str, Ints]) -> dict[tuple[str, str], float]:
    """Holm's correction over the comparisons that these pairs really are: strategies with equal results are
    one, and comparing them with each other is none.
    """
    results = {name: counts.tobytes() for name, counts in errors.items()}
    kinds = {pair: frozenset(results[name] for name in pair) for pair in pairs}
    examples = {kind: pair for pair, kind in kinds.items() if len(kind) == 2}
    raw = [permutation_p(errors[a], errors[b]) for a, b in examples.values()]
    by_kind = dict(zip(examples, holm(raw), strict=True))
    return {pair: by_kind.get(kind, 1.0) for pair, kind in kinds.items()}
