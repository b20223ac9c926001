"""ExecuTorch: one file for phones and boards without Python, on the XNNPACK backend.

It processes one utterance at a time, of any length up to a limit, since memory is planned at export.

Shapes: B utterances, T feature frames, F mel bands, V tokens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL
from supernet.audio.specification import FRAMES_PER_SECOND, NUM_BANDS
from supernet.export.bundle import Bundle
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.graph import Graph
from supernet.runs.cut_model import Cut
from supernet.runs.run import RunError
from supernet.runtime.precision import Precision

MAX_SECONDS = 40
STEP, REST = 4, 3
"""The width must be a multiple of ``STEP`` plus ``REST``, so that all inner shapes are multiples as well."""
_FORWARD = "forward"
"""The method of a program of one size."""
_MIN_STEPS, _MAX_STEPS = 2, MAX_SECONDS * FRAMES_PER_SECOND // STEP


class ExecuTorch(Format):
    """``model.pte`` and ``tokens.txt``.

    The inputs are ``x`` (1, T, 80) with T = 4 k + 3, padded with anything, and the length (1,).
    """

    name = "executorch"
    extra = "executorch"
    packages = ("executorch",)

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({_FORWARD: cut}))
        cut.model.tokens.save(folder / "tokens.txt")
        return [Written(file)]

    def open(self, file: Path) -> Runtime:
        return _Method(file, _FORWARD)


class SharedExecuTorch(Bundle):
    """``model.pte`` with a method for each size, and ``tokens.txt``.

    The methods are named after the sizes or budgets, such as ``size_6`` or ``size_macs_50_``, have the inputs
    of ``ExecuTorch``, and share the weights of the units that they have in common.
    """

    name = ExecuTorch.name

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        file = folder / "model.pte"
        with quiet():
            file.write_bytes(_program({method_of(cut): cut for cut in self.cuts}))
        self.model.tokens.save(folder / "tokens.txt")
        return [[Written(file)] for _ in self.cuts]

    def open(self, file: Path, cut: Cut) -> Runtime:
        return _Method(file, method_of(cut))

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: a program has no metadata."""


def method_of(cut: Cut) -> str:
    """The name of the method of a size."""
    return "size_" + re.sub(r"\W", "_", cut.provenance["budget"])


def width(num_frames: int) -> int:
    """The narrowest allowed width that holds ``num_frames``."""
    return STEP * max(_MIN_STEPS, -(-(num_frames - REST) // STEP)) + REST


def _program(cuts: Mapping[str, Cut]) -> bytes:
    """A program with a method for each of ``cuts``; equal weights are stored once."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    _find_compiler()
    steps = torch.export.Dim("steps", min=_MIN_STEPS, max=_MAX_STEPS)
    frames = width(100)
    inputs = torch.zeros(1, frames, NUM_BANDS), torch.tensor([frames])
    shapes = ({1: STEP * steps + REST}, None)
    exported = {
        name: torch.export.export(Graph(cut.model.recognizer), inputs, dynamic_shapes=shapes)
        for name, cut in cuts.items()
    }
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _find_compiler() -> None:
    """Let ExecuTorch find its own ``flatc``, which need not be on the path."""
    os.environ.setdefault("FLATC_EXECUTABLE", str(resources.files("executorch.data.bin") / "flatc"))


class _Method:
    """A method of a file, run by ExecuTorch's runtime."""

    def __init__(self, file: Path, name: str) -> None:
        from executorch.runtime import Runtime as Engine

        self._method: Any = Engine.get().load_program(file).load_method(name)

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        rows = [self._one(row_TF[:n], n) for row_TF, n in zip(features_BTF, num_frames, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row_SV) for row_SV in rows]

    def _one(self, features_TF: Tensor, num_frames: int) -> Tensor:
        if (seconds := num_frames / FRAMES_PER_SECOND) > MAX_SECONDS:
            raise RunError(
                f"utterances must last at most {MAX_SECONDS} s for the format executorch, but one of the "
                f"test split lasts {seconds:.1f} s."
            )
        padding = width(num_frames) - num_frames
        x_1TF = torch.nn.functional.pad(features_TF[None].float().cpu(), (0, 0, 0, padding))
        log_probs_1SV, _ = self._method.execute([x_1TF.contiguous(), torch.tensor([num_frames])])
        row_SV: Tensor = log_probs_1SV[0, : LOG_MEL.num_stream_frames(num_frames)].clone()
        return row_SV
