"""Gradients of gates equal finite differences for each utterance; the saliency of weights equals autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from selection.measuring.gradients import gate_gradients, weight_saliency
from supernet.audio.features import LOG_MEL
from supernet.config import Config
from supernet.network.ctc import ctc_loss
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.task import Batch
from tests.supernet.tiny import batch, gates, part, recognizer, run_lanes, tiny_config

FRAMES = [60, 33, 25, 47]
CONFIGS = {
    "layers": tiny_config(),
    "modules": tiny_config("module"),
    "components": tiny_config("component"),
    "transformer": tiny_config("module", "transformer", model={"positions": "sinusoidal"}),
    "heads": tiny_config(model={"heads": "per-size"}),
    "conditioned": tiny_config(model={"self_conditioning": True}),
}


@pytest.fixture(autouse=True)
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep attention weights in the precision of their inputs; the engine would round them to float32."""
    from fairseq2.models.transformer.sdpa import naive

    def softmax(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        return torch.softmax(x, dim)

    monkeypatch.setattr(naive, "softmax", softmax)


def quiet(what: str, done: int, total: int) -> None:
    pass


@torch.no_grad()
def losses(net: SupernetCTC, data: Batch, gates_U: Tensor) -> Tensor:
    """The CTC loss per frame of each utterance, with the same gates for all utterances."""
    rows = range(len(data))
    (reading,) = run_lanes(net, data, [Lane(rows, net.table.full, gates(gates_U))])
    lengths = [LOG_MEL.num_stream_frames(n) for n in data.num_frames]
    log_probs = net.read(reading[FINAL], len(net.table))
    return ctc_loss(log_probs, lengths, data, rows) / torch.tensor(lengths)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_gradients_equal_finite_differences(config: Config) -> None:
    net, data, step = recognizer(config), batch(FRAMES), 1e-5
    gradients = gate_gradients(net, [data], quiet)
    assert gradients.shape == (len(FRAMES), len(net.table))
    assert np.abs(gradients).max() > 1e-3
    for unit in range(len(net.table)):
        ones = torch.ones(len(net.table), dtype=torch.float64)
        more, less = ones.clone(), ones.clone()
        more[unit] += step
        less[unit] -= step
        slopes = (losses(net, data, more) - losses(net, data, less)) / (2 * step)
        np.testing.assert_allclose(gradients[:, unit], slopes.numpy(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_an_utterance_has_the_same_gradients_alone_as_in_a_batch(config: Config) -> None:
    net, whole = recognizer(config), batch(FRAMES)
    alone = [part(whole, range(i, i + 1)) for i in range(len(whole))]
    together, apart = gate_gradients(net, [whole], quiet), gate_gradients(net, iter(alone), quiet)
    np.testing.assert_allclose(apart, together, rtol=1e-9, atol=1e-9)


def test_the_network_is_unchanged() -> None:
    net, told = recognizer(tiny_config()), list[tuple[str, int, int]]()
    net.frontend.requires_grad_(False)
    wanting = {name for name, p in net.named_parameters() if p.requires_grad}
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.train()
    in_training = gate_gradients(net, [batch(FRAMES)] * 2, lambda *told_now: told.append(told_now))
    assert net.training, "the mode must be as before"
    assert np.array_equal(in_training, gate_gradients(net.eval(), [batch(FRAMES)] * 2, quiet)), "no dropout"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert {name for name, p in net.named_parameters() if p.requires_grad} == wanting
    assert all(p.grad is None for p in net.parameters())
    assert [done for _, done, _ in told] == [1, 2]


def test_tensors_from_inference_mode_are_accepted() -> None:
    net, data = recognizer(tiny_config()), batch(FRAMES)
    expected = gate_gradients(net, [data], quiet)
    with torch.inference_mode():
        data.features_BTF, data.targets_BL = data.features_BTF.clone(), data.targets_BL.clone()
    assert np.array_equal(gate_gradients(net, [data], quiet), expected)


def test_without_utterances_there_are_no_rows() -> None:
    assert gate_gradients(recognizer(tiny_config()), [], quiet).shape == (0, 4)


# Weights


def whole_loss(net: SupernetCTC, data: Batch) -> Tensor:
    """The CTC loss of the full network, summed over utterances."""
    rows = range(len(data))
    (reading,) = run_lanes(net, data, [Lane(rows, net.table.full)])
    lengths = [LOG_MEL.num_stream_frames(n) for n in data.num_frames]
    return ctc_loss(net.read(reading[FINAL], len(net.table)), lengths, data, rows).sum()


@pytest.mark.parametrize("name", ["layers", "modules", "components", "heads"])
def test_the_saliency_of_a_unit_is_the_sum_of_its_weights_times_their_gradients(name: str) -> None:
    """The gradient of every weight by autograd; a part of a module has slices of its module's weights."""
    net, parts = recognizer(CONFIGS[name]), [batch(FRAMES[:2], 1), batch(FRAMES, 2)]
    found = weight_saliency(net, parts, quiet)
    sum(whole_loss(net, data) for data in parts).backward()  # type: ignore[union-attr]
    num_frames = sum(LOG_MEL.num_stream_frames(n) for data in parts for n in data.num_frames)
    products = {p: (p * p.grad).abs() / num_frames for p in net.parameters() if p.grad is not None}
    for unit, value in zip(net.table.units, found, strict=True):
        branches = net.encoder.branches(unit.layer)
        if unit.part is None:
            expected = sum(float(products[p].sum()) for p in branches.weights(unit.module))
        else:
            branch, count = branches.named[str(unit.module)], len(net.table.parts_of(unit))
            assert branch.division is not None
            owned = [branch.module.get_parameter(name) for name in branch.division.axes]
            cut = zip(owned, branch.division.axes.values(), strict=True)
            expected = sum(float(products[p].chunk(count, axis)[unit.part].sum()) for p, axis in cut)
        assert value == pytest.approx(expected, rel=1e-9)


def test_saliency_does_not_change_the_network() -> None:
    net = recognizer(tiny_config()).train()
    net.encoder.layers["0"].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    wanting = {name for name, p in net.named_parameters() if p.requires_grad}
    first = weight_saliency(net, [batch(FRAMES)], quiet)
    assert np.array_equal(first, weight_saliency(net.eval(), [batch(FRAMES)], quiet)), "no dropout"
    assert (first > 0).all(), "also of layers that do not train"
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert {name for name, p in net.named_parameters() if p.requires_grad} == wanting
    assert all(p.grad is None for p in net.parameters())
