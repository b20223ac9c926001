"""Subjects of a measurement: the sizes and exports of a run, or a network with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from supernet.config import Config
from supernet.export.export import RECORD
from supernet.export.onnx import Onnx
from supernet.latency.measure import Subject
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut, origin_of
from supernet.runs.model_file import Model
from supernet.runs.records import ExportRecord, checked
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.system.files import read_json
from supernet.text.tokens import BLANK, Tokens

RANDOM_TOKENS = Tokens((BLANK, " ", *"abcdefghijklmnopqrstuvwxyz'"))


def of_run(run: Run, model: Model, selection: Selection, exports: Path, place: Path) -> list[Subject]:
    """Every subnet of ``selection`` in PyTorch, cut into ``place``, and the ONNX files under ``exports``."""
    origin = origin_of(run, selection)
    subjects = [_eager(Cut.of(model, choice, origin), choice.budget, place) for choice in selection.choices]
    for record in sorted((*exports.glob(RECORD), *exports.glob(f"*/{RECORD}"))):
        subjects += _exported(record)
    return _in_order(subjects)


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
        written = Onnx().write(small, place / str(size), int8=True)
        subjects += [_onnx(str(size), size, w.file) for w in written]
    return _in_order(subjects)


def _eager(small: Cut, label: str, place: Path) -> Subject:
    folder = place / label
    folder.mkdir(parents=True)
    small.save(folder)
    return Subject(label, small.subnet.size, "eager", folder / "model.safetensors")


def _exported(record: Path) -> list[Subject]:
    found = read_json(record)
    if "sizes" in found:  # several sizes that share their weights; separate files are as fast
        return []
    data = checked(ExportRecord, found, record)
    names = [file.file for file in data.files if file.file.endswith(".onnx")]
    label, size = data.model.provenance.budget, len(data.model.kept)
    return [_onnx(label, size, record.parent / name) for name in names]


def _onnx(label: str, size: int, file: Path) -> Subject:
    return Subject(label, size, "onnx int8" if file.name.endswith(".int8.onnx") else "onnx", file)


def _in_order(subjects: list[Subject]) -> list[Subject]:
    return sorted(subjects, key=lambda s: (-s.size, s.label, s.runtime))
