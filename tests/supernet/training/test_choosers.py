"""OrthoSoftmax, Auto-Train-Once and DAIS: hand-computed gates and penalties, and the laws of each."""

from __future__ import annotations

import copy
import math
import random
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from supernet.budget import Budget, Prices, SharedPrice
from supernet.engine.readers import StepBudget
from supernet.errors import ConfigError
from supernet.method import Moment, Progress
from supernet.methods import auto_train_once, dais
from supernet.methods.auto_train_once import Controller, gumbel_gates, noise, rounded, shrink
from supernet.methods.dais import DAIS, LearnIndicators, indicators
from supernet.methods.ortho_softmax import (
    LearnRows,
    Rows,
    leading_gates,
    orthogonality,
    row_gates,
    rows_of,
)
from supernet.network.unit_prices import NetworkPrices
from supernet.runs.resolve import resolve
from supernet.scorer import Context, Scorer
from supernet.training.compute import unit_steps
from supernet.training.learning_rate import PiecewiseLinearLR
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS, tiny_config, units_of
from tests.supernet.training.test_held_out import Numbered
from tests.supernet.training.test_methods import make, schedule

PRICES = Prices("macs", 10.0, (4.0, 1.0, 2.0, 5.0), (SharedPrice((0, 1), 3.0),))
CHOOSERS = ("ortho-softmax", "auto-train-once", "dais")
each_chooser = pytest.mark.parametrize("name", CHOOSERS)


def given_by(scorer: Scorer) -> Context:
    found = tiny.context([0.0] * 4)
    return replace(found, scorer=scorer)


def rows(logits: list[list[float]]) -> Context:
    scorer = Rows(len(logits))
    scorer.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float64))
    return given_by(scorer)


def moment(step: int, num_steps: int, num_units: int = 4, seed: int = 0) -> Moment:
    return Moment(Progress(step, num_steps), units_of(num_units, "layer"), {}, random.Random(seed))


# OrthoSoftmax

ORDER = [[0, 0, 9, 0], [0, 7, 8, 0], [1, 5, 6, 3], [0, 0, 0, 0]]
"""The first row takes unit 2, which the others would like as well; then 1, 3 and 0."""


def test_each_row_takes_the_best_unit_that_is_left() -> None:
    found = rows([[float(x) for x in row] for row in ORDER])
    assert found.scorer.importance().tolist() == [0, 2, 3, 1]


@given(st.lists(st.floats(-9, 9), min_size=36, max_size=36))
def test_rows_end_orthonormal_so_that_no_unit_is_taken_twice(values: list[float]) -> None:
    scorer = Rows(6)
    scorer.logits = nn.Parameter(torch.tensor(values).view(6, 6))
    assert sorted(scorer.importance().tolist()) == [0, 1, 2, 3, 4, 5]


def test_gates_are_the_chances_that_a_leading_row_takes_a_unit() -> None:
    gates = leading_gates(torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]))
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.75, 0.625, 0.25], [0.75, 0.625, 1.0]])
    torch.testing.assert_close(gates, expected, atol=1e-5, rtol=0)


def test_the_penalty_is_the_squared_distance_from_orthonormal_rows() -> None:
    """Of two rows (1/2, 1/2), all products are 1/2, as far from 1 as from 0, so 4 · 1/4 over 2 rows."""
    found = orthogonality(rows([[0.0, 0.0], [0.0, 0.0]]), temperature=1.0, weight=3.0)
    assert float(found["orthogonality"].detach()) == pytest.approx(1.5)
    apart = rows([[50.0, 0.0], [0.0, 50.0]])
    assert float(
        orthogonality(apart, temperature=0.1, weight=3.0)["orthogonality"].detach()
    ) == pytest.approx(0)


def test_the_gradient_of_the_penalty_drives_equal_rows_apart() -> None:
    found = rows([[1.0, 0.9], [1.0, 0.8]])
    assert isinstance(found.scorer, Rows)
    optimizer = torch.optim.SGD([found.scorer.logits], lr=1.0)
    for _ in range(300):
        optimizer.zero_grad()
        orthogonality(found, temperature=0.5, weight=1.0)["orthogonality"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    taken = rows_of(found, 0.01).argmax(1)
    assert taken.tolist() == [1, 0], "the second row prefers the first unit more clearly"


@given(st.permutations(range(4)), st.floats(0.0, 1.0))
def test_cold_gates_cost_what_their_subnet_costs_the_nearest_to_the_budget(
    order: list[int], share: float
) -> None:
    found = rows((5 * torch.eye(4)[torch.tensor(order)]).tolist())
    budget = Budget("macs", 10 + 15 * share, PRICES)
    gates_U = row_gates(found, temperature=0.01, budget=budget)
    kept = tuple(gate > 0.5 for gate in gates_U.tolist())
    assert gates_U.tolist() == pytest.approx([float(keep) for keep in kept], abs=1e-4)
    prefixes = [tuple(unit in order[:n] for unit in range(4)) for n in range(1, 5)]
    assert kept in prefixes
    distances = [abs(PRICES.of(prefix) - budget.limit) for prefix in prefixes]
    assert distances[prefixes.index(kept)] == pytest.approx(min(distances), abs=1e-3)


def test_rows_cool_and_the_penalty_warms_up_for_one_budget_after_another() -> None:
    config = tiny_config(sizes=(1, 2, 4), train={"num_steps": 20})
    phase = make("ortho-softmax", config, orthogonality=2.0).phases()[0]
    assert isinstance(phase, LearnRows)
    assert [phase.temperature(Progress(step, 10)) for step in (0, 9)] == pytest.approx([1.0, 0.01])
    plans = [phase.plan(moment(step, 10)) for step in range(10)]
    assert [plan.passes[1].budget for plan in plans] == ["1", "2"] * 5
    weights = [plan.penalties.keywords["weight"] for plan in plans if isinstance(plan.penalties, partial)]
    assert weights == pytest.approx([2.0 * i / 9 for i in range(10)])


# Auto-Train-Once


def controller(logits: list[float]) -> Context:
    """A controller with these logits whatever its weights."""
    scorer = Controller(units_of(4, "layer"))
    with torch.no_grad():
        scorer.weight.zero_()
        scorer.bias.copy_(torch.tensor(logits) - auto_train_once.OPEN)
    return given_by(scorer)


def test_at_first_all_units_are_kept() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        context = given_by(Controller(units_of(12, "module")))
        assert float(gumbel_gates(context).detach().min()) > 0.5


def test_rounded_gates_have_the_gradient_of_soft_ones() -> None:
    soft_U = torch.tensor([0.2, 0.6, 0.5], requires_grad=True)
    hard_U = rounded(soft_U)
    assert hard_U.tolist() == [0, 1, 0]
    (hard_U * torch.tensor([1.0, 2.0, 3.0])).sum().backward()  # type: ignore[no-untyped-call]
    assert soft_U.grad is not None
    assert soft_U.grad.tolist() == [1, 2, 3]


@pytest.mark.parametrize(("kept", "cost"), [((0,), 7.0), ((1, 3), 9.0), ((0, 1, 2, 3), 15.0)])
def test_the_cost_penalty_is_the_logarithm_of_the_ratio(kept: tuple[int, ...], cost: float) -> None:
    context = controller([2.0 if unit in kept else -2.0 for unit in range(4)])
    budget = Budget("macs", 10 + 7.5, PRICES)
    found = auto_train_once.cost_penalty(context, budget=budget, weight=4.0)["cost"]
    assert float(found.detach()) == pytest.approx(4 * abs(math.log(cost / 7.5)), rel=1e-5)


def test_noise_is_logistic_and_drawn_from_the_steps_own_generator() -> None:
    drawn = torch.tensor(noise(random.Random(0), 20_000))
    assert float(drawn.mean()) == pytest.approx(0, abs=0.05)
    assert float(drawn.var()) == pytest.approx(math.pi**2 / 3, rel=0.05)
    config = tiny_config(train={"num_steps": 20})
    phase = make("auto-train-once", config).phases()[0]
    gates = [phase.plan(moment(0, 10, seed=seed)).passes[0].gate for seed in (0, 0, 1)]
    context = controller([0.0] * 4)
    values = [gate(context).tolist() for gate in gates if gate is not None]
    assert len({gate for gate in (p.gate for p in phase.plan(moment(0, 10)).passes)}) == 4
    assert values[0] == values[1] != values[2]


def test_masked_units_shrink_by_the_proximal_step_and_others_stay() -> None:
    config = tiny_config("module")
    net = tiny.recognizer(config)
    scorer = Controller(net.table).double()
    with torch.no_grad():
        scorer.weight.zero_()
        scorer.bias.fill_(-auto_train_once.OPEN + 1)
        scorer.bias[[2, 5]] = -auto_train_once.OPEN - 1
    context = replace(net.context, scorer=scorer)
    before = [[w.detach().clone() for w in context.weights[unit.name]] for unit in net.table.units]
    with torch.no_grad():
        shrink(context, 0.6)
    for i, (unit, olds) in enumerate(zip(net.table.units, before, strict=True)):
        norm = math.sqrt(sum(float(w.square().sum()) for w in olds))
        factor = 1 - 0.6 / 2 / norm if i in (2, 5) else 1.0
        for old, new in zip(olds, context.weights[unit.name], strict=True):
            torch.testing.assert_close(new.detach(), factor * old)
    with torch.no_grad():
        shrink(context, 1e9)
    assert not any(w.any() for w in context.weights[net.table.units[2].name])


def test_components_that_share_a_bias_shrink_alone() -> None:
    net = tiny.recognizer(tiny_config("component"))
    scorer = Controller(net.table).double()
    with torch.no_grad():
        scorer.weight.zero_()
        scorer.bias.fill_(-auto_train_once.OPEN + 1)
        scorer.bias[0] = -auto_train_once.OPEN - 1
    context = replace(net.context, scorer=scorer)
    before = copy.deepcopy(net.encoder).weights()
    with torch.no_grad():
        shrink(context, 1e9)
    assert not any(w.any() for w in context.weights[net.table.units[0].name])
    for unit in net.table.units[1:]:
        for old, new in zip(before[unit.name], context.weights[unit.name], strict=True):
            assert torch.equal(old, new)


# DAIS


def test_indicators_are_sigmoids_that_anneal_to_0_or_1() -> None:
    context = tiny.context([0.0, 1.0, -1.0, 0.5])
    expected = [1 / (1 + math.exp(-x / 0.5)) for x in (0.0, 1.0, -1.0, 0.5)]
    assert indicators(context, temperature=0.5).tolist() == pytest.approx(expected)
    config = tiny_config(train={"num_steps": 20})
    phase = make("dais", config, temperature=0.04).phases()[0]
    assert isinstance(phase, LearnIndicators)
    found = [phase.temperature(Progress(step, 11)) for step in (0, 5, 10)]
    assert found == pytest.approx([1.0, 0.2, 0.04])


def test_the_penalty_of_indicators_is_symmetric_around_the_budget() -> None:
    """Gates of 1/2 cost 6 + 3 · 3/4 = 8.25 of 15 beside what always runs."""
    context = tiny.context([0.0] * 4)
    found = [
        dais.cost_penalty(context, temperature=0.1, budget=Budget("macs", 10 + limit, PRICES), weight=2.0)
        for limit in (8.25 + 3, 8.25 - 3, 8.25)
    ]
    assert [float(one["cost"].detach()) for one in found] == pytest.approx([0.08, 0.08, 0.0])


@given(st.lists(st.floats(-3, 3).filter(lambda x: abs(x) > 0.1), min_size=4, max_size=4))
def test_cold_indicators_cost_what_their_subnet_costs(scores: list[float]) -> None:
    kept = tuple(score > 0 for score in scores)
    budget = Budget("macs", PRICES.of(kept), PRICES)
    context = tiny.context(scores)
    found = dais.cost_penalty(context, temperature=1e-3, budget=budget, weight=1.0)["cost"]
    assert float(found.detach()) == pytest.approx(0, abs=1e-9)
    method = DAIS(DAIS.Options(), budgeted(f"macs={budget.limit / 25:.9%}"), {"macs": PRICES})
    if any(kept):
        assert method.choose(context, method.budgets[0]) == kept, "open units are the subnet of their budget"


def budgeted(*budgets: str, **changes: Any) -> Any:
    return tiny_config(**changes).model_copy(update={"sizes": (), "budgets": budgets})


# All of them


def trained(name: str, num_steps: int, granularity: str = "layer", **options: object) -> Training:
    config = tiny_config(granularity, train={"num_steps": num_steps})
    return Training(name, config, options)


class Training:
    """A training in one process, with its reader, optimizer and learning rates."""

    def __init__(self, name: str, config: Any, options: dict[str, object]) -> None:
        torch.manual_seed(0)
        self.method = make(name, config, **options)
        self.net = supernet_of(self.method, NUM_TOKENS).eval()
        self.schedule = Schedule(self.method, self.net, config.seed)
        self.reader = StepBudget(Numbered(), config.train.num_steps, 1, self.schedule.side)
        self.losses = StepLosses(self.net, self.schedule, rows=self.reader.rows)
        skips = self.net.skipped_updates, self.net.skipped_in_a_row
        groups = parameter_groups(self.net, config.train)
        self.optimizer = SkippingAdamW(groups, config.train, *skips, self.losses.end)
        self.rates = PiecewiseLinearLR(self.optimizer, config.train, self.method.travels())
        self.seen: list[set[str]] = []

    def run(self, steps: range) -> Training:
        for step in steps:
            (batch,) = next(self.reader)
            self.reader.begin(step + 1)
            self.seen.append(set(batch.ids))
            self.losses.begin(step)
            self.optimizer.zero_grad()
            loss = self.losses.loss(batch)
            (loss.total / loss.num_frames).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.rates.step()
        return self

    def state(self) -> dict[str, Any]:
        parts = {name: getattr(self, name) for name in ("net", "optimizer", "rates", "reader")}
        return copy.deepcopy({name: part.state_dict() for name, part in parts.items()})

    def resume(self, state: dict[str, Any]) -> Training:
        for name, value in state.items():
            getattr(self, name).load_state_dict(value)
        return self


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@each_chooser
def test_a_training_resumes_bit_by_bit(name: str) -> None:
    straight = trained(name, 16).run(range(16))
    state = trained(name, 16).run(range(5)).state()
    torch.manual_seed(1)
    resumed = trained(name, 16).resume(state).run(range(5, 16))
    assert same(straight.net.state_dict(), resumed.net.state_dict())
    assert straight.seen[5:] == resumed.seen


@each_chooser
@pytest.mark.parametrize("granularity", ["layer", "module", "component"])
def test_scores_are_learned_at_each_granularity_and_stay_once_subnets_are_chosen(
    name: str, granularity: str
) -> None:
    training = trained(name, 8, granularity)
    before = copy.deepcopy(training.net.scorer.state_dict())
    training.run(range(4))
    learned = copy.deepcopy(training.net.scorer.state_dict())
    assert not same(before, learned)
    training.run(range(4, 8))
    assert same(learned, training.net.scorer.state_dict()), "the scorer is frozen"
    assert training.net.masks.sum(1).tolist() == list(training.method.config.sizes)


@pytest.mark.parametrize(("name", "every"), [("auto-train-once", 4), ("dais", 2)])
def test_weights_and_scorer_learn_in_turn_on_different_utterances(name: str, every: int) -> None:
    training = trained(name, 32)
    changed = []
    for step in range(16):
        before = copy.deepcopy(training.net.state_dict())
        training.run(range(step, step + 1))
        after = training.net.state_dict()
        parameters = [key for key, _ in training.net.named_parameters()]
        changed.append(
            {key.startswith("scorer.") for key in parameters if not torch.equal(after[key], before[key])}
        )
    assert changed == [{True} if step % every == 0 else {False} for step in range(16)]
    scorers = set().union(*training.seen[::every])
    weights = set().union(*(seen for step, seen in enumerate(training.seen) if step % every))
    assert not scorers & weights


@each_chooser
def test_compute_counts_the_rows_and_products_of_each_kind_of_step(name: str) -> None:
    """Of 4 units and 48 steps of learning. OrthoSoftmax: half of the rows plain, half gated; all run."""
    config = tiny_config(train={"num_steps": 48}, passes={"smallest_first": 1.0, "layer_drop": 0.0})
    steps, _ = schedule(name, config, score_learning=1.0)
    expected = {
        "ortho-softmax": 48 * 4,
        "dais": 24 * 4 * (0.75 + 0.5 * 2 / 3),  # two batches hold half of one that is held out
        "auto-train-once": 12 * 4 * (3 * 0.9 + 0.5 * 2 / 3),
    }
    assert unit_steps(steps, (1.0,) * 4) == pytest.approx(expected[name])


@each_chooser
def test_costs_of_any_quantity_are_met(name: str) -> None:
    config = budgeted("macs=50%", "macs=100%", granularity="component", train={"num_steps": 8})
    method = make(name, config)
    method = type(method)(method.options, config, NetworkPrices(config, NUM_TOKENS))
    torch.manual_seed(0)
    net = supernet_of(method, NUM_TOKENS).eval()
    steps = Schedule(method, net, 0)
    losses = StepLosses(net, steps)
    names = set[str]()
    for step in range(8):
        losses.begin(step)
        loss = losses.loss(tiny.batch([60] * 12, dtype=torch.float32))
        names |= {f"ctc/{name}" for name in loss.by_pass} | {f"penalty/{name}" for name in loss.penalties}
    assert names <= steps.loss_names()
    small, large = steps.subnets().values()
    assert method.budgets[0].fits(small)
    assert method.budgets[0].addable(small) == []
    assert all(large)


@pytest.mark.parametrize("name", ["auto-train-once", "dais"])
def test_held_out_utterances_exclude_half_precision(name: str) -> None:
    with pytest.raises(ValueError, match=r"`train.precision` must be float32 or bfloat16") as error:
        resolve([{"method": name, "train": {"precision": "float16"}}])
    assert len(str(error.value).splitlines()) == 1
    wrong = {"granularity": "component", "budgets": ["macs=1%", "macs=2%"], "method": name}
    with pytest.raises(ConfigError) as several:
        resolve([{**wrong, "train": {"precision": "float16"}}])
    assert [problem.split()[0] for problem in several.value.problems] == ["`budget`"] * 2 + [
        "`train.precision`"
    ]
    method = {"name": name, "held_out": 0}
    assert resolve([{"method": method, "train": {"precision": "float16"}}]).method.problems() == []
