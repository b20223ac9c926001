"""The rules for strategies as tests: inherit ``StrategyContract``, create your strategy, run pytest.

    from selection.contract import StrategyContract

    class TestMine(StrategyContract):
        def make(self) -> Strategy:
            return Mine()

No trained network is needed: the evidence is synthetic, and rejects questions that the interface forbids.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from selection.evidence import Evidence, Floats, Measure
from selection.strategy import Strategy
from supernet.budget import Budget, Prices, Quantity, SharedPrice
from supernet.config import Config, ModelConfig
from supernet.units import Kept, UnitTable

METHODS = ("simple-top-k", "iterative-zero-out", "ortho-softmax", "auto-train-once", "dais")
"""The training methods whose scores can be learned on frozen weights."""


class MadeUpEvidence(Evidence):
    """Evidence about a synthetic supernet: each unit lowers the loss by its worth, less an overlap with its
    neighbors.
    """

    def __init__(self, table: UnitTable, seed: int = 0, *, with_scores: bool = True) -> None:
        rng = random.Random(seed)
        self.table, self._with_scores = table, with_scores
        self.worth = tuple(rng.uniform(-0.1, 1.0) for _ in range(len(table)))
        self.overlap = tuple(rng.uniform(0.0, 0.3) for _ in range(len(table)))
        self.num_asked = 0

    @property
    def scores(self) -> tuple[float, ...] | None:
        return self.worth if self._with_scores else None

    def losses(self, subnets: Sequence[Kept]) -> list[float]:
        assert len(subnets) > 0, (
            "ask for the losses of at least one subnet: an empty question costs a pass over the data"
        )
        self.num_asked += len(subnets)
        return [self._loss(kept) for kept in subnets]

    def _loss(self, kept: Kept) -> float:
        assert len(kept) == len(self.table), "a subnet must say for each unit whether it is kept"
        # Forward search starts from no units: frontend and head alone are a network, too.
        gained = sum(worth for worth, keep in zip(self.worth, kept, strict=True) if keep)
        pairs = zip(self.overlap, kept, kept[1:], strict=False)
        return 10.0 - gained + sum(overlap for overlap, a, b in pairs if a and b)

    def similarity(self, measure: Measure) -> Floats:
        depth = np.arange(len(self.table) + 1)
        rate = 0.1 if measure == "cka" else 0.2
        return np.asarray(np.exp(-rate * np.abs(depth[:, None] - depth[None, :])), dtype=np.float64)

    def gate_gradients(self) -> Floats:
        rng = np.random.default_rng(0)
        return np.asarray(rng.normal(-np.array(self.worth), 0.1, size=(20, len(self.table))))

    def weight_saliency(self) -> Floats:
        return np.asarray(np.exp(np.array(self.worth)), dtype=np.float64)

    def scores_on_frozen_weights(self, method: str, budget: Budget) -> tuple[float, ...]:
        assert method in METHODS, "no such score learning"
        assert not budget.fits(budget.full), "there is nothing to learn for a budget that all units meet"
        return tuple(worth + 0.01 * budget.typical_size for worth in self.worth)

    def prices(self, quantity: Quantity) -> Prices:
        num_units = len(self.table)
        return Prices.counting(num_units) if quantity == "units" else uneven(num_units, quantity)


def table(granularity: str, num_layers: int) -> UnitTable:
    return Config(granularity=granularity, sizes=(1,), model=ModelConfig(num_layers=num_layers)).table


def uneven(num_units: int, quantity: Quantity) -> Prices:
    """Prices that differ from unit to unit, one that the first two share, and a base that is always paid."""
    shared = SharedPrice((0, 1), 1.5)
    units = tuple(1.0 + (7 * i % 5) / 2 for i in range(num_units))
    return Prices(quantity, 3.0, units, (shared,) if num_units > 2 else ())


def budgets(num_units: int) -> Iterator[Budget]:
    """Every size below the full network, and limits in other quantities from the cheapest unit alone to
    almost all units.
    """
    for size in range(1, num_units):
        yield Budget.of_size(size, num_units)
    for quantity in ("params", "macs", "latency"):
        prices = uneven(num_units, quantity)
        room = prices.full - prices.cheapest
        for share in (0.0, 0.1, 0.3, 0.5, 0.8, 0.99):
            yield Budget(f"{quantity}={share}", prices.cheapest + share * room, prices)


CASES = [("layer", 2), ("layer", 5), ("layer", 12), ("module", 1), ("module", 3)]


class StrategyContract:
    """Tests of one strategy. Inherit the class under a name that begins with ``Test``, and define ``make``.

    Every test runs for several numbers of layers and modules, and for budgets in every quantity.
    """

    def make(self) -> Strategy:
        """Create the strategy under test.

        Returns:
            A new object each time, with the options to test.

        Raises:
            NotImplementedError: The method is not overridden.
        """
        raise NotImplementedError("`make` must be defined in your test class and return a new strategy.")

    @pytest.fixture(params=CASES, ids=lambda case: f"{case[1]} {case[0]}s")
    def evidence(self, request: pytest.FixtureRequest) -> MadeUpEvidence:
        granularity, size = request.param
        return MadeUpEvidence(table(granularity, size))

    def _chosen(self, evidence: MadeUpEvidence) -> Iterator[tuple[Budget, Kept]]:
        for budget in budgets(len(evidence.table)):
            strategy = self.make()
            if strategy.obstacle(evidence, budget) is None:
                yield budget, strategy.select(evidence, budget)

    def test_a_choice_is_a_bool_for_each_unit(self, evidence: MadeUpEvidence) -> None:
        for budget, kept in self._chosen(evidence):
            assert isinstance(kept, tuple), f"{budget.name}: a subnet must be a tuple"
            assert len(kept) == len(evidence.table), f"{budget.name}: it must have one entry per unit"
            assert all(isinstance(keep, bool) for keep in kept), (
                f"{budget.name}: each entry must be True or False"
            )

    def test_a_choice_fits_the_budget_and_keeps_a_unit(self, evidence: MadeUpEvidence) -> None:
        for budget, kept in self._chosen(evidence):
            assert any(kept), f"{budget.name}: it must keep at least one unit"
            assert budget.fits(kept), f"{budget.name}: {budget.prices.of(kept)} of {budget.limit}"

    def test_a_choice_for_a_size_has_exactly_that_many_units(self, evidence: MadeUpEvidence) -> None:
        for budget, kept in self._chosen(evidence):
            if budget.counts_units:
                assert sum(kept) == budget.limit

    def test_choices_are_deterministic(self, evidence: MadeUpEvidence) -> None:
        strategy = self.make()
        fits = [b for b in budgets(len(evidence.table)) if strategy.obstacle(evidence, b) is None]
        first = [strategy.select(evidence, budget) for budget in fits]
        again = [strategy.select(evidence, budget) for budget in reversed(fits)][::-1]
        anew = [self.make().select(evidence, budget) for budget in fits]
        assert first == again, "a choice must not depend on earlier ones"
        assert first == anew, "a new object must choose like a used one"

    def test_global_random_generators_are_left_alone(self, evidence: MadeUpEvidence) -> None:
        python, numpy = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].copy()
        list(self._chosen(evidence))
        assert random.getstate() == python, "draw from random.Random(seed)"
        after = np.random.get_state(legacy=False)["state"]["key"]
        assert np.array_equal(after, numpy), "draw from numpy.random.default_rng(seed)"

    def test_it_chooses_or_gives_a_reason(self, evidence: MadeUpEvidence) -> None:
        for with_scores in (True, False):
            other = MadeUpEvidence(evidence.table, with_scores=with_scores)
            for budget in budgets(len(other.table)):
                reason = self.make().obstacle(other, budget)
                assert reason is None or reason.strip(), "a reason must not be empty"
                if reason is None:
                    assert budget.fits(self.make().select(other, budget))

    def test_unknown_options_are_rejected(self) -> None:
        options = self.make().Options
        with pytest.raises(ValueError, match="no_such_option"):
            options.model_validate({"no_such_option": 1})
