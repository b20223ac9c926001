"""Checkpoints with a CTC head have the same log-probabilities as in `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.network.continuing import Continuing
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.walk import FINAL
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.model_file import Model, load, save
from supernet.task import Batch
from tests.supernet import tiny
from tests.supernet.pretrained.folders import VARIANTS, speech, their_log_probs, write
from tests.supernet.recognizing import log_probs
from tests.supernet.tiny import output, run_lanes, valid

LENGTHS = [5000, 1600, 3217]


@pytest.fixture(params=VARIANTS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any]:
    return request.param, write(tmp_path, VARIANTS[request.param])


def test_log_probabilities_equal_those_of_transformers(written: tuple[str, Any], tmp_path: Path) -> None:
    name, model = written
    ours, order = open_checkpoint(tmp_path), list(read_checkpoint(tmp_path).order)
    recordings = speech(LENGTHS)
    found = log_probs(ours.recognizer, ours.recognizer.table.full, recordings)
    # If `transformers` does not mask padding, only its results on single utterances are meaningful.
    hides = VARIANTS[name].masks and not VARIANTS[name].leaks
    groups = [recordings] if hides else [[x] for x in recordings]
    expected = [row for group in groups for row in their_log_probs(tmp_path, model, group)]
    for actual_SV, expected_SV in zip(found, expected, strict=True):
        assert expected_SV.std() > 0.1
        torch.testing.assert_close(actual_SV, expected_SV[:, order], atol=1e-5, rtol=1e-5)


def batch(model: Model) -> Batch:
    rows = [x[:, None].double() for x in speech(LENGTHS)]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    targets, names = torch.ones(3, 1, dtype=torch.int64), ["a", "b", "c"]
    return Batch(padded, LENGTHS, targets, [1] * 3, names, names, model.recognizer.input)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-10)


@torch.no_grad()
def test_layers_are_units(written: tuple[str, Any], tmp_path: Path) -> None:
    """Gates of 1 change nothing, a gate of 0 equals skipping, lanes equal single runs, an utterance in a
    batch equals the utterance alone, a subnet continued from its prefix equals a whole run, and a cut and
    saved model equals its subnet.
    """
    model = open_checkpoint(tmp_path)
    net, data = model.recognizer.double(), batch(model)
    full, fewer, rows = net.table.full, (False, True, False, True), range(3)
    plain = output(net, data, Lane(rows, full))
    ones = torch.ones(4, dtype=torch.float64)
    assert_equal(output(net, data, Lane(rows, full, tiny.gates(ones))), plain)
    skipped = output(net, data, Lane(rows, fewer))
    assert not torch.allclose(plain, skipped)
    assert_equal(output(net, data, Lane(rows, full, tiny.gates(ones * torch.tensor(fewer)))), skipped)
    lanes = [Lane(range(1, 3), fewer), Lane(rows, full)]
    first, second = run_lanes(net, data, lanes)
    assert_equal(valid(net, data, lanes[0], first[FINAL]), skipped[1:3])
    assert_equal(valid(net, data, lanes[1], second[FINAL]), plain)
    expected = net.log_probs(data.features_BTF, LENGTHS, fewer)
    for row, (n, length) in enumerate(zip(LENGTHS, data.stream_lengths, strict=True)):
        alone = net.log_probs(data.features_BTF[row : row + 1, :n], [n], fewer)
        assert_equal(expected[row, :length], alone[0, :length])
    _, going_on = Continuing.begin(net, data.features_BTF, LENGTHS, [net.table.first(2), full]).run(0)
    continued, _ = going_on.rows([0, 2]).run(1)
    whole = net.log_probs(data.features_BTF, LENGTHS, full)
    for row_SV, row, length in zip(continued, (0, 2), going_on.rows([0, 2]).lengths, strict=True):
        assert_equal(row_SV[:length], whole[row, :length])
    small = cut(net, net.table.subnet(fewer))
    assert_equal(small.log_probs(data.features_BTF, LENGTHS, small.table.full), expected)
    save(Model(small.float(), model.tokens), tmp_path / "model")
    again = load(tmp_path / "model").recognizer.double()
    same = again.log_probs(data.features_BTF, LENGTHS, again.table.full)
    torch.testing.assert_close(same, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_modules_are_units_if_layers_normalize_first(written: tuple[str, Any], tmp_path: Path) -> None:
    variant = VARIANTS[written[0]]
    if variant.model in ("Wav2Vec2", "Hubert", "WavLM") and not variant.changes.get("do_stable_layer_norm"):
        pytest.skip("its layers normalize after each module")
    model = open_checkpoint(tmp_path, "module")
    net, data = model.recognizer.double(), batch(model)
    kept = tuple(i % 3 != 1 for i in range(len(net.table)))
    expected = net.log_probs(data.features_BTF, LENGTHS, kept)
    gated = output(net, data, Lane(range(3), net.table.full, tiny.gates([float(keep) for keep in kept])))
    assert_equal(gated, output(net, data, Lane(range(3), kept)))
    small = cut(net, net.table.subnet(kept))
    assert_equal(small.log_probs(data.features_BTF, LENGTHS, small.table.full), expected)
