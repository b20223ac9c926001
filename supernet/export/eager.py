"""The cut model itself as an export format: safetensors and JSON, readable without this project."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import torch
from torch import Tensor

from supernet.export.formats import Format, Runtime, Written
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import load
from supernet.runtime.precision import Precision


class Torch(Format):
    """``model.safetensors``, ``model.json`` and ``tokens.txt``, as `supernet cut` writes them."""

    name = "torch"

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        cut.save(folder)
        return [Written(folder / "model.safetensors")]

    def open(self, file: Path) -> Runtime:
        return Eager(load(file.with_suffix("")).recognizer)


class Eager:
    """A network in PyTorch, run with all its units."""

    def __init__(self, recognizer: SupernetCTC) -> None:
        self._recognizer = recognizer

    @torch.inference_mode()
    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        model = self._recognizer
        features_BTF = features_BTF.to(model.device)
        log_probs_BSV = model.log_probs(features_BTF, num_frames, model.table.full)
        return log_probs_BSV, [model.input.num_stream_frames(n) for n in num_frames]
