"""Scores travel as far in a short training as in a long one, and needed units are kept."""

from __future__ import annotations

import copy
import io
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supernet.budget import Prices
from supernet.config import Config, TrainConfig
from supernet.method import Method
from supernet.methods.iterative_zero_out import TRAVEL, IterativeZeroOut, ZeroOut
from supernet.methods.on_demand import OnDemand
from supernet.methods.simple_top_k import SimpleTopK
from supernet.runs.resolve import resolve
from supernet.scorer import Context
from supernet.training.learning_rate import PiecewiseLinearLR
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule

NEEDED = (1, 4, 5, 8, 10, 11)
SCHEDULES = [
    TrainConfig().schedule,
    ((0.0, 0.0), (0.9, 0.001), (1.0, 1.0)),
    ((0.0, 1.0), (1.0, 1.0)),
]


class Memory(nn.Module):
    """The part of a model that score learning changes, and the state of its schedule."""

    def __init__(self, method: Method[Any]) -> None:
        super().__init__()
        num_units = len(method.table)
        self.scorer = method.scorer()
        self.context = Context(self.scorer, method.table, {}, {"units": Prices.counting(num_units)})
        self.weight, self.bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
        self.masks = torch.zeros(len(method.sizes), num_units, dtype=torch.uint8)
        self.phase = torch.tensor(-1)


class Training:
    """The real schedule, optimizer, and learning rates with an artificial loss."""

    def __init__(self, method: Method[Any]) -> None:
        self.config = method.config
        self.memory = Memory(method)
        self.schedule = Schedule(method, self.memory, self.config.seed)
        groups = parameter_groups(self.memory, self.config.train)
        self.optimizer = SkippingAdamW(groups, self.config.train, torch.tensor(0), torch.tensor(0))
        self.rates = PiecewiseLinearLR(self.optimizer, self.config.train, method.travels())

    def step(self, step: int, noise_U: Tensor) -> None:
        """Each unit of ``NEEDED`` lowers the loss per frame by 0.1; the others only add noise."""
        self.schedule.begin(step)
        plan, context = self.schedule.plan(step), self.memory.context
        (gate,) = (p.gate for p in plan.passes if p.gate is not None)
        worth_U = noise_U.index_add(0, torch.tensor(NEEDED), torch.full((len(NEEDED),), 0.1))
        loss = -(worth_U * gate(context)).sum()
        if plan.penalties is not None:
            loss = loss + sum(plan.penalties(context).values())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.rates.step()


def config(num_steps: int, **train: object) -> Config:
    return Config.model_validate({"sizes": (6, 12), "train": {"num_steps": num_steps, **train}})


def zero_out(num_steps: int, **train: object) -> IterativeZeroOut:
    return IterativeZeroOut(IterativeZeroOut.Options(), config(num_steps, **train))


def num_learning(method: Method[Any]) -> int:
    return sum(phase.num_steps for phase in method.phases() if not phase.chooses)


@pytest.mark.parametrize("num_steps", [200, 20_000])
def test_the_needed_units_stay(num_steps: int) -> None:
    made = Training(method := zero_out(num_steps))
    rng = torch.Generator().manual_seed(0)
    for step in range(num_learning(method)):
        made.step(step, 0.05 * torch.randn(12, generator=rng))
    gates = torch.sigmoid(made.memory.scorer.importance().detach())
    assert float(gates.min()) < 0.1, "gates have closed"
    made.schedule.begin(num_learning(method))
    kept = made.schedule.subnets()["6"]
    assert [unit for unit, keep in enumerate(kept) if keep] == list(NEEDED)
    assert float(gates[list(NEEDED)].min()) > 0.5


@pytest.mark.parametrize("num_steps", [40, 200, 3_000])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_iteration_can_move_a_score_by_15_at_any_rate_of_the_weights(
    num_steps: int, schedule: tuple[tuple[float, float], ...]
) -> None:
    made = Training(method := zero_out(num_steps, schedule=schedule, lr=1e-4))
    rates = []
    for _ in range(num_learning(method)):
        rates.append(made.optimizer.param_groups[2]["lr"])
        made.optimizer.step()
        made.rates.step()
    lengths = [phase.num_steps for phase in method.phases() if isinstance(phase, ZeroOut)]
    ends = [0, *itertools.accumulate(lengths)]
    for a, b in itertools.pairwise(ends):
        assert sum(rates[a:b]) == pytest.approx(TRAVEL)
        assert len(set(rates[a:b])) == 1
    weights = [made.optimizer.param_groups[i]["lr"] for i in (0, 1)]
    assert max(weights) <= 1e-4 * max(factor for _, factor in schedule) + 1e-12


def test_a_score_with_a_constant_gradient_goes_from_open_to_closed() -> None:
    made = Training(zero_out(400))
    for _ in range(phase := made.schedule.at(0)[1].num_steps):
        made.memory.scorer.importance().grad = torch.full((12,), 1e-4)
        made.optimizer.step()
        made.rates.step()
    assert phase < 200
    assert made.memory.scorer.importance().tolist() == pytest.approx([10 - TRAVEL] * 12, abs=0.1)


@pytest.mark.parametrize("method", [SimpleTopK, OnDemand])
def test_other_methods_follow_the_schedule(method: type[Method[Any]]) -> None:
    made = Training(method(method.Options(), config(100)))
    assert made.optimizer.param_groups[2]["lr"] == pytest.approx(3e-2 * (0.05 + 0.95 / 50))


def test_a_rate_in_the_settings_overrides_that_of_the_method() -> None:
    made = Training(zero_out(100, scores_lr=0.5, schedule=((0, 1), (1, 1))))
    assert made.optimizer.param_groups[2]["lr"] == 0.5


@pytest.mark.parametrize("num_steps", [100, 2000])
def test_a_rate_too_low_for_the_iterations_is_raised(num_steps: int) -> None:
    made = Training(zero_out(num_steps, scores_lr=1e-4))
    phase = made.schedule.at(0)[1].num_steps
    assert made.optimizer.param_groups[2]["lr"] == pytest.approx(TRAVEL / phase)


def test_a_decay_of_scores_can_be_set() -> None:
    for decay in (0.0, 0.25):
        made = Training(zero_out(100, scores_weight_decay=decay))
        assert [group["weight_decay"] for group in made.optimizer.param_groups] == [0.01, 0.0, decay]


def test_a_resumed_training_is_bit_exact() -> None:
    whole, stopped = Training(zero_out(200)), Training(zero_out(200))
    noise = torch.randn(100, 12, generator=torch.Generator().manual_seed(0))
    for step in range(100):
        whole.step(step, noise[step])
        if step < 57:
            stopped.step(step, noise[step])
    again = Training(zero_out(200))
    with torch.no_grad():
        again.memory.scorer.importance().copy_(stopped.memory.scorer.importance())
        again.memory.phase.copy_(stopped.memory.phase)
    again.optimizer.load_state_dict(copy.deepcopy(stopped.optimizer.state_dict()))
    again.rates.load_state_dict(copy.deepcopy(stopped.rates.state_dict()))
    for step in range(57, 100):
        again.step(step, noise[step])
    assert torch.equal(again.memory.scorer.importance(), whole.memory.scorer.importance())


def test_the_state_of_the_rates_is_plain_data() -> None:
    state = Training(zero_out(200)).rates.state_dict()
    torch.save(state, file := io.BytesIO())
    file.seek(0)
    assert torch.load(file, weights_only=True) == state


def test_presets_leave_the_rate_to_the_method_and_old_runs_keep_theirs() -> None:
    assert resolve([{}]).config.train.scores_lr is None
    assert resolve([{"preset": "early-peak"}]).config.train.scores_lr == 0.01
