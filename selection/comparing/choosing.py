"""Let every strategy choose for every budget, and save what it chose."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from selection.comparing.earlier import scored_name
from selection.comparing.judge import Candidate
from selection.comparing.measured_latency import fit_measured
from selection.comparing.session import Session
from selection.strategy import Strategy
from supernet.budget import Budget, BudgetError, Prices, Quantity, Wish
from supernet.errors import ArgumentError, ConfigError
from supernet.runs.selection_file import Choice, Selection
from supernet.units import Kept

ALL_UNITS = "all units"
"""Stands for a strategy where the full network meets the budget, so that there is only one choice."""

Unfit = tuple[str, str, str]
"""A strategy, a budget, and why the strategy cannot choose for it."""


def priced(wishes: Sequence[Wish], prices: Mapping[Quantity, Prices]) -> list[Budget]:
    """The requested budgets at these prices.

    Raises:
        ArgumentError: A budget is impossible; all such budgets are named.
    """
    budgets, problems = [], []
    for wish in wishes:
        try:
            budgets.append(wish.priced(prices[wish.quantity]))
        except BudgetError as e:
            problems += e.problems
    if problems:
        raise ArgumentError(["budget"], *problems)
    return ordered(budgets)


def ordered(budgets: Iterable[Budget]) -> list[Budget]:
    """Sizes first, from large to small; then the other quantities."""
    return sorted(budgets, key=lambda b: (b.prices.quantity != "units", b.prices.quantity, -b.limit, b.name))


def obstacles(session: Session, budgets: Sequence[Budget]) -> list[Unfit]:
    """Every strategy that cannot choose for a budget, with the reason.

    Raises:
        ArgumentError: A strategy that was asked for by name cannot choose for any budget.
    """
    found, problems = list[Unfit](), []
    open_budgets = [budget for budget in budgets if not session.meets_whole(budget)]
    for name, strategy in session.request.strategies.items():
        reasons = {b.name: strategy.obstacle(session.evidence, b) for b in open_budgets}
        found += [(name, budget, reason) for budget, reason in reasons.items() if reason is not None]
        if reasons and all(reasons.values()):
            problems.append(
                f"`strategies` {name} must be able to choose, but cannot: {next(iter(reasons.values()))}."
            )
    if problems and session.request.must_fit:
        raise ArgumentError(["strategies"], *problems)
    return found


def choose(session: Session, budgets: Sequence[Budget], unfit: Sequence[Unfit]) -> dict[str, list[Candidate]]:
    """The candidates for each budget by its name; a strategy's selection is saved once it is complete."""
    found: dict[str, list[Candidate]] = {budget.name: [] for budget in budgets}
    skipped = {(name, budget) for name, budget, _ in unfit}
    # Exact strategies come last: scoring a subnet is cheaper in their large walks than in a search, and the
    # cost that is recorded is that of the first time.
    strategies = sorted(session.request.strategies.items(), key=lambda item: item[1].is_exact)
    for i, (name, strategy) in enumerate(strategies):
        session.report("choosing", i, len(strategies))
        chosen = {b: _choice(session, name, strategy, b) for b in budgets if (name, b.name) not in skipped}
        for budget, candidate in chosen.items():
            if candidate.strategy != ALL_UNITS or not found[budget.name]:
                found[budget.name].append(candidate)
        _save(session, name, chosen)
    session.report("choosing", len(strategies), len(strategies))
    return found


def _choice(session: Session, name: str, strategy: Strategy, budget: Budget) -> Candidate:
    account, num_valid = session.evidence.open_account(), len(session.valid.sample.facts.frames)
    if session.meets_whole(budget):
        loss = session.evidence.loss(budget.full)
        return Candidate(ALL_UNITS, budget.full, loss, 1, account.seconds, False, (), num_valid)
    asked = budget
    if budget.is_measured:
        kept, asked = fit_measured(partial(strategy.select, session.evidence), budget, session.whole)
    else:
        kept = strategy.select(session.evidence, budget)
    if not asked.fits(kept):
        raise ConfigError(
            [f"strategy `{name}` must fit the budget {budget.name}, but chose a subnet that does not."]
        )
    evaluations, seconds = account.evaluations, account.seconds  # before the choice itself is scored
    scored: tuple[float, ...] = ()
    if strategy.is_exact:
        scored = tuple(loss for k, loss in account.losses.items() if _is_rival(k, asked))
    if scored:
        session.store.add_fact(session.valid.context, scored_name(name, budget), np.array(scored), 0.0)
    loss = session.evidence.loss(kept)
    return Candidate(name, kept, loss, evaluations, seconds, strategy.is_exact, scored, num_valid)


def _is_rival(kept: Kept, budget: Budget) -> bool:
    return budget.fits(kept) and (not budget.counts_units or sum(kept) == budget.limit)


def _save(session: Session, name: str, chosen: Mapping[Budget, Candidate]) -> None:
    """Write the strategy's selection; its choices for other budgets of the same network stay in the file."""
    recognizer, path = session.model.recognizer, session.selection_file(name)
    choices = {choice.budget: choice for choice in _saved_choices(session, name)}
    for budget, c in chosen.items():
        subnet = recognizer.table.subnet(c.kept)
        choices[budget.name] = Choice(budget.name, subnet, recognizer.head(subnet.size), c.loss)
    if choices:
        path.parent.mkdir(parents=True, exist_ok=True)
        by_size = sorted(choices.values(), key=lambda choice: (-choice.subnet.size, choice.budget))
        Selection(session.label(name), tuple(by_size), session.network).save(path)


def _saved_choices(session: Session, name: str) -> tuple[Choice, ...]:
    try:
        saved = Selection.load(session.selection_file(name))
    except (OSError, ValueError):
        return ()
    return saved.choices if saved.network == session.network else ()
