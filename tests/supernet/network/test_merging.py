"""Merging of dropped layers into those that a cut keeps."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from supernet.cut import main as cut_command
from supernet.errors import ArgumentError
from supernet.network.cutting import cut
from supernet.network.merging import merge_dropped
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.pretrained import begin
from supernet.runs.resolve import resolve
from tests.supernet import tiny
from tests.supernet.pretrained.folders import VARIANTS, write
from tests.supernet.tiny import recognizer, tiny_config

FRAMES = [60, 33]
WEIGHT = "ffn1.inner_proj.weight"


def log_probs(net: SupernetCTC) -> torch.Tensor:
    data = tiny.batch(FRAMES)
    return net.log_probs(data.features_BTF, data.num_frames, net.table.full)


def weight(net: SupernetCTC, layer: int) -> torch.Tensor:
    found: torch.Tensor = net.encoder.layers[str(layer)].state_dict()[WEIGHT]
    return found


@pytest.mark.parametrize(
    ("kept", "groups"),
    [
        ((True, False, False, True), {0: (0, 1), 3: (2, 3)}),
        ((True, False, True, False), {0: (0, 1), 2: (2, 3)}),  # the second one is equally close to both
        ((False, True, False, False), {1: (0, 1, 2, 3)}),
        ((False, False, True, True), {2: (0, 1, 2), 3: (3,)}),
    ],
)
def test_kept_layers_are_means_of_themselves_and_the_nearest_dropped_ones(
    kept: tuple[bool, ...], groups: dict[int, tuple[int, ...]]
) -> None:
    net = recognizer(tiny_config())
    before = copy.deepcopy(net)
    merge_dropped(net, net.table.subnet(kept))
    small = cut(net, net.table.subnet(kept))
    for layer, members in groups.items():
        expected = sum(weight(before, number) for number in members) / len(members)
        torch.testing.assert_close(weight(small, layer), expected, atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_merging_equal_layers_changes_nothing() -> None:
    net = recognizer(tiny_config())
    first = net.encoder.layers["0"].state_dict()
    for layer in net.encoder.layers.values():
        layer.load_state_dict(first)
    subnet = net.table.subnet((False, True, False, True))
    expected = log_probs(cut(net, subnet))
    merge_dropped(net, subnet)
    torch.testing.assert_close(log_probs(cut(net, subnet)), expected, atol=1e-12, rtol=1e-12)


def test_without_dropped_layers_nothing_changes() -> None:
    net = recognizer(tiny_config())
    before = copy.deepcopy(net.state_dict())
    merge_dropped(net, net.table.subnet(net.table.full))
    assert all(torch.equal(x, before[name]) for name, x in net.state_dict().items())


def test_modules_and_layers_of_different_shapes_are_errors() -> None:
    net = recognizer(tiny_config("module"))
    with pytest.raises(ArgumentError, match="must go with layers as units, but goes with modules"):
        merge_dropped(net, net.table.subnet(net.table.first(5)))
    net = recognizer(tiny_config())
    del net.encoder.layers["1"].conv
    with pytest.raises(ArgumentError, match="must find the same weights in all layers, but 'conv"):
        merge_dropped(net, net.table.subnet((True, False, True, True)))


def test_the_command_merges_a_checkpoint_and_a_training_can_start_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine", VARIANTS["wav2vec2-base"])
    kept = {"format": 1, "granularity": "layer", "kept": ["layers.0", "layers.3"]}
    Path("two.json").write_text(json.dumps(kept))
    cut_command(["mine", "--selection", "two.json", "--merge", "--out", "merged"])
    assert json.loads(Path("merged/model.json").read_text())["provenance"]["layers"] == "merged"
    task = {"name": "manifest", "path": "nowhere"}
    config = resolve([{"task": task, "sizes": [1, 2], "model": {"init": "merged"}}]).config
    whole, net = open_checkpoint(tmp_path / "mine"), SupernetCTC(config, 10)
    begin(net, whole.tokens)
    name = "attention.k_proj.weight"
    layers = [layer.state_dict()[name] for layer in whole.recognizer.encoder.layers.values()]
    for found, members in zip(net.encoder.layers.values(), (layers[:2], layers[2:]), strict=True):
        torch.testing.assert_close(found.state_dict()[name], sum(members) / 2)
