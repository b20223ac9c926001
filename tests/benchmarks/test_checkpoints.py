"""What works with each kind of checkpoint, as a table of largest differences, with small random weights.

Run: ``python -m pytest -s -n 0 tests/benchmarks/test_checkpoints.py``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from supernet.export.acceptance import largest_difference
from supernet.export.eager import Eager
from supernet.export.executorch import ExecuTorch
from supernet.export.huggingface import HuggingFace
from supernet.export.onnx import Onnx
from supernet.network.cutting import cut
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.task import Batch
from tests.supernet.pretrained.folders import VARIANTS, speech, their_log_probs, write
from tests.supernet.recognizing import log_probs
from tests.supernet.runs.test_checkpoint_starts import Training, resolved

pytest.importorskip("onnxruntime", reason="needs the export extra")

LENGTHS = [5000, 1600, 3217]
UPDATES = 6
COLUMNS = (
    "checkpoint",
    "parity",
    "selection",
    "training, loss",
    "cut",
    "folder",
    "ONNX",
    "int8",
    "ExecuTorch",
)


def largest(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


def parity(folder: Path, model: Any, ours: Model) -> float:
    """The difference from `transformers`, utterance by utterance."""
    order, net = list(read_checkpoint(folder).order), ours.recognizer
    theirs = [their_log_probs(folder, model, [x])[0][:, order] for x in speech(LENGTHS)]
    return largest([log_probs(net, net.table.full, [x])[0] for x in speech(LENGTHS)], theirs)


@torch.no_grad()
def selection(ours: Model) -> float:
    """The difference of the losses of subnets in one walk from those of networks cut out one by one."""
    net, names = ours.recognizer, ["a", "b", "c"]
    samples_BT1 = torch.nn.utils.rnn.pad_sequence([x[:, None] for x in speech(LENGTHS)], batch_first=True)
    data = Batch(samples_BT1, LENGTHS, torch.ones(3, 1, dtype=torch.int64), [1] * 3, names, names, net.input)
    subnets = [tuple(i != dropped for i in range(4)) for dropped in range(4)]
    found = {scored.kept: scored.losses_B for scored in net.score_all(data, subnets)}
    alone = []
    for kept in subnets:
        small = cut(net, net.table.subnet(kept))
        (scored,) = small.score_all(data, [small.table.full])
        alone.append(scored.losses_B)
    return largest([found[kept] for kept in subnets], alone)


def training(folder: Path) -> str:
    """The loss of a batch of noise before and after a few joint updates of two sizes."""
    settings = {"train": {"num_steps": UPDATES, "lr": 1e-3}, "method": "on-demand"}
    run = Training(resolved(folder, settings, init_head="replace"))
    losses = [run.update(step) for step in range(UPDATES)]
    return f"{losses[0]:.1f} → {losses[-1]:.1f}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_step_from_a_checkpoint_to_a_file(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, settings = write(tmp_path / "mine", VARIANTS[variant]), Onnx()
    ours = open_checkpoint(tmp_path / "mine")
    net, subnet = ours.recognizer, ours.recognizer.table.subnet((True, False, True, True))
    small = Cut(Model(cut(net, subnet), ours.tokens), subnet, {"budget": "3"})
    reference, input = Eager(small.model.recognizer), net.input
    kept = net.table.kept(subnet)
    whole = [log_probs(net, kept, [x])[0] for x in speech(LENGTHS)]
    own = [log_probs(small.model.recognizer, (True,) * 3, [x])[0] for x in speech(LENGTHS)]
    differences = [parity(tmp_path / "mine", model, ours), selection(ours), largest(own, whole)]
    (tmp_path / "out").mkdir()
    HuggingFace().write(small, tmp_path / "out")
    folder = HuggingFace().open(tmp_path / "out" / "model.safetensors")
    differences.append(largest_difference(folder, reference, input))
    (tmp_path / "onnx").mkdir()
    for written in settings.write(small, tmp_path / "onnx", ["int8"]):
        differences.append(largest_difference(settings.open(written.file), reference, input))
    parity_, selected, cut_, library, onnx, rounded = (f"{x:.1g}" for x in differences)
    cells = [variant, parity_, selected, training(tmp_path / "mine"), cut_, library, onnx, rounded]
    del differences[-1]
    if find_spec("executorch") is None:
        cells.append("–")
    else:
        (program,) = ExecuTorch().write(small, tmp_path / "onnx")
        differences.append(largest_difference(ExecuTorch().open(program.file), reference, input))
        cells.append(f"{differences[-1]:.1g}")
    with capsys.disabled():
        if variant == next(iter(VARIANTS)):
            print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", end="")
        print(f"\n| {' | '.join(cells)} |", end="")
    assert all(x < 1e-4 for x in differences), cells
