"""A pretrained wav2vec 2.0 encoder as a supernet has the same outputs as in fairseq2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq2.nn import BatchLayout
from torch import Tensor

from supernet.audio.features import SAMPLES
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.model_costs import macs
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.runs.model_file import Model, load, save
from supernet.task import Batch
from supernet.text.tokens import Tokens
from tests.supernet import encoders, tiny
from tests.supernet.encoders import Kind, supernet
from tests.supernet.tiny import output, run_lanes, valid

LENGTHS = [5000, 1600, 300, 3217]
"""Numbers of samples; one utterance is shorter than a frame's receptive field."""
ALL = range(len(LENGTHS))
NETS: list[tuple[Kind, str]] = [
    ("base", "layer"),
    ("large_lv60k", "layer"),
    ("large_lv60k", "module"),
    ("large_lv60k", "component"),
]


@pytest.fixture(params=NETS, ids=lambda net: "-".join(net))
def net(request: pytest.FixtureRequest, folders: dict[Kind, Path]) -> SupernetCTC:
    kind, granularity = request.param
    return supernet(folders[kind], granularity)


def speech(lengths: list[int]) -> Batch:
    """Random samples within the range of recordings."""
    rng = torch.Generator().manual_seed(0)
    rows = [torch.rand(n, 1, generator=rng, dtype=torch.float64) - 0.4 for n in lengths]
    targets = torch.ones(len(lengths), 1, dtype=torch.int64)
    ids = [f"u{i}" for i in range(len(lengths))]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch(padded, lengths, targets, [1] * len(lengths), ids, ["a"] * len(lengths), SAMPLES)


def assert_equal(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("kind", "granularity"), NETS)
@torch.no_grad()
def test_the_full_network_equals_fairseq2s_own_encoder(
    kind: Kind, granularity: str, folders: dict[Kind, Path]
) -> None:
    theirs, ours = encoders.model(kind)[0].double(), supernet(folders[kind], granularity)
    data = speech([5000, 1600, 400])
    x_BSD = output(ours, data, Lane(range(3), ours.table.full))
    for row, (samples_T1, n) in enumerate(zip(data.features_BTF, data.num_frames, strict=True)):
        x_1T = samples_T1[None, :n, 0]
        if kind == "large_lv60k":
            x_1T = F.layer_norm(x_1T, (n,))
        expected = theirs.encoder(*theirs.encoder_frontend(x_1T, BatchLayout.of(x_1T)))
        assert_equal(x_BSD[row : row + 1, : expected.size(1)], expected, 1e-10)
        assert expected.std() > 0.1


@pytest.mark.parametrize("kind", ["base", "large_lv60k"])
@torch.no_grad()
def test_samples_are_masked_after_normalization(kind: Kind, folders: dict[Kind, Path]) -> None:
    frontend: Any = supernet(folders[kind], "layer").frontend
    data = speech([1600, 900])
    hidden = torch.zeros(2, 1600, 1, dtype=torch.bool)
    hidden[0, 300:700] = hidden[1, 100:200] = True
    expected = []
    for samples_T1, hidden_T1, n in zip(data.features_BTF, hidden, data.num_frames, strict=True):
        x_T = samples_T1[:n, 0] if kind == "base" else F.layer_norm(samples_T1[:n, 0], (n,))
        x_1T = x_T.masked_fill(hidden_T1[:n, 0], 0)[None]
        expected.append(frontend.body(x_1T, BatchLayout.of(x_1T))[0][0])
    for actual_SD, expected_SD in zip(
        frontend.embed(data.features_BTF, [1600, 900], hidden), expected, strict=True
    ):
        assert_equal(actual_SD[: len(expected_SD)], expected_SD)


@torch.no_grad()
def test_a_network_cut_and_saved_equals_its_subnet(net: SupernetCTC, tmp_path: Path) -> None:
    data = speech(LENGTHS)
    kept = tuple(i % 2 == 0 for i in range(len(net.table)))
    expected = net.log_probs(data.features_BTF, data.num_frames, kept)
    small = cut(net, net.table.subnet(kept))
    assert_equal(small.log_probs(data.features_BTF, data.num_frames, small.table.full), expected)
    assert not torch.allclose(expected, net.log_probs(data.features_BTF, data.num_frames, net.table.full))

    tokens = Tokens(("<blk>", *"abcde"))
    save(Model(small.float(), tokens), tmp_path / "model")
    again = load(tmp_path / "model").recognizer.double()  # needs no fairseq2 checkpoint
    assert again.input is SAMPLES
    assert_equal(again.log_probs(data.features_BTF, data.num_frames, again.table.full), expected)


@torch.no_grad()
def test_an_utterance_in_a_padded_batch_is_the_same_alone(net: SupernetCTC) -> None:
    data = speech(LENGTHS)
    dirty = data.features_BTF.clone()
    for row, n in enumerate(LENGTHS):
        dirty[row, n:] = float("nan")
    together = net.log_probs(dirty, LENGTHS, net.table.full)
    for row, (n, length) in enumerate(zip(LENGTHS, data.stream_lengths, strict=True)):
        alone = net.log_probs(data.features_BTF[row : row + 1, :n], [n], net.table.full)
        assert alone.shape[1] == length
        assert_equal(together[row, :length], alone[0])


def test_gates_and_lanes_work_as_for_other_encoders(net: SupernetCTC) -> None:
    data, full = speech(LENGTHS), net.table.full
    ones = torch.ones(len(net.table), dtype=torch.float64)
    plain = output(net, data, Lane(ALL, full))
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates(ones))), plain)
    fewer = tuple(i != 1 for i in range(len(net.table)))
    without = output(net, data, Lane(ALL, fewer))
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates(ones * torch.tensor(fewer)))), without)
    lanes = [Lane(ALL, full), Lane(range(1, 3), fewer)]
    first, second = run_lanes(net, data, lanes)
    assert_equal(valid(net, data, lanes[0], first[FINAL]), plain)
    assert_equal(valid(net, data, lanes[1], second[FINAL]), without[1:3])


@pytest.mark.parametrize("num_samples", [400, 719, 720, 1039, 1040, 16_000])
def test_the_length_after_subsampling_is_predicted(num_samples: int, folders: dict[Kind, Path]) -> None:
    net = supernet(folders["base"])
    x_BSD, lengths = net.embed(torch.ones(1, num_samples, 1, dtype=torch.float64), [num_samples])
    assert x_BSD.shape[:2] == (1, lengths[0])
    assert lengths[0] == (num_samples - 400) // 320 + 1


def test_costs_include_the_convolutions_over_samples(folders: dict[Kind, Path]) -> None:
    net = supernet(folders["base"]).float()
    one, two = macs(net, 1.0), macs(net, 2.0)
    assert one > 3199 * 10 * 12  # the first convolution alone
    assert 1.9 < two / one < 2.4
