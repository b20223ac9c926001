"""Averages of weights, against means of all weights since each unit joined the training."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from supernet.errors import UserError
from supernet.method import Moment, Phase
from supernet.methods.fixed import Fixed
from supernet.network.tensor_names import is_scorer
from supernet.plan import Pass, Plan
from supernet.training.averaging import Averages, Joins
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.phases import joint_training
from supernet.training.schedule import Schedule
from supernet.training.shares import RowAccount
from supernet.training.step import StepLosses
from tests.supernet import tiny
from tests.supernet.tiny import tiny_config
from tests.supernet.training.test_methods import make

STEPS = 24
FRAMES = [48, 60, 40, 52]
OPTIONS: dict[str, dict[str, Any]] = {
    "simple-top-k": {"score_learning": 0.25},
    "individual": {"grow_from": 1},
}


class Training:
    """A training of a tiny network in float64, which remembers the weights after every update."""

    def __init__(self, method: str = "simple-top-k", *, average_from: float = 0.0, **changes: Any) -> None:
        options = OPTIONS.get(method, {})
        every = changes.pop("average_every", 1)
        train = {"num_steps": STEPS, "lr": 0.02, "average_from": average_from, "average_every": every}
        # Without stochastic depth, by which a unit may skip the first step of its phase.
        passes = {"smallest_first": 0.5, "layer_drop": 0.0}
        config = tiny_config(train=train, passes=passes, **changes)
        trained_by = make(method, config, **options)
        self.net = tiny.recognizer(config).train()
        self.schedule = Schedule(trained_by, self.net, config.seed)
        self.rows = RowAccount()
        self.steps = StepLosses(self.net, self.schedule, rows=self.rows)
        counts = self.net.skipped_updates, self.net.skipped_in_a_row
        groups = parameter_groups(self.net, config.train)
        self.optimizer = SkippingAdamW(groups, config.train, *counts, self.steps.end)
        self.averages = Averages(self.net, self.schedule, config.train, self.optimizer)
        self.before = {name: weight.detach().clone() for name, weight in self.net.named_parameters()}
        self.weights: list[dict[str, Tensor]] = []

    def run(self, steps: range = range(STEPS)) -> Training:
        for step in steps:
            self.steps.begin(step)
            self.optimizer.zero_grad()
            torch.manual_seed(step)
            loss = self.steps.loss(tiny.batch(FRAMES, seed=step))
            (loss.total / loss.num_frames).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.averages.update(step)
            self.weights.append({name: w.detach().clone() for name, w in self.net.named_parameters()})
        return self

    def mean(self, name: str, start: int, every: int = 1) -> Tensor:
        """The mean of a weight over the updates since ``start``, of which every few count."""
        return torch.stack(
            [w[name] for step, w in enumerate(self.weights) if step >= start and (step + 1) % every == 0]
        ).mean(0)

    def starts(self) -> dict[str, int]:
        """By name of a weight, when it joined: with all of the network, or with joint training."""
        small, _ = self.schedule.subnets().values()
        layers = [i for i, keep in enumerate(small) if not keep]
        late = tuple(f"encoder.layers.{i}." for i in layers)
        joint = dict(self.schedule.boundaries()).get("joint", 0)
        return {name: joint if name.startswith(late) else 0 for name in self.weights[0]}


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("method", ["simple-top-k", "fixed"])
def test_averages_are_means_over_the_updates_since_each_unit_joined(method: str, every: int) -> None:
    """Units outside the smallest size rest while it trains alone, and join when all sizes do."""
    training = Training(method, average_every=every).run()
    found, starts = training.averages.result(), training.starts()
    assert set(starts.values()) == {0, 15 if method == "simple-top-k" else 12}
    assert found.keys() == {name for name in starts if not is_scorer(name)}
    for name, average in found.items():
        assert_close(average, training.mean(name, starts[name], every))


def test_averages_begin_no_earlier_than_set() -> None:
    training = Training(average_from=0.75).run()
    for name, average in training.averages.result().items():
        assert_close(average, training.mean(name, 18))


def test_a_unit_that_is_never_trained_keeps_its_initial_values() -> None:
    training = Training("individual", sizes=(2,)).run()
    found = training.averages.result()
    assert {name.split(".")[2] for name in found if name.startswith("encoder.layers.")} == {"0", "1"}
    for name, weight in training.net.named_parameters():
        if name.startswith(("encoder.layers.2.", "encoder.layers.3.")):
            assert torch.equal(weight, training.before[name])


def test_a_network_that_grows_averages_each_unit_from_when_it_joins() -> None:
    training = Training("individual", sizes=(2,)).run()
    found = training.averages.result()
    for name, average in found.items():
        assert_close(average, training.mean(name, 12 if name.startswith("encoder.layers.1.") else 0))


def test_heads_of_sizes_join_with_them() -> None:
    training = Training("fixed", model={"heads": "per-size"}).run()
    found = training.averages.result()
    assert_close(found["heads.2.weight"], training.mean("heads.2.weight", 0))
    assert_close(found["heads.4.weight"], training.mean("heads.4.weight", 12))


def test_averaging_changes_neither_weights_nor_gradients() -> None:
    plain, averaged = Training(average_from=1.0).run(), Training().run()
    assert plain.averages.result() == {}
    for one, other in zip(plain.weights, averaged.weights, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any(average.requires_grad for average in averaged.averages.result().values())


@pytest.mark.parametrize("stop", [5, 6, 14, 15, 16, 23])
def test_resumed_averages_are_those_of_a_training_never_stopped(stop: int) -> None:
    whole, first = Training(average_every=2).run(), Training(average_every=2).run(range(stop))
    second = Training(average_every=2)
    second.net.load_state_dict(first.net.state_dict())
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.rows.load_state_dict(first.rows.state_dict())
    second.run(range(stop, STEPS))
    expected, found = whole.averages.result(), second.averages.result()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("granularity", "sizes"), [("module", (6, 16)), ("component", (11, 28))])
def test_modules_join_each_for_itself(granularity: str, sizes: tuple[int, ...]) -> None:
    """Those of which the smallest size has only some parts join with the others."""
    training = Training("fixed", granularity=granularity, sizes=sizes).run()
    found, starts = training.averages.result(), defaultdict[str, int](int)
    early = {unit.name for unit in training.net.table.units[: sizes[0]]}
    for unit in training.net.table.units:
        weights = training.net.encoder.branches(unit.layer).weights(unit.module)
        for name, weight in training.net.named_parameters():
            if unit.name not in early and any(weight is one for one in weights):
                starts[name] = 12
    assert len(starts) > 20
    for name, average in found.items():
        assert_close(average, training.mean(name, starts[name]))


class Ranking(Phase):
    """A phase that trains only the scorer."""

    name = "ranking"

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def plan(self, moment: Moment) -> Plan:
        return Plan((Pass("4", moment.table.full),), learning="scorer")


def test_a_phase_that_trains_only_the_scorer_trains_no_unit() -> None:
    class Ranked(Fixed):
        def phases(self) -> list[Phase]:
            return [Ranking(4), *joint_training(STEPS - 4, self.config)]

    config = tiny_config(train={"num_steps": STEPS}, passes={"smallest_first": 0.5})
    method = Ranked(Fixed.Options(), config)
    net = tiny.recognizer(config)
    schedule = Schedule(method, net, config.seed)
    schedule.begin(STEPS - 1)
    joined = Joins(net, schedule).at(STEPS - 1)
    assert joined == {f"layers.{i}": 4 if i < 2 else 14 for i in range(4)} | {"heads.shared": 4}


def test_batch_statistics_are_an_error() -> None:
    training = Training()
    training.net.frontend.norm = nn.BatchNorm1d(16)
    config = training.net.config.train
    with pytest.raises(UserError, match=r"must be left out with a network that has batch statistics"):
        Averages(training.net, training.schedule, config, training.optimizer)
    without = config.model_copy(update={"average_from": None})
    assert Averages(training.net, training.schedule, without, training.optimizer).result() == {}
