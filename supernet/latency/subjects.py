"""Subjects of a measurement: the sizes and exports of a run, or a network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from supernet.config import Config
from supernet.export.onnx import Onnx
from supernet.latency.exports import exports_in, in_order, subjects_of
from supernet.latency.measure import Subject
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut, origin_of
from supernet.runs.model_file import Model
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.runtime.precision import ROUNDED
from supernet.text.tokens import BLANK, Tokens

RANDOM_TOKENS = Tokens((BLANK, " ", *"abcdefghijklmnopqrstuvwxyz'"))


def of_run(run: Run, model: Model, selection: Selection, exports: Path, place: Path) -> list[Subject]:
    """Every subnet of ``selection`` in PyTorch, cut into ``place``, and the ONNX files under ``exports``.

    Those of several sizes are left out: separate files are as fast.
    """
    origin = origin_of(run, selection)
    subjects = [_eager(Cut.of(model, choice, origin), choice.budget, place) for choice in selection.choices]
    return in_order([*subjects, *subjects_of(exports_in(exports), bundles=False)])


def of_random(config: Config, name: str, place: Path) -> list[Subject]:
    """The sizes of a network with random weights, in PyTorch and ONNX, written to ``place``.

    Latency does not depend on the weights.
    """
    torch.manual_seed(config.seed)
    recognizer = SupernetCTC(config, len(RANDOM_TOKENS)).eval()
    subjects = []
    for size in config.sizes:
        subnet = recognizer.table.subnet(recognizer.table.first(size))
        small = Cut(Model(cut(recognizer, subnet), RANDOM_TOKENS), subnet, {"random": name})
        subjects.append(_eager(small, str(size), place))
        written = Onnx().write(small, place / str(size), ROUNDED)
        subjects += [Subject(str(size), size, one.file, one.precision) for one in written]
    return in_order(subjects)


def _eager(small: Cut, label: str, place: Path) -> Subject:
    folder = place / label
    folder.mkdir(parents=True)
    small.save(folder)
    return Subject(label, small.subnet.size, folder / "model.safetensors", None)
