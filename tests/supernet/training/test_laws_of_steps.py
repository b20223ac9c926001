"""A training step equals the weighted sum of its passes and computes shared prefixes once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest
import torch
from fairseq2.models.transformer import AttentionBiasCache
from fairseq2.nn import BatchLayout
from torch import Tensor

from supernet.methods.iterative_zero_out import sparsity_penalty
from supernet.methods.simple_top_k import relaxed_top_k
from supernet.network.lanes import Lane
from supernet.network.layer import Layer
from supernet.network.outputs import StepLoss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.plan import Draw, Pass, Plan
from supernet.scorer import Context
from supernet.task import Batch
from supernet.training.shares import assign_rows
from supernet.training.step import step_of
from supernet.units import LayerType
from tests.supernet import tiny
from tests.supernet.network.test_laws import exact_attention
from tests.supernet.tiny import recognizer, tiny_config

__all__ = ["exact_attention"]  # a fixture used here, too

FRAMES = [60, 33, 5, 47, 52, 60, 41]
Plans = dict[str, Plan]


def top_k(context: Context, k: int) -> Tensor:
    return relaxed_top_k(context.scorer.importance(), k)


def _loss(net: SupernetCTC, data: Batch, plan: Plan, draw: Draw | None = None) -> StepLoss:
    loss: StepLoss = net(data, step_of(plan, len(data), draw))
    return loss


def plans(net: SupernetCTC) -> Plans:
    """Plans such as methods make, and unusual ones."""
    table = net.table
    small, middle, full = (table.first(n) for n in (len(table) // 2, 3 * len(table) // 4, len(table)))
    names = str(net.sizes[0]), str(len(table))
    drop = tuple(0.0 if keep else 0.4 for keep in small)
    gate = partial(top_k, k=len(table) // 2)
    nested = Pass(names[1], full, 1.0, drop=drop), Pass(names[1], middle, 0.3), Pass(names[0], small, 0.7)
    shared = tuple(replace(p, share=share) for p, share in zip(nested, (0.5, 0.2, 0.3), strict=True))
    learning = Pass(names[1], full), Pass(names[0], full, 0.3, gate=gate)
    return {
        "every size on the batch": Plan(nested),
        "one size per utterance": Plan(shared),
        "gated on the batch": Plan(learning),
        "gated on rows": Plan(tuple(replace(p, share=0.5) for p in learning)),
        "both ways": Plan((*shared, *learning[1:], replace(nested[2], intermediate=False))),
        "on demand": Plan((Pass(names[1], full, drop=tuple(0.3 * i / len(full) for i in range(len(full)))),)),
    }


KINDS = [f"{unit}-{layer}" for layer in ("conformer", "transformer") for unit in ("layer", "module")]


@pytest.fixture(params=[*KINDS, "component-conformer"])
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    granularity, layer_type = request.param.split("-")
    # Half of the positions lie after the last unit of small subnets.
    model = {"heads": "per-size" if layer_type == "conformer" else "shared", "intermediate": (1, 2, 3)}
    return recognizer(tiny_config(granularity, layer_type, model=model))


def alone(net: SupernetCTC, data: Batch, plan: Plan, draw: Draw) -> Tensor:
    """The sum of the losses of one step per pass, each on a batch of only its rows."""
    total = torch.zeros((), dtype=torch.float64)
    for p, rows in zip(plan.passes, assign_rows(plan.passes, len(data)), strict=True):
        if rows:
            total = total + _loss(net, tiny.part(data, rows), Plan((replace(p, share=None),)), draw).total
    return total


@pytest.mark.parametrize("name", plans(recognizer(tiny_config())))
def test_a_step_is_the_weighted_sum_of_its_passes(net: SupernetCTC, name: str) -> None:
    plan, data, draw = plans(net)[name], tiny.batch(FRAMES), Draw(seed=3, step=5)
    actual, expected = _loss(net, data, plan, draw).total, alone(net, data, plan, draw)
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-12)
    found, wanted = tiny.gradients(net, actual), tiny.gradients(net, expected)
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, atol=1e-9, rtol=1e-9, msg=parameter)
    assert wanted["frontend.conv1.weight"].abs().max() > 1e-3
    is_gated = any(p.gate is not None for p in plan.passes)
    assert bool(wanted["scorer.scores"].abs().max() > 0) == is_gated


def test_the_weight_of_a_pass_multiplies_its_loss(net: SupernetCTC) -> None:
    data, kept = tiny.batch(FRAMES), net.table.full
    one, three = (
        _loss(net, data, Plan((Pass(str(len(kept)), kept, weight),))).total for weight in (1.0, 3.0)
    )
    torch.testing.assert_close(three, 3 * one, atol=0, rtol=1e-12)


def test_a_penalty_counts_once_per_frame(net: SupernetCTC) -> None:
    # The engine divides gradients by the number of frames, which leaves the penalty with its own weight.
    data, passes = tiny.batch(FRAMES), (Pass(str(len(net.table)), net.table.full),)
    penalties = partial(sparsity_penalty, out=2, weight=5.0)
    plain, penalized = (_loss(net, data, Plan(passes, p)) for p in (None, penalties))
    expected = plain.total + plain.num_frames * penalties(net.context)["sparsity"]
    torch.testing.assert_close(penalized.total, expected, atol=1e-10, rtol=1e-12)
    assert plain.num_frames == sum(net.embed(data.features_BTF, data.num_frames)[1])
    assert set(penalized.penalties) == {"sparsity"}


def test_intermediate_losses_are_weighted_as_published() -> None:
    """L = (1 - w) L(final) + w mean(L(intermediate)), from separately computed losses."""
    net = recognizer(tiny_config(model={"intermediate": (1, 2)}, passes={"intermediate_weight": 0.4}))
    data, full = tiny.batch(FRAMES), net.table.full
    reading = tiny.run_lanes(net, data, [Lane(range(len(data)), full, positions=(1, 2))])[0]
    lengths = torch.tensor(net.embed(data.features_BTF, data.num_frames)[1])
    losses = {
        position: torch.nn.functional.ctc_loss(
            net.heads["shared"](x).log_softmax(-1).transpose(0, 1),
            data.targets_BL,
            lengths,
            torch.tensor(data.num_targets),
            reduction="none",
            zero_infinity=True,
        )
        for position, x in reading.items()
    }
    expected = (0.6 * losses[FINAL] + 0.4 * (losses[1] + losses[2]) / 2).sum()
    result = _loss(net, data, Plan((Pass("4", full),)))
    torch.testing.assert_close(result.total, expected, atol=1e-10, rtol=1e-12)
    total, frames = result.by_pass["4"]
    torch.testing.assert_close(total, losses[FINAL].sum(), atol=1e-10, rtol=1e-12)
    assert frames == result.num_frames == lengths.sum()


def rows_run(net: SupernetCTC, plan: Plan, num_rows: int) -> dict[int, list[int]]:
    """The number of rows in each call of each layer's attention while ``plan`` ran."""
    calls: dict[int, list[int]] = defaultdict(list)
    handles = [
        layer.self_attn.output_proj.register_forward_pre_hook(  # type: ignore[union-attr]
            lambda module, args, i=int(i): calls[i].append(args[0].size(0))
        )
        for i, layer in net.encoder.layers.items()
    ]
    _loss(net, tiny.batch([40] * num_rows), plan)
    for handle in handles:
        handle.remove()
    return dict(calls)


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_nested_passes_share_their_prefix(granularity: str) -> None:
    net = recognizer(tiny_config(granularity))
    layer = len(net.table) // 4
    full, three, two = (net.table.first(n * layer) for n in (4, 3, 2))
    plan = Plan(tuple(Pass(str(sum(kept)), kept) for kept in (full, three, two)))
    assert rows_run(net, plan, 5) == {0: [5], 1: [5], 2: [5], 3: [5]}, (
        "each layer ran once, on one copy of the rows"
    )


def test_passes_that_diverge_run_only_their_own_rows() -> None:
    net = recognizer(tiny_config())
    plan = Plan(
        (Pass("4", (True,) * 4), Pass("2", (True, False, True, False)), Pass("2", (True, False, False, True)))
    )
    # The small subnets diverge from the full network at layer 1, and from each other at layer 2.
    assert rows_run(net, plan, 5) == {0: [5], 1: [5], 2: [10], 3: [10]}


def test_one_size_per_utterance_runs_each_layer_on_the_rows_that_keep_it() -> None:
    net = recognizer(tiny_config())
    masks = (True,) * 4, (True, False, True, True), (False, False, True, False)
    plan = Plan(
        tuple(Pass(str(sum(kept)), kept, share=s) for kept, s in zip(masks, (0.5, 0.3, 0.2), strict=True))
    )
    assert rows_run(net, plan, 10) == {0: [8], 1: [5], 2: [10], 3: [8]}


def test_dropped_rows_are_not_run() -> None:
    net = recognizer(tiny_config())
    plan = Plan((Pass("4", (True,) * 4, drop=(0.0, 0.0, 0.999999, 0.0)),))
    assert rows_run(net, plan, 5) == {0: [5], 1: [5], 3: [5]}


def test_a_unit_that_no_pass_keeps_is_not_run() -> None:
    net = recognizer(tiny_config())
    assert rows_run(net, Plan((Pass("2", (True, False, False, True)),)), 3) == {0: [3], 3: [3]}


@pytest.mark.parametrize("granularity", ["layer", "module"])
@pytest.mark.parametrize("layer_type", ["conformer", "transformer"])
@pytest.mark.parametrize("positions", ["relative", "sinusoidal"])
def test_the_encoder_equals_the_engines_layers_in_sequence(
    granularity: str, layer_type: LayerType, positions: str
) -> None:
    net = recognizer(tiny_config(granularity, layer_type, model={"positions": positions}))
    data = tiny.batch(FRAMES)
    x, lengths = net.embed(data.features_BTF, data.num_frames)
    lane = Lane(range(len(data)), net.table.full)
    actual = tiny.output(net, data, lane)

    layout = BatchLayout(x.shape[:2], lengths)
    if net.encoder.positions is not None:
        x = net.encoder.positions(x)
    cache = AttentionBiasCache()
    for layer in net.encoder.layers.values():
        x = super(Layer, layer).forward(x, layout, cache)  # type: ignore[misc]
    expected = tiny.valid(net, data, lane, net.encoder.norm(x))
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)
