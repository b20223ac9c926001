"""A scorer is a module that a method provides; it is trained, saved, and loaded with the network."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from supernet.method import Method, Moment, Phase, Progress
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Learning, Pass, Plan
from supernet.runs.model_file import Model, load, save
from supernet.scorer import Context, Scorer
from supernet.text.tokens import Tokens
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, step_of, supernet_of
from tests.supernet import tiny

TOKENS = Tokens(("<blk>", " ", "a", "b", "c", "d"))


class Uncertain(Scorer):
    """A mean and a log-scale per unit; the importance is a lower confidence bound of the mean."""

    def __init__(self, num_units: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.linspace(1, 2, num_units))
        self.log_scale = nn.Parameter(torch.zeros(num_units))

    def importance(self) -> Tensor:
        return self.mean - self.log_scale.exp()


def gates(context: Context) -> Tensor:
    assert isinstance(context.scorer, Uncertain)
    return torch.sigmoid(context.scorer.mean / context.scorer.log_scale.exp())


class Learn(Phase):
    """A phase that halves the weights of a layer after each step."""

    name = "learn"
    chooses = True

    def __init__(self, num_steps: int, learning: Learning) -> None:
        self.num_steps, self._learning = num_steps, learning

    def plan(self, moment: Moment) -> Plan:
        full = moment.table.full
        return Plan((Pass("4", full), Pass("2", full, gate=gates)), learning=self._learning)

    def after_step(self, moment: Moment, context: Context, lr: float) -> None:
        for parameter in context.weights["layers.1"]:
            parameter.mul_(0.5)


class UncertainMethod(SimpleTopK):
    learning: Learning = "everything"

    def scorer(self) -> Scorer:
        return Uncertain(len(self.table))

    def phases(self) -> Sequence[Phase]:
        return [Learn(self.config.train.num_steps, self.learning)]


def make(learning: Learning = "everything") -> tuple[Method[Any], SupernetCTC, StepLosses]:
    method = UncertainMethod(SimpleTopKOptions(), tiny.tiny_config())
    method.learning = learning
    torch.manual_seed(0)
    net = supernet_of(method, tiny.NUM_TOKENS).eval()
    return method, net, StepLosses(net, Schedule(method, net, 0))


def update(net: SupernetCTC, losses: StepLosses) -> dict[str, Tensor]:
    """The parameters' changes in one update."""
    groups = parameter_groups(net, net.config.train)
    optimizer = SkippingAdamW(groups, net.config.train, net.skipped_updates, net.skipped_in_a_row, losses.end)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    losses.begin(0)
    losses.loss(tiny.batch([60, 48], dtype=torch.float32)).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return {name: p.detach() - before[name] for name, p in net.named_parameters()}


def test_all_parameters_of_a_scorer_use_the_learning_rate_of_the_scores() -> None:
    _, net, losses = make()
    matrices, vectors, scores = parameter_groups(net, net.config.train)
    assert {id(p) for p in scores["params"]} == {id(p) for p in net.scorer.parameters()}
    assert len(matrices["params"]) + len(vectors["params"]) + 2 == len(list(net.parameters()))
    changes = update(net, losses)
    for name in ("scorer.mean", "scorer.log_scale"):
        assert bool((changes[name] != 0).all()), name


def test_units_are_chosen_by_importance() -> None:
    _, net, losses = make()
    with torch.no_grad():
        net.get_parameter("scorer.log_scale").copy_(torch.tensor([0.0, 3.0, 0.0, 3.0]))
    losses.begin(0)
    assert net.masks.tolist() == [[1, 0, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("learning", ["weights", "scorer"])
def test_a_step_can_leave_the_weights_or_the_scorer_unchanged(learning: Learning) -> None:
    _, net, losses = make(learning)
    changed = {name for name, change in update(net, losses).items() if bool(change.any())}
    # The weights of layer 1 are halved after the step.
    by_optimizer = {name for name in changed if not name.startswith("encoder.layers.1.")}
    assert {name.startswith("scorer.") for name in by_optimizer} == {learning == "scorer"}
    assert all(p.requires_grad for p in net.parameters())


def test_a_phase_may_change_weights_after_the_update() -> None:
    _, net, losses = make("scorer")
    before = {name: p.detach().clone() for name, p in net.encoder.layers["1"].named_parameters()}
    update(net, losses)
    for name, parameter in net.encoder.layers["1"].named_parameters():
        assert torch.equal(parameter, before[name] / 2), name


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_every_weight_of_a_layer_except_its_final_norm_belongs_to_one_unit(granularity: str) -> None:
    net = tiny.recognizer(tiny.tiny_config(granularity))
    weights = net.context.weights
    assert list(weights) == [unit.name for unit in net.table.units]
    owned = [id(p) for parameters in weights.values() for p in parameters]
    assert len(set(owned)) == len(owned)
    others = [name for name, p in net.encoder.layers.named_parameters() if id(p) not in owned]
    last_norms = {f"{i}.layer_norm.{part}" for i in range(4) for part in ("weight", "bias")}
    assert set(others) == (set() if granularity == "layer" else last_norms)


def test_a_saved_model_contains_the_importance_and_loads_without_the_method(tmp_path: Path) -> None:
    _, net, _ = make()
    save(Model(net, TOKENS), tmp_path / "model")
    again = load(tmp_path / "model").recognizer
    assert torch.equal(again.scorer.importance(), net.scorer.importance())


def test_older_models_can_be_read(tmp_path: Path) -> None:
    """Their scores were not in a module of their own."""
    net = tiny.recognizer(tiny.tiny_config()).float()
    torch.nn.init.normal_(net.scorer.importance())
    save(Model(net, TOKENS), tmp_path / "model")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["scores"] = tensors.pop("scorer.scores")
    save_file(tensors, tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model").recognizer.scorer.importance(), net.scorer.importance())


def test_older_training_states_can_be_read() -> None:
    net, again = (SupernetCTC(tiny.tiny_config(), tiny.NUM_TOKENS) for _ in range(2))
    torch.nn.init.normal_(net.scorer.importance())
    state = net.state_dict()
    state["scores"] = state.pop("scorer.scores")
    again.load_state_dict(state)
    assert torch.equal(again.scorer.importance(), net.scorer.importance())


def test_gates_see_the_phases_progress_and_the_units_of_the_table() -> None:
    method, net, _ = make()
    moment = Moment(Progress(0, 1), method.table, {}, random.Random(0))
    (phase,) = method.phases()
    plain, gated = phase.plan(moment).passes
    assert plain.gate is None
    assert gated.gate is not None
    assert gated.gate(net.context).shape == (4,)
    loss = net(tiny.batch([60, 48], dtype=torch.float32), step_of(phase.plan(moment), 2))
    assert set(loss.by_pass) == {"4", "2-gated"}
