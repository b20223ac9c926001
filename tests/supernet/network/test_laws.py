"""The laws of the supernet: sharing, gating, skipping, and cutting do not change any output."""

from __future__ import annotations

import itertools
import random
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.config import Config
from supernet.network.branches import Branch, Residual
from supernet.network.ctc import ctc_loss
from supernet.network.cutting import cut
from supernet.network.lanes import Gates, Lane, LaneWalk, Padding
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.runs.model_file import Model, load, save
from supernet.text.tokens import Tokens
from supernet.units import Kept
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS, output, recognizer, run_lanes, tiny_config, valid

FRAMES = [60, 33, 5, 47]
ALL = range(len(FRAMES))
TOLERANCE = 1e-12


def combinations() -> Iterator[tuple[str, Config]]:
    """Every combination of granularity, layer type, positions, heads, and self-conditioning."""
    for granularity, layer_type, positions in itertools.product(
        ("layer", "module"), ("conformer", "transformer"), ("relative", "sinusoidal")
    ):
        for heads, conditioned in (("shared", False), ("per-size", False), ("shared", True)):
            name = f"{granularity}-{layer_type}-{positions}-{heads}" + ("-conditioned" if conditioned else "")
            model = {"positions": positions, "heads": heads, "self_conditioning": conditioned}
            yield name, tiny_config(granularity, layer_type, model=model)  # type: ignore[arg-type]
    published = {"positions": "none", "heads": "per-size", "convolution_bias": True}
    for granularity in ("layer", "module"):
        config = tiny_config(granularity, "conformer-conv-first", model=published)
        yield f"{granularity}-conformer-conv-first", config
    for layer_type, positions in (("conformer", "relative"), ("transformer", "sinusoidal")):
        model = {"positions": positions, "num_heads": 4}
        yield f"component-{layer_type}", tiny_config("component", layer_type, model=model)  # type: ignore[arg-type]
    yield "layer-conformer-subsampling-8", tiny_config(model={"subsampling": 8})


COMBINATIONS = dict(combinations())


@pytest.fixture(autouse=True)
def exact_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the engine's attention weights as precise as its inputs; normally it rounds them to float32."""
    from fairseq2.models.transformer.sdpa import naive

    def softmax(x: Tensor, dim: int, dtype: torch.dtype) -> Tensor:
        return torch.softmax(x, dim)

    monkeypatch.setattr(naive, "softmax", softmax)


@pytest.fixture(params=list(COMBINATIONS.values()), ids=list(COMBINATIONS))
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    return recognizer(request.param)


def alternate(net: SupernetCTC) -> Kept:
    """Every other unit, starting with the first: half of all."""
    return tuple(i % 2 == 0 for i in range(len(net.table)))


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_gates_of_one_change_nothing(net: SupernetCTC) -> None:
    data, full = tiny.batch(FRAMES), net.table.full
    ones = torch.ones(len(net.table), dtype=torch.float64)
    gated = output(net, data, Lane(ALL, full, tiny.gates(ones)))
    assert_equal(gated, output(net, data, Lane(ALL, full)))
    assert gated.abs().max() > 0.1


def test_a_gate_of_zero_equals_skipping_the_unit(net: SupernetCTC) -> None:
    data = tiny.batch(FRAMES)
    for kept in (alternate(net), *([i != u for i in range(len(net.table))] for u in range(len(net.table)))):
        gates = tiny.gates(kept)
        skipped = output(net, data, Lane(ALL, tuple(kept)))
        assert_equal(output(net, data, Lane(ALL, net.table.full, gates)), skipped)
        assert not torch.allclose(skipped, output(net, data, Lane(ALL, net.table.full)))


def test_a_layers_gate_interpolates() -> None:
    net, data = recognizer(tiny_config(sizes=(1,), model={"num_layers": 1})), tiny.batch(FRAMES)
    gate = tiny.gates([0.3])
    nothing, everything, gated = (
        output(net, data, Lane(ALL, kept, gates))
        for kept, gates in (((False,), None), ((True,), None), ((True,), gate))
    )
    assert_equal(gated, 0.7 * nothing + 0.3 * everything)


def test_a_branch_is_multiplied_by_its_gate_and_its_survivor_scale() -> None:
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    lane = Lane(range(2), (True,), tiny.gates([0.5]), {0: frozenset({1})}, {0: 4.0})
    walk = LaneWalk(x, Padding([3, 3], x), [lane])
    walk.run([0], Residual(Branch(torch.nn.Identity(), lambda x_NSD, context: x_NSD.square())))
    assert_equal(walk.x_RSD, torch.stack([x[0] + 0.5 * 4 * x[0] ** 2, x[1]]))


def test_a_cut_model_equals_its_subnet(net: SupernetCTC, tmp_path: Path) -> None:
    data, kept = tiny.batch(FRAMES), alternate(net)
    subnet = net.table.subnet(kept)
    expected = net.log_probs(data.features_BTF, data.num_frames, kept)
    small = cut(net, subnet)
    assert_equal(small.log_probs(data.features_BTF, data.num_frames, small.table.full), expected)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in net.parameters())

    symbols = Tokens(("<blk>", *"abcde"))
    single = cut(net.float(), subnet)  # files hold weights in single precision
    save(Model(single, symbols), tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.tokens == symbols
    again = loaded.recognizer.double()
    actual = again.log_probs(data.features_BTF, data.num_frames, again.table.full)
    assert_equal(actual, net.double().log_probs(data.features_BTF, data.num_frames, kept))


def test_a_size_without_a_head_is_cut_with_that_of_the_next_larger_size() -> None:
    net, data = recognizer(tiny_config(sizes=(2, 4), model={"heads": "per-size"})), tiny.batch([50])
    kept = net.table.first(3)
    small = cut(net, net.table.subnet(kept))
    actual = small.log_probs(data.features_BTF, data.num_frames, small.table.full)
    assert_equal(actual, net.log_probs(data.features_BTF, data.num_frames, kept, size=4))
    assert not torch.allclose(actual, net.log_probs(data.features_BTF, data.num_frames, kept, size=2))


def test_an_utterance_in_a_padded_batch_is_the_same_alone(net: SupernetCTC) -> None:
    data, kept = tiny.batch(FRAMES), alternate(net)
    for mask in (net.table.full, kept):
        together = net.log_probs(data.features_BTF, data.num_frames, mask)
        _, lengths = net.embed(data.features_BTF, data.num_frames)
        for row, (frames, length) in enumerate(zip(data.num_frames, lengths, strict=True)):
            alone = net.log_probs(data.features_BTF[row : row + 1, :frames], [frames], mask)
            assert alone.shape[1] == length
            assert_equal(together[row, :length], alone[0])


@pytest.mark.parametrize("garbage", [1e6, float("inf"), float("nan")])
def test_the_content_of_padding_does_not_matter(net: SupernetCTC, garbage: float) -> None:
    data = tiny.batch(FRAMES)
    expected = net.log_probs(data.features_BTF, data.num_frames, net.table.full)
    dirty = data.features_BTF.clone()
    for row, frames in enumerate(data.num_frames):
        dirty[row, frames:] = garbage
    assert_equal(net.log_probs(dirty, data.num_frames, net.table.full), expected)


Lanes = Callable[[SupernetCTC], list[Lane]]


def _gates(net: SupernetCTC) -> Tensor:
    return torch.sigmoid(net.scorer.importance() * torch.linspace(-1, 2, len(net.table), dtype=torch.float64))


def same_rows(net: SupernetCTC) -> list[Lane]:
    return [Lane(ALL, net.table.full), Lane(ALL, alternate(net)), Lane(ALL, net.table.first(1))]


def disjoint_rows(net: SupernetCTC) -> list[Lane]:
    return [
        Lane(range(1), net.table.full),
        Lane(range(1, 3), alternate(net)),
        Lane(range(3, 4), net.table.first(2)),
    ]


def overlapping_rows(net: SupernetCTC) -> list[Lane]:
    return [
        Lane(range(3), net.table.full),
        Lane(range(1, 4), net.table.full),
        Lane(range(2, 3), alternate(net)),
    ]


def with_drops(net: SupernetCTC) -> list[Lane]:
    drops, scale = (
        {1: frozenset({0, 2}), 3: frozenset({3}), 2: frozenset[int]()},
        {1: 1 / 0.7, 3: 2.0, 2: 1.25},
    )
    everyone = {0: frozenset(ALL)}
    full = net.table.full
    return [Lane(ALL, full, None, drops, scale), Lane(ALL, full), Lane(ALL, full, None, everyone, {0: 2.0})]


def gated_and_plain(net: SupernetCTC) -> list[Lane]:
    gates = Gates("sigmoid", _gates(net))
    return [
        Lane(ALL, net.table.full),
        Lane(ALL, net.table.full, gates),
        Lane(range(2), net.table.full, gates),
    ]


def everything(net: SupernetCTC) -> list[Lane]:
    return [lane for make in (overlapping_rows, with_drops, gated_and_plain) for lane in make(net)]


@pytest.mark.parametrize(
    "make", [same_rows, disjoint_rows, overlapping_rows, with_drops, gated_and_plain, everything]
)
def test_lanes_run_together_equal_each_run_alone(net: SupernetCTC, make: Lanes) -> None:
    data = tiny.batch(FRAMES)
    lanes = [replace(lane, positions=(1, 2, 3)) for lane in make(net)]
    rng = torch.Generator().manual_seed(1)

    def loss(lane: Lane, reading: dict[int, Tensor], weights: list[Tensor]) -> Tensor:
        parts = [valid(net, data, lane, reading[p]) for p in (1, 2, 3, FINAL)]
        return sum((w * x).mean() for w, x in zip(weights, parts, strict=True))  # type: ignore[return-value]

    together = run_lanes(net, data, lanes)
    alone = [run_lanes(net, data, [lane])[0] for lane in lanes]
    weights = [[torch.randn(x.shape, generator=rng, dtype=x.dtype) for x in r.values()] for r in alone]
    for lane, a, b in zip(lanes, together, alone, strict=True):
        assert set(a) == set(b) == {1, 2, 3, FINAL}
        for position in b:
            assert_equal(valid(net, data, lane, a[position]), valid(net, data, lane, b[position]))

    losses = [sum(map(loss, lanes, readings, weights)) for readings in (together, alone)]
    actual, expected = (tiny.gradients(net, x) for x in losses)  # type: ignore[arg-type]
    for name, gradient in expected.items():
        # The engine adds absolute positions in float32, which rounds gradients that reach the frontend.
        rounded = net.encoder.positions is not None and name.startswith("frontend.")
        atol, rtol = (1e-8, 1e-5) if rounded else (TOLERANCE, TOLERANCE)
        torch.testing.assert_close(actual[name], gradient, msg=f"{name} differs", atol=atol, rtol=rtol)
    assert any(gradient.abs().max() > 1e-3 for gradient in expected.values())


def test_num_tokens_is_the_output_size_of_the_heads() -> None:
    net, data = recognizer(tiny_config()), tiny.batch(FRAMES)
    assert net.log_probs(data.features_BTF, data.num_frames, net.table.full).shape == (4, 14, NUM_TOKENS)


def some_subnets(net: SupernetCTC) -> list[Kept]:
    """All subsets of few units, or many subsets of many units, in random order, some of them twice."""
    count, rng = len(net.table), random.Random(0)
    if count > 16:
        found = [tuple(rng.random() < 0.5 for _ in range(count)) for _ in range(15)]
        return [*found, *found[:5]]
    everything = [kept for kept in itertools.product((False, True), repeat=count) if any(kept)]
    return rng.choices(everything, k=12) + rng.sample(everything, k=min(15, len(everything)))


def test_every_subset_of_a_walk_equals_that_subset_alone(net: SupernetCTC) -> None:
    data, subnets = tiny.batch(FRAMES), some_subnets(net)
    found = {scored.kept: (scored.emissions_BSE, scored.losses_B) for scored in net.score_all(data, subnets)}
    assert set(found) == set(subnets)
    for kept, (log_probs_BSV, losses_B) in found.items():
        alone_BSV = net.log_probs(data.features_BTF, data.num_frames, kept)
        lengths = net.embed(data.features_BTF, data.num_frames)[1]
        for row, length in enumerate(lengths):
            assert_equal(log_probs_BSV[row, :length], alone_BSV[row, :length])
        assert_equal(losses_B, ctc_loss(alone_BSV, lengths, data, ALL))


def test_each_subset_is_yielded_once(net: SupernetCTC) -> None:
    subnets = some_subnets(net)
    found = [scored.kept for scored in net.score_all(tiny.batch([20]), subnets)]
    assert sorted(found) == sorted(set(subnets))


def test_without_subsets_nothing_runs(net: SupernetCTC) -> None:
    assert list(net.score_all(tiny.batch([20]), [])) == []


def test_the_memory_of_a_walk_grows_only_with_the_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    net, alive = recognizer(tiny_config()), weakref.WeakSet[LaneWalk]()
    start, most = LaneWalk.__init__, 0

    def counted(self: LaneWalk, *arguments: Any) -> None:
        nonlocal most
        start(self, *arguments)
        alive.add(self)
        most = max(most, len(alive))

    monkeypatch.setattr(LaneWalk, "__init__", counted)
    all_subsets = [kept for kept in itertools.product((False, True), repeat=tiny.NUM_LAYERS) if any(kept)]
    assert sum(1 for _ in net.score_all(tiny.batch([20]), all_subsets)) == 15
    assert most == tiny.NUM_LAYERS
