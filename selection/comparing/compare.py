"""From a trained run to a comparison: every strategy chooses for every budget, every choice is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

from selection.comparing.choosing import Unfit, choose, obstacles, ordered, priced
from selection.comparing.comparison import Comparison, UnitFacts
from selection.comparing.earlier import Earlier, merged, taken_in, without_choice
from selection.comparing.judge import Candidate, Judge
from selection.comparing.measured_latency import sums_and_wholes
from selection.comparing.session import Session
from selection.evidence import Measure
from selection.strategies.gradient import taylor
from selection.strategies.leave_one_out import LeaveOneOut
from supernet.budget import Budget, Prices, Quantity
from supernet.granularity import granularity_named
from supernet.scoring.error_rates import COLUMN
from supernet.system.devices import machine

ALWAYS: tuple[Quantity, ...] = ("units", "params", "macs")
"""Quantities that are counted for every choice; latency is measured only where a budget asks for it."""
MEASURES: tuple[Measure, ...] = ("cka", "svcca")


def compare(session: Session, earlier: Comparison | None = None) -> Comparison:
    """Let every strategy choose for every budget, save the selections, and judge all choices.

    Args:
        session: The trained supernet and the request.
        earlier: A comparison of the same network, whose choices are judged together with the new ones.

    Returns:
        The comparison of the new and the earlier choices.

    Raises:
        ArgumentError: A budget is impossible, or a strategy asked for by name cannot choose; nothing has
            been scored then.
    """
    prices = _prices(session, earlier)
    budgets = priced(session.request.wishes, prices)
    unfit = obstacles(session, budgets)
    with closing(session.valid), closing(session.test):
        fresh = choose(session, budgets, unfit)
        before = Earlier()
        if earlier is not None:
            before = taken_in(earlier, session.model.recognizer.table, prices, session.valid, session.store)
        every = ordered({budget.name: budget for budget in (*before.budgets, *budgets)}.values())
        candidates = merged(fresh, before, every)
        return _judged(session, prices, every, candidates, [*before.unfit, *unfit])


def _prices(session: Session, earlier: Comparison | None) -> dict[Quantity, Prices]:
    """The prices by which budgets are limited and choices are described."""
    prices = {quantity: session.prices(quantity) for quantity in ALWAYS}
    requested = any(wish.quantity == "latency" for wish in session.request.wishes)
    if requested or (earlier is not None and "latency" in earlier.full_costs and session.is_timed()):
        prices["latency"] = session.prices("latency")
    return prices


def _judged(
    session: Session,
    prices: Mapping[Quantity, Prices],
    budgets: Sequence[Budget],
    candidates: Mapping[str, Sequence[Candidate]],
    unfit: Sequence[Unfit],
) -> Comparison:
    """The comparison of all ``candidates``, given by the names of their budgets."""
    recognizer = session.model.recognizer
    everything = [c.kept for found in candidates.values() for c in found]
    session.test.judge([recognizer.table.full, *everything], with_errors=True)  # all of them in one walk
    judge = Judge(session.model, session.valid, session.test, list(prices.values()), session.whole)
    full_loss, full_rate = judge.full()
    chosen = {name: {c.strategy: c.kept for c in found} for name, found in candidates.items()}
    return Comparison(
        run=session.run.name,
        machine=machine(recognizer.device),
        seconds_of_audio=session.request.seconds,
        num_valid=len(session.valid.sample.facts.frames),
        num_test=len(session.test.sample.facts.frames),
        full_costs={quantity: price.full for quantity, price in prices.items()},
        full_loss=full_loss,
        full_rate=full_rate,
        measure=judge.measure,
        units=tuple(unit.name for unit in recognizer.table.units),
        contests=tuple(judge.contest(b, candidates[b.name]) for b in budgets if candidates[b.name]),
        facts=_facts(session),
        similarities={m: session.evidence.similarity(m).tolist() for m in MEASURES},
        latency_error=sums_and_wholes(budgets, chosen, session.whole),
        busy=session.whole.is_busy,
        unfit=tuple(without_choice(unfit, candidates)),
        network=session.view,
    )


def _facts(session: Session) -> tuple[UnitFacts, ...]:
    """The evidence about each unit by itself."""
    rates = _rates_after(session)
    evidence, table = session.evidence, session.model.recognizer.table
    budget = Budget.of_size(len(table), len(table))
    losses, full = LeaveOneOut().importance(evidence, budget), evidence.loss(table.full)
    gradients, similar = taylor(evidence), {m: evidence.similarity(m) for m in MEASURES}
    return tuple(
        UnitFacts(
            unit.name,
            None if evidence.scores is None else evidence.scores[i],
            losses[i] - full,
            gradients[i],
            {m: float(matrix[i, i + 1]) for m, matrix in similar.items()},
            rates[i],
        )
        for i, unit in enumerate(table.units)
    )


def _rates_after(session: Session) -> list[float] | list[None]:
    """The error rate of what the head reads after each unit."""
    table, words_N2 = session.model.recognizer.table, session.valid.sample.facts.words
    column = COLUMN[session.test.sample.facts.measure]
    if not granularity_named(table.granularity).drops_layers or not words_N2.any():
        return [None] * len(table)
    subnets = [table.first(number) for number in range(1, len(table) + 1)]
    judged = session.valid.judge(subnets, with_errors=True)
    errors = [one.errors_N2 for one in judged if one.errors_N2 is not None]
    return [float(errors_N2[:, column].sum() / words_N2[:, column].sum()) for errors_N2 in errors]
