"""Every strategy satisfies the contract and makes the choices that its name implies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.contract import MadeUpEvidence, StrategyContract, budgets, table, uneven
from selection.evidence import Evidence
from selection.strategies.evolution import Evolution, EvolutionOptions, crossed, mutated
from selection.strategies.exhaustive import Exhaustive, ExhaustiveOptions, all_subnets, num_candidates
from selection.strategies.frozen_weights import (
    AutoTrainOnceOnFrozenWeights,
    DAISOnFrozenWeights,
    IterativeZeroOutOnFrozenWeights,
    OrthoSoftmaxOnFrozenWeights,
    SimpleTopKOnFrozenWeights,
)
from selection.strategies.gradient import Gradient, Saliency
from selection.strategies.greedy import Greedy, GreedyForward, GreedyOptions
from selection.strategies.learned import Learned
from selection.strategies.leave_one_out import LeaveOneOut
from selection.strategies.optuna_search import OptunaSearch
from selection.strategies.rules import EveryOther, Random, RandomOptions, Tail, TailOptions, evenly_spread
from selection.strategies.similarity import Similarity, SimilaritySVCCA
from selection.strategy import Strategy
from supernet.budget import Budget, Prices
from supernet.settings.names import plugin_names
from supernet.settings.plugins import load_plugin
from supernet.units import Kept

FAST: dict[str, dict[str, int]] = {"optuna": {"trials": 4, "batch": 2}}
"""Faster options for strategies that take seconds for a choice by default."""


def loaded(name: str) -> Strategy:
    """The strategy as loaded by the command line."""
    problems: list[str] = []
    kls, options = load_plugin("strategy", {"name": name, **FAST.get(name, {})}, problems)
    assert problems == []
    assert kls is not None
    made: Strategy = kls(options)
    return made


def test_every_strategy_of_the_project_is_found_by_name() -> None:
    own = {Learned, SimpleTopKOnFrozenWeights, IterativeZeroOutOnFrozenWeights, Tail, EveryOther, Random,
           Greedy, GreedyForward, LeaveOneOut, Similarity, SimilaritySVCCA, Gradient, Evolution, Exhaustive,
           OptunaSearch, OrthoSoftmaxOnFrozenWeights, AutoTrainOnceOnFrozenWeights, DAISOnFrozenWeights,
           Saliency}  # fmt: skip
    assert {type(loaded(name)) for name in plugin_names("strategy")} >= own


@pytest.mark.parametrize("name", plugin_names("strategy"), scope="class")
class TestEveryStrategy(StrategyContract):
    @pytest.fixture(autouse=True)
    def _remember(self, name: str) -> None:
        self.name = name

    def make(self) -> Strategy:
        return loaded(self.name)


class TestTailOfTheBest(StrategyContract):
    def make(self) -> Strategy[Any]:
        return Tail(TailOptions(of=3))


def mask(text: str) -> Kept:
    return tuple(letter == "1" for letter in text)


def size(count: int, num_units: int = 12) -> Budget:
    return Budget.of_size(count, num_units)


class FormulaEvidence(MadeUpEvidence):
    """Evidence with losses computed by a formula."""

    def __init__(self, formula: Callable[[Kept], float], num_units: int) -> None:
        super().__init__(table("layer", num_units))
        self.formula, self.asked = formula, list[Kept]()

    def losses(self, subnets: Sequence[Kept]) -> list[float]:
        self.asked += subnets
        return [self.formula(kept) for kept in subnets]


@pytest.fixture
def evidence() -> MadeUpEvidence:
    return MadeUpEvidence(table("layer", 12))


def test_tail_keeps_the_first_units(evidence: Evidence) -> None:
    assert Tail().select(evidence, size(3)) == mask("111000000000")


@pytest.mark.parametrize(("count", "kept"), [(6, "101010101010"), (3, "100010001000"), (9, "111011101110")])
def test_every_other_keeps_evenly_spaced_units(evidence: Evidence, count: int, kept: str) -> None:
    assert EveryOther().select(evidence, size(count)) == mask(kept)


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))))
def test_distances_between_evenly_spaced_units_differ_by_at_most_one(numbers: tuple[int, int]) -> None:
    kept = evenly_spread(*numbers)
    assert sum(kept) == numbers[0]
    places = [*(i for i, keep in enumerate(kept) if keep), numbers[1]]
    distances = {b - a for a, b in itertools.pairwise(places)}
    assert max(distances) - min(distances) <= 1


def test_random_choices_depend_on_the_seed(evidence: Evidence) -> None:
    chosen = {Random(RandomOptions(seed=seed)).select(evidence, size(6)) for seed in range(20)}
    assert len(chosen) > 15


def test_learned_keeps_the_highest_scores(evidence: MadeUpEvidence) -> None:
    kept = Learned().select(evidence, size(4))
    lowest_kept = min(worth for worth, keep in zip(evidence.worth, kept, strict=True) if keep)
    assert lowest_kept > max(worth for worth, keep in zip(evidence.worth, kept, strict=True) if not keep)


def test_learned_fills_other_budgets_in_order_of_scores() -> None:
    evidence = FormulaEvidence(lambda kept: 0.0, 4)
    evidence.worth = (0.9, 0.8, 0.1, 0.7)
    prices = Prices("params", 1.0, (5.0, 4.0, 1.0, 2.0))
    # In order of scores, the first unit (5) fits, the second (4) does not, and the others (2 and 1) do.
    assert Learned().select(evidence, Budget("params", 9.0, prices)) == mask("1011")


def test_learned_cannot_choose_without_scores(evidence: Evidence) -> None:
    unlearned = MadeUpEvidence(evidence.table, with_scores=False)
    assert "no scores" in (Learned().obstacle(unlearned, size(3)) or "")


def test_greedy_evaluates_each_removal_once_and_takes_the_best() -> None:
    worth = (4.0, 1.0, 3.0, 2.0)
    evidence = FormulaEvidence(lambda kept: -sum(w for w, keep in zip(worth, kept, strict=True) if keep), 4)
    assert Greedy().select(evidence, size(2, 4)) == mask("1010")
    assert evidence.asked == [mask(m) for m in ("0111", "1011", "1101", "1110", "0011", "1001", "1010")]


def test_greedy_forward_adds_the_best_unit() -> None:
    worth = (4.0, 1.0, 3.0, 2.0)
    evidence = FormulaEvidence(lambda kept: -sum(w for w, keep in zip(worth, kept, strict=True) if keep), 4)
    assert GreedyForward().select(evidence, size(2, 4)) == mask("1010")
    assert evidence.asked == [mask(m) for m in ("1000", "0100", "0010", "0001", "1100", "1010", "1001")]


def test_greedy_can_miss_the_optimum_found_by_exhaustive() -> None:
    """Units 0 and 1 can replace each other, so either can be dropped, but not both."""
    losses = {"0111": 1.0, "1011": 1.1, "1101": 2.0, "1110": 2.0, "0011": 9.0, "0101": 3.1, "0110": 3.0,
              "1010": 2.5, "1001": 2.0, "1100": 2.2}  # fmt: skip
    evidence = FormulaEvidence(lambda kept: losses["".join(str(int(keep)) for keep in kept)], 4)
    assert Greedy().select(evidence, size(2, 4)) == mask("0110")
    assert Exhaustive().select(evidence, size(2, 4)) == mask("1001")


def test_greedy_uses_the_remaining_budget() -> None:
    """Removing the expensive unit leaves room for a cheap one that was removed earlier."""
    prices = Prices("params", 0.0, (10.0, 1.0, 1.0))
    worth = (2.0, 0.5, 1.0)
    evidence = FormulaEvidence(lambda kept: -sum(w for w, keep in zip(worth, kept, strict=True) if keep), 3)
    by_loss = Greedy(GreedyOptions(per_cost=False))
    assert by_loss.select(evidence, Budget("params", 2.0, prices)) == mask("011")
    assert evidence.asked[:3] == [mask(m) for m in ("011", "101", "110")]


def test_greedy_weighs_the_rise_of_the_loss_by_what_is_saved() -> None:
    """The first unit is worth the most, and the least for its cost; the last one does harm."""
    prices = Prices("macs", 1.0, (8.0, 2.0, 1.0, 1.0))
    worth = (2.0, 1.0, 0.6, -0.1)
    evidence = FormulaEvidence(lambda kept: -sum(w for w, keep in zip(worth, kept, strict=True) if keep), 4)
    assert Greedy().select(evidence, Budget("macs", 11.5, prices)) == mask("0110")
    assert Greedy(GreedyOptions(per_cost=False)).select(evidence, Budget("macs", 11.5, prices)) == mask(
        "1100"
    )


def test_greedy_removes_several_units_before_it_scores_the_others_again() -> None:
    worth = (6.0, 1.0, 5.0, 2.0, 4.0, 3.0)
    evidence = FormulaEvidence(lambda kept: -sum(w for w, keep in zip(worth, kept, strict=True) if keep), 6)
    greedy = Greedy(GreedyOptions(at_once=2))
    assert greedy.select(evidence, size(3, 6)) == mask("101010")
    assert len(evidence.asked) == 6 + 4


def test_greedy_does_not_begin_a_search_of_hours() -> None:
    evidence = MadeUpEvidence(table("layer", 12))
    budget = Budget.of_size(90, 180)
    reason = Greedy().obstacle(evidence, budget)
    assert reason == (
        "it would have to score about 12,195 subnets, more than `greedy.max_subnets` (5,000); "
        "with a `greedy.at_once` of 4 it would be a quarter"
    )
    assert Greedy(GreedyOptions(at_once=4)).obstacle(evidence, budget) is None
    assert "greedy-forward.max_subnets" in (GreedyForward().obstacle(evidence, budget) or "")
    assert GreedyForward().obstacle(evidence, Budget.of_size(10, 180)) is None


def test_leave_one_out_drops_the_least_missed_units() -> None:
    rise = (0.5, 0.0, 0.9, 0.2)
    evidence = FormulaEvidence(lambda kept: sum(r for r, keep in zip(rise, kept, strict=True) if not keep), 4)
    assert LeaveOneOut().select(evidence, size(2, 4)) == mask("1010")
    assert [sum(kept) for kept in evidence.asked] == [3, 3, 3, 3]


def test_gradient_keeps_the_steepest_gates() -> None:
    evidence = MadeUpEvidence(table("layer", 3))
    evidence.worth = (0.2, -2.0, 1.0)  # a large gradient of either sign counts
    assert Gradient().select(evidence, size(2, 3)) == mask("011")


def test_saliency_keeps_the_units_whose_weights_matter_most(evidence: MadeUpEvidence) -> None:
    assert Saliency().select(evidence, size(4)) == evidence.table.top(evidence.worth, 4)


@pytest.mark.parametrize("kls", [Similarity, SimilaritySVCCA])
def test_similarity_drops_units_that_change_the_stream_little(
    kls: type[Similarity], monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = MadeUpEvidence(table("layer", 3))
    matrix = evidence.similarity(kls.measure)
    matrix[0, 1], matrix[1, 2], matrix[2, 3] = 0.2, 0.99, 0.5
    other = np.zeros_like(matrix)  # of the other measure
    by_measure = {"cka": other, "svcca": other, kls.measure: matrix}
    monkeypatch.setattr(evidence, "similarity", by_measure.__getitem__)
    assert kls().select(evidence, size(2, 3)) == mask("101")


@pytest.mark.parametrize("num_units", [4, 6, 9])
def test_exhaustive_finds_the_minimum(num_units: int) -> None:
    evidence = MadeUpEvidence(table("layer", num_units))
    for budget in budgets(num_units):
        chosen = evidence.loss(Exhaustive().select(evidence, budget))
        every = [kept for kept in itertools.product((False, True), repeat=num_units) if budget.fits(kept)]
        rivals = [kept for kept in every if not budget.counts_units or sum(kept) == budget.limit]
        assert chosen == min(evidence.losses(rivals))
        assert len(all_subnets(budget)) == len(rivals) <= num_candidates(budget)


def test_exhaustive_gives_the_number_of_subnets_if_there_are_too_many(evidence: Evidence) -> None:
    reason = Exhaustive(ExhaustiveOptions(max_subnets=100)).obstacle(evidence, size(6))
    assert reason == "it would have to score 924 subnets, more than `exhaustive.max_subnets` (100)"
    assert Exhaustive().obstacle(evidence, size(6)) is None
    assert "281,474,976,710,655" in (
        Exhaustive().obstacle(evidence, Budget("x", 30.0, uneven(48, "macs"))) or ""
    )


@pytest.mark.parametrize("count", [3, 6, 9])
def test_evolution_is_among_the_best_two_percent(evidence: MadeUpEvidence, count: int) -> None:
    best = evidence.loss(Exhaustive().select(evidence, size(count)))
    evidence.num_asked = 0
    found = evidence.loss(Evolution().select(evidence, size(count)))
    assert evidence.num_asked <= 9 * 32
    chance = evidence.losses(all_subnets(size(count)))
    assert sum(loss < found for loss in chance) <= len(chance) // 50
    assert found >= best


def test_more_generations_are_never_worse(evidence: MadeUpEvidence) -> None:
    few, many = (
        evidence.loss(Evolution(EvolutionOptions(generations=n)).select(evidence, size(6))) for n in (1, 12)
    )
    assert many <= few


@given(st.integers(0, 10_000))
def test_mutations_and_crossovers_fit_the_budget(seed: int) -> None:
    draw = random.Random(seed)
    for budget in budgets(7):
        one, other = (budget.fill(draw.sample(range(7), 7)) for _ in range(2))
        assert budget.fits(mutated(one, budget, draw))
        child = crossed(one, other, budget, draw)
        assert budget.fits(child)
        if budget.counts_units:
            assert all(child[i] for i in range(7) if one[i] and other[i])


@given(st.integers(1, 12), st.integers(0, 99))
def test_the_first_of_the_best_units_are_prefixes_of_each_other(of: int, seed: int) -> None:
    evidence, strategy = MadeUpEvidence(table("layer", 12), seed), Tail(TailOptions(of=of))
    largest = evidence.table.top(evidence.worth, of)
    assert strategy.select(evidence, size(of)) == largest
    order = [i for i, keep in enumerate(largest) if keep]
    for count in range(1, of + 1):
        kept = strategy.select(evidence, size(count))
        assert [i for i, keep in enumerate(kept) if keep] == order[:count]


def test_the_first_of_the_best_units_need_scores_and_no_larger_size() -> None:
    strategy, evidence = Tail(TailOptions(of=3)), MadeUpEvidence(table("layer", 12))
    assert strategy.obstacle(evidence, size(3)) is None
    assert strategy.obstacle(evidence, size(4)) == "`tail.of` is 3"
    without = MadeUpEvidence(table("layer", 12), with_scores=False)
    assert strategy.obstacle(without, size(3)) == "the training method learned no scores"
    assert Tail().obstacle(without, size(4)) is None
