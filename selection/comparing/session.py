"""From a trained run to a comparison: every strategy chooses for every budget, every choice is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from selection.comparing.comparison import Comparison, UnitFacts
from selection.comparing.contests import Candidate, Judge
from selection.comparing.earlier import Earlier, merged, scored_name, taken_in, without_choice
from selection.comparing.wholes import Wholes, fitted, wholes_by_budget
from selection.evidence import Measure
from selection.measuring.costs import latency, machine, multiply_accumulates, parameters
from selection.measuring.measured import MeasuredEvidence
from selection.measuring.oracle import Oracle, Sample, thinned
from selection.measuring.store import Store
from selection.strategies.gradient import taylor
from selection.strategies.leave_one_out import LeaveOneOut
from selection.strategy import Strategy
from supernet.budget import SLACK, Budget, BudgetError, Prices, Quantity, Wish
from supernet.errors import ArgumentError
from supernet.network.costs import MACS_SECONDS
from supernet.runs.checkpoint import Model, fingerprint
from supernet.runs.resolve import ConfigError
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.task import Batch, ProgressCallback, Task
from supernet.units import Kept

ALL_UNITS = "all units"
"""The one choice there is where the full net meets the budget."""
ALWAYS: tuple[Quantity, ...] = ("units", "params", "macs")
"""What is counted of every choice; milliseconds are measured only where a budget asks for them."""
MEASURES: tuple[Measure, ...] = ("cka", "svcca")


@dataclass(frozen=True)
class Wanted:
    """What the user asks for."""

    strategies: Mapping[str, Strategy]
    wishes: Sequence[Wish]
    must_fit: bool = False
    """Whether the strategies were named: then one that can choose for no budget is an error."""
    seconds: float = MACS_SECONDS
    """Length of the utterance by which MACs and latency are counted."""
    num_valid: int = 300
    """Most validation utterances that choices are made on, evenly spread."""
    frozen_steps: int = 120
    """Updates of score learning on frozen weights."""
    retime: bool = False
    """Whether milliseconds are measured again, although they are known for this machine."""


class Session:
    """One trained supernet, with what is needed to choose from it and to judge the choices."""

    def __init__(self, run: Run, model: Model, task: Task, wanted: Wanted, report: ProgressCallback) -> None:
        self.run, self.model, self.task, self.wanted, self.report = run, model, task, wanted, report
        self.network = fingerprint(run.model_stem)
        self.store = Store(run.evidence_file)
        valid = thinned(task.eval_batches("valid", model.tokens), wanted.num_valid)
        self.valid = self._oracle(Sample(valid))
        self.test = self._oracle(Sample(task.eval_batches("test", model.tokens)))
        self.evidence = MeasuredEvidence(
            model.recognizer,
            self.valid,
            self.store,
            self._train_batches,
            wanted.frozen_steps,
            self.prices,
            report,
        )
        self.whole = Wholes(
            model.recognizer, wanted.seconds, self.store, self.network, self._times, wanted.retime
        )

    def _oracle(self, sample: Sample) -> Oracle:
        return Oracle(self.model, sample, self.store, self.network, self.report)

    def _train_batches(self) -> Iterator[Batch]:
        return iter(self.task.train_reader(self.model.tokens, seed=0, rank=0, num_ranks=1))

    @cache  # noqa: B019 (a session lives as long as the program)
    def prices(self, quantity: Quantity) -> Prices:
        """What units cost. Milliseconds are measured once on a machine, so that choices can be repeated."""
        recognizer, seconds = self.model.recognizer, self.wanted.seconds
        if quantity == "units":
            return Prices.counting(len(recognizer.table))
        if quantity == "params":
            return parameters(recognizer)
        if quantity == "macs":
            return multiply_accumulates(recognizer, seconds)
        known = self._known_times()
        if known is None:
            prices = latency(recognizer, seconds, report=self.report)
            self.store.add_fact(self.network, self._times, np.array([prices.base, *prices.units]), 0.0)
            return prices
        base, *units = (float(x) for x in known[0])
        return Prices("latency", base, tuple(units))

    def is_timed(self) -> bool:
        """Whether milliseconds are known for this machine."""
        return self._known_times() is not None

    def meets_whole(self, budget: Budget) -> bool:
        """Whether the full net meets the budget, by its measured whole where it is in milliseconds."""
        if not budget.fits(budget.full) or not budget.is_measured:
            return budget.fits(budget.full)
        limit: float = budget.limit * SLACK
        return self.whole(budget.full) <= limit

    @property
    def _times(self) -> str:
        return f"latency/{machine(self.model.recognizer.scores.device)}/{self.wanted.seconds:g}"

    def _known_times(self) -> tuple[NDArray[np.float64], float] | None:
        shape = (1 + len(self.model.recognizer.table),)
        return None if self.wanted.retime else self.store.fact(self.network, self._times, shape)


def compare(session: Session, earlier: Comparison | None = None) -> Comparison:
    """Let every strategy choose for every budget, save the selections, and judge all choices, those of an
    ``earlier`` comparison of the same network among them.

    Raises ``ArgumentError`` before anything is scored where a budget is impossible
    or a named strategy cannot choose.
    """
    prices = {q: session.prices(q) for q in ALWAYS}
    timed = any(wish.quantity == "latency" for wish in session.wanted.wishes)
    if timed or (earlier is not None and "latency" in earlier.full_costs and session.is_timed()):
        prices["latency"] = session.prices("latency")
    budgets = _priced(session.wanted.wishes, prices)
    unfit = _obstacles(session, budgets)
    fresh = _choose(session, budgets, {(name, budget) for name, budget, _ in unfit})
    before = Earlier()
    if earlier is not None:
        before = taken_in(earlier, session.model.recognizer.table, prices, session.valid, session.store)
    every = _ordered({budget.name: budget for budget in (*before.budgets, *budgets)}.values())
    candidates = merged(fresh, before, every)
    everything = [c.kept for found in candidates.values() for c in found]
    chosen = {name: {c.strategy: c.kept for c in found} for name, found in candidates.items()}
    session.test.judge([session.model.recognizer.table.full, *everything], with_errors=True)  # in one walk
    judge = Judge(session.model, session.valid, session.test, list(prices.values()), session.whole)
    contests = tuple(
        judge.contest(budget, candidates[budget.name]) for budget in every if candidates[budget.name]
    )
    table = session.model.recognizer.table
    full_loss, full_rate = judge.full()
    return Comparison(
        run=session.run.name,
        machine=machine(session.model.recognizer.scores.device),
        seconds_of_audio=session.wanted.seconds,
        num_valid=len(session.valid.sample.facts.frames),
        num_test=len(session.test.sample.facts.frames),
        full_costs={quantity: price.full for quantity, price in prices.items()},
        full_loss=full_loss,
        full_rate=full_rate,
        measure=judge.measure,
        units=tuple(unit.name for unit in table.units),
        contests=contests,
        facts=_facts(session),
        similarities={m: session.evidence.similarity(m).tolist() for m in MEASURES},
        latency_error=wholes_by_budget(every, chosen, session.whole),
        busy=session.whole.is_busy,
        unfit=tuple(without_choice([*before.unfit, *unfit], candidates)),
        network=session.network,
    )


def _priced(wishes: Sequence[Wish], prices: Mapping[Quantity, Prices]) -> list[Budget]:
    budgets, problems = [], []
    for wish in wishes:
        try:
            budgets.append(wish.priced(prices[wish.quantity]))
        except BudgetError as e:
            problems += e.problems
    if problems:
        raise ArgumentError(["budget"], *problems)
    return _ordered(budgets)


def _ordered(budgets: Iterable[Budget]) -> list[Budget]:
    """Sizes first, the largest first; then the other quantities."""
    return sorted(budgets, key=lambda b: (b.prices.quantity != "units", b.prices.quantity, -b.limit, b.name))


def _obstacles(session: Session, budgets: Sequence[Budget]) -> list[tuple[str, str, str]]:
    """Strategy, budget and reason, for each strategy that cannot choose for a budget."""
    found, problems = [], []
    open_budgets = [budget for budget in budgets if not session.meets_whole(budget)]
    for name, strategy in session.wanted.strategies.items():
        reasons = {b.name: strategy.obstacle(session.evidence, b) for b in open_budgets}
        found += [(name, budget, reason) for budget, reason in reasons.items() if reason is not None]
        if reasons and all(reasons.values()):
            problems.append(
                f"`strategies` {name} must be able to choose, but cannot: {next(iter(reasons.values()))}."
            )
    if problems and session.wanted.must_fit:
        raise ArgumentError(["strategies"], *problems)
    return found


def _choose(
    session: Session, budgets: Sequence[Budget], unfit: set[tuple[str, str]]
) -> dict[str, list[Candidate]]:
    """By budget, what each strategy chose; each strategy's selection is saved as soon as it is complete."""
    found: dict[str, list[Candidate]] = {budget.name: [] for budget in budgets}
    # The exact ones last: in their walks a subnet costs less than in a search, and the first price counts.
    strategies = sorted(session.wanted.strategies.items(), key=lambda item: item[1].is_exact)
    for i, (name, strategy) in enumerate(strategies):
        session.report("choosing", i, len(strategies))
        mine = {b: _choice(session, name, strategy, b) for b in budgets if (name, b.name) not in unfit}
        for budget, candidate in mine.items():
            if candidate.strategy != ALL_UNITS or not found[budget.name]:
                found[budget.name].append(candidate)
        _save(session, name, mine)
    session.report("choosing", len(strategies), len(strategies))
    return found


def _choice(session: Session, name: str, strategy: Strategy, budget: Budget) -> Candidate:
    account, num_valid = session.evidence.open_account(), len(session.valid.sample.facts.frames)
    if session.meets_whole(budget):
        loss = session.evidence.loss(budget.full)
        return Candidate(ALL_UNITS, budget.full, loss, 1, account.seconds, False, (), num_valid)
    asked = budget
    if budget.is_measured:
        kept, asked = fitted(partial(strategy.select, session.evidence), budget, session.whole)
    else:
        kept = strategy.select(session.evidence, budget)
    evaluations, seconds = account.evaluations, account.seconds
    scored = (
        tuple(loss for k, loss in account.losses.items() if _is_rival(k, asked)) if strategy.is_exact else ()
    )
    if not asked.fits(kept):
        raise ConfigError(
            [f"strategy `{name}` must fit the budget {budget.name}, but chose a subnet that does not."]
        )
    loss = session.evidence.loss(kept)
    if scored:
        session.store.add_fact(session.valid.context, scored_name(name, budget), np.array(scored), 0.0)
    return Candidate(name, kept, loss, evaluations, seconds, strategy.is_exact, scored, num_valid)


def _is_rival(kept: Kept, budget: Budget) -> bool:
    return budget.fits(kept) and (not budget.counts_units or sum(kept) == budget.limit)


def _save(session: Session, name: str, chosen: Mapping[Budget, Candidate]) -> None:
    """Write the strategy's selection; what it chose for other budgets of the same network stays."""
    recognizer, path = session.model.recognizer, session.run.selection_file(name)
    choices = {choice.budget: choice for choice in _saved_choices(session, name)}
    for budget, c in chosen.items():
        subnet = recognizer.table.subnet(c.kept)
        choices[budget.name] = Choice(budget.name, subnet, recognizer.head(subnet.size), c.loss)
    if choices:
        path.parent.mkdir(parents=True, exist_ok=True)
        ordered = sorted(choices.values(), key=lambda choice: (-choice.subnet.size, choice.budget))
        Selection(name, tuple(ordered), session.network).save(path)


def _saved_choices(session: Session, name: str) -> tuple[Choice, ...]:
    try:
        saved = Selection.load(session.run.selection_file(name))
    except (OSError, ValueError):
        return ()
    return saved.choices if saved.network == session.network else ()


def _facts(session: Session) -> tuple[UnitFacts, ...]:
    """What is known of each unit by itself."""
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
        )
        for i, unit in enumerate(table.units)
    )
