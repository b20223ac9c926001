"""The laws of the supernet hold for another family of encoders; run where the package is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from supernet.errors import ConfigError
from supernet.export.graph import Graph
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.runs.resolve import resolve, setting_names
from tests.supernet import tiny
from tests.supernet.network.test_laws import assert_equal
from tests.supernet.tiny import output, recognizer, run_lanes, tiny_config, valid
from tests.supernet.training.test_waiting import counts

FRAMES = [60, 33, 5, 47]
ALL = range(len(FRAMES))
ENCODER = {"name": "neighbors", "reach": 2}


@pytest.fixture(params=["layer", "module"])
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    sizes = (2, 4) if request.param == "layer" else (4, 8)
    return recognizer(tiny_config(request.param, sizes=sizes, model={"encoder": ENCODER}))


def alternate(net: SupernetCTC) -> tuple[bool, ...]:
    return tuple(i % 2 == 0 for i in range(len(net.table)))


def test_units_are_those_of_the_family(net: SupernetCTC) -> None:
    is_layer = net.table.granularity == "layer"
    assert [unit.name for unit in net.table.units][:2] == (
        ["layers.0", "layers.1"] if is_layer else ["layers.0.mix", "layers.0.mlp"]
    )


def test_gates_and_lanes(net: SupernetCTC) -> None:
    data, full, count = tiny.batch(FRAMES), net.table.full, len(net.table)
    plain = output(net, data, Lane(ALL, full))
    assert plain.abs().max() > 0.1
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates([1.0] * count))), plain)
    skipped = output(net, data, Lane(ALL, alternate(net)))
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates(alternate(net)))), skipped)
    lanes = [Lane(range(1, 3), alternate(net)), Lane(ALL, full)]
    found = run_lanes(net, data, lanes)
    assert_equal(valid(net, data, lanes[0], found[0][FINAL]), skipped[1:3])
    assert_equal(valid(net, data, lanes[1], found[1][FINAL]), plain)


def test_an_utterance_in_a_padded_batch_is_the_same_alone(net: SupernetCTC) -> None:
    data = tiny.batch(FRAMES)
    dirty = data.features_BTF.clone()
    for row, n in enumerate(FRAMES):
        dirty[row, n:] = float("nan")
    together = net.log_probs(dirty, FRAMES, net.table.full)
    for row, (n, length) in enumerate(zip(FRAMES, data.stream_lengths, strict=True)):
        alone = net.log_probs(data.features_BTF[row : row + 1, :n], [n], net.table.full)
        assert_equal(together[row, :length], alone[0, :length])


def test_a_cut_model_equals_its_subnet_and_its_exported_graph(net: SupernetCTC) -> None:
    data, kept = tiny.batch(FRAMES), alternate(net)
    expected = net.log_probs(data.features_BTF, FRAMES, kept)
    small = cut(net, net.table.subnet(kept))
    assert_equal(small.log_probs(data.features_BTF, FRAMES, small.table.full), expected)
    assert macs(small.float(), 0.6) == macs(net.float(), 0.6, kept) < macs(net, 0.6)
    dynamic = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        Graph(small),
        (data.features_BTF.float(), torch.tensor(FRAMES)),
        dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic}),
    )
    log_probs_BSV, lengths_B = program.module()(data.features_BTF.float(), torch.tensor(FRAMES))
    for row, length in enumerate(lengths_B.tolist()):
        torch.testing.assert_close(
            log_probs_BSV[row, :length].double(), expected[row, :length], atol=1e-4, rtol=1e-4
        )


def test_its_options_are_settings() -> None:
    model: dict[str, Any] = {"encoder": "neighbors"}
    found = resolve([{"model": model}]).config.model
    assert found.encoder.options == {"reach": 1}
    assert "model.encoder.reach" in setting_names({"model": {"encoder": {"name": "neighbors"}}})
    with pytest.raises(
        ConfigError, match=r"`model\.encoder\.raech` must be a setting that .* Did you mean reach"
    ):
        resolve([{"model": {"encoder": {"name": "neighbors", "raech": 2}}}])
    for encoder, problem in {
        "neighbours": r"`model\.encoder` must be one of .* Did you mean neighbors\?",
        "neighbors": r"`model\.init` must be the folder of a finished run",
    }.items():
        init = {"init": "nowhere"} if encoder == "neighbors" else {}
        with pytest.raises(ConfigError, match=problem):
            resolve([{"model": {"encoder": encoder, **init}}])
    with pytest.raises(ConfigError, match=r"`model\.encoder\.raech` must be a setting .* Did you mean reach"):
        resolve([{"model": {"encoder": {"name": "neighbors", "raech": 2}}}])


def test_no_step_waits_for_a_gpu() -> None:
    for granularity, sizes in (("layer", (2, 4)), ("module", (4, 8))):
        config = tiny_config(granularity, sizes=sizes, model={"encoder": ENCODER}, train={"num_steps": 40})
        assert min(found.operations for found in counts("simple-top-k", config).values()) > 100
