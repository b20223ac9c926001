"""Choices of earlier selections from the same network, to be judged together with new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from selection.comparing.comparison import Comparison, Contest, Row
from selection.comparing.judge import Candidate
from selection.measuring.evidence_store import EvidenceStore
from selection.measuring.oracle import Oracle
from supernet.budget import Budget, BudgetError, Prices, Quantity, Wish
from supernet.errors import UserError
from supernet.runs.run import RunError
from supernet.system.files import read_json
from supernet.units import Kept, Subnet, UnitTable

OTHER_PRICES = (
    "its earlier choice was made for other costs (audio of another length, latency timed again, or another "
    "machine), so choose again"
)
_COMPARISON = TypeAdapter(Comparison)


def stored(path: Path, network: str) -> Comparison | None:
    """Load the comparison at ``path``; None if there is none, or if it is of another network or format.

    Raises:
        RunError: The file is something else.
    """
    if not path.is_file():
        return None
    try:
        found = _COMPARISON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as e:
        if isinstance(e, ValidationError) and _is_older(path):
            return None
        first = e.errors()[0]["msg"] if isinstance(e, ValidationError) else e.strerror
        raise RunError(
            f"'{path}' must be a comparison of choices, but is not ({first}). "
            "Move it away: what was measured and chosen is in selections/."
        ) from None
    return found if found.network == network else None


def _is_older(path: Path) -> bool:
    """Whether an older version wrote the file, with other names for error rates; it is not taken in."""
    try:
        data = read_json(path)
    except UserError:
        return False
    return "full_wer" in data and isinstance(data.get("contests"), list)


@dataclass(frozen=True)
class Earlier:
    """The part of an earlier comparison that is taken into a new one."""

    budgets: tuple[Budget, ...] = ()
    candidates: tuple[tuple[Budget, Candidate], ...] = ()
    unfit: tuple[tuple[str, str, str], ...] = ()
    """Strategy, budget, and the reason why there is no choice, or why it is not taken in."""


def taken_in(
    found: Comparison,
    table: UnitTable,
    prices: Mapping[Quantity, Prices],
    valid: Oracle,
    store: EvidenceStore,
) -> Earlier:
    """Take in every choice of ``found`` that meets its budget at the current prices.

    Losses are of the current validation sample; those in the store are not computed again.

    Raises:
        RunError: A choice does not fit this network.
    """
    candidates: list[tuple[Budget, Candidate]] = []
    unfit = list(found.unfit)
    for contest in found.contests:
        budget = _budget(contest, prices)
        for row in contest.rows:
            kept = _kept(table, row)
            if budget is None or not budget.fits(kept):
                unfit.append((row.strategy, contest.budget, OTHER_PRICES))
            else:
                candidates.append((budget, _candidate(row, kept, budget, valid, store)))
    losses = valid.judge([c.kept for _, c in candidates])
    judged = [(budget, c.with_loss(valid.loss(j))) for (budget, c), j in zip(candidates, losses, strict=True)]
    budgets = {budget.name: budget for budget, _ in judged}
    return Earlier(tuple(budgets.values()), tuple(judged), tuple(unfit))


def merged(
    fresh: Mapping[str, Sequence[Candidate]], earlier: Earlier, budgets: Sequence[Budget]
) -> dict[str, list[Candidate]]:
    """All choices by budget; a fresh choice replaces an earlier one by the same strategy."""
    found: dict[str, dict[str, Candidate]] = {budget.name: {} for budget in budgets}
    for budget, candidate in earlier.candidates:
        found[budget.name][candidate.strategy] = candidate
    for name, candidates in fresh.items():
        found[name] |= {candidate.strategy: candidate for candidate in candidates}
    return {name: list(by_strategy.values()) for name, by_strategy in found.items()}


def without_choice(
    reasons: Sequence[tuple[str, str, str]], candidates: Mapping[str, Sequence[Candidate]]
) -> Iterator[tuple[str, str, str]]:
    """The last of ``reasons`` for each strategy and budget without a choice."""
    chosen = {(c.strategy, name) for name, found in candidates.items() for c in found}
    last = {(strategy, budget): reason for strategy, budget, reason in reasons}
    for (strategy, budget), reason in sorted(last.items()):
        if (strategy, budget) not in chosen:
            yield strategy, budget, reason


def _budget(contest: Contest, prices: Mapping[Quantity, Prices]) -> Budget | None:
    """The budget at the current prices; None if its limit has changed since the choice."""
    try:
        wish = Wish.parse(contest.budget)
        if wish.quantity not in prices:
            return None
        budget = wish.priced(prices[wish.quantity])
    except BudgetError:
        return None
    return budget if isclose(budget.limit, contest.limit, rel_tol=1e-9) else None


def _kept(table: UnitTable, row: Row) -> Kept:
    try:
        return table.kept(Subnet(table.granularity, row.kept))
    except ValueError as e:
        raise RunError(f"comparison.json, {row.strategy}: {e}") from None


def _candidate(row: Row, kept: Kept, budget: Budget, valid: Oracle, store: EvidenceStore) -> Candidate:
    scored = store.fact(valid.context, scored_name(row.strategy, budget), (None,))
    losses = () if scored is None else tuple(float(x) for x in scored[0])
    return Candidate(
        row.strategy, kept, row.loss, row.evaluations, row.seconds, bool(losses), losses, row.num_valid
    )


def scored_name(strategy: str, budget: Budget) -> str:
    """The name in the store under which an exact strategy's losses of all subnets of a budget are kept."""
    return f"scored/{strategy}/{budget.name}/{budget.limit:.9g}"
