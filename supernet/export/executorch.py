"""ExecuTorch: one file for phones and boards without Python, on the XNNPACK backend.

It processes one utterance at a time, of any length up to a limit, since memory is planned at export.

Shapes: B utterances, T frames of the network's input, F values of a frame, V tokens.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.audio.features import InputName
from supernet.audio.specification import FRAMES_PER_SECOND, SAMPLE_RATE
from supernet.export.bundle import Bundle
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.graph import Graph
from supernet.export.kinds import KINDS, kind_of
from supernet.runs.cut_model import Cut
from supernet.runs.run import RunError
from supernet.runtime.precision import Precision

MAX_SECONDS = 40
_FORWARD, _METADATA = "forward", "metadata"
"""The method of a program of one size, and that which returns its metadata as JSON."""
_MIN_STEPS, _EXAMPLE_STEPS = 2, 25


@dataclass(frozen=True)
class Widths:
    """The widths of a graph's input that a program accepts: multiples of ``step`` plus ``rest``, so that no
    inner width is rounded.
    """

    rate: int
    """Frames per second."""
    step: int
    rest: int

    @property
    def most_steps(self) -> int:
        return MAX_SECONDS * self.rate // self.step

    def width(self, num_frames: int) -> int:
        """The narrowest allowed width that holds ``num_frames``."""
        return self.step * max(_MIN_STEPS, -(-(num_frames - self.rest) // self.step)) + self.rest


WIDTHS: dict[InputName, Widths] = {
    "log-mel": Widths(FRAMES_PER_SECOND, 4, 3),
    "log-mel-80ms": Widths(FRAMES_PER_SECOND, 8, 7),
    "samples": Widths(SAMPLE_RATE, 320, 0),
    "samples-20ms": Widths(SAMPLE_RATE, 320, 160),
    "samples-80ms": Widths(FRAMES_PER_SECOND, 8, 1),  # NeMo's features
}
"""By the input of the network."""


class ExecuTorch(Format):
    """``model.pte`` and ``tokens.txt``.

    The inputs are those of the ONNX file, see ``kinds``, of one utterance: ``x``, such as (1, T, 80), padded
    with anything to a T of ``WIDTHS``, and the length (1,). The method ``metadata`` returns JSON with
    ``input``, ``step`` and ``rest`` (T must be a multiple of ``step`` plus ``rest``), and what ONNX files
    have.
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


def _program(cuts: Mapping[str, Cut]) -> bytes:
    """A program with a method for each of ``cuts``; equal weights are stored once."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    _find_compiler()
    network = next(iter(cuts.values())).model.recognizer
    kind, widths = kind_of(network), WIDTHS[network.input.name]
    steps = torch.export.Dim("steps", min=_MIN_STEPS, max=widths.most_steps)
    frames, (x, _) = widths.step * _EXAMPLE_STEPS + widths.rest, kind.example(network)
    shape = [1, *x.shape[1:]]
    shape[kind.time] = frames
    shapes = ({kind.time: widths.step * steps + widths.rest}, None)
    exported = {
        name: torch.export.export(
            Graph(cut.model.recognizer),
            (torch.zeros(shape), torch.tensor([frames])),
            dynamic_shapes=shapes,
        )
        for name, cut in cuts.items()
    }
    facts = {"input": network.input.name, "step": widths.step, "rest": widths.rest}
    lowered = to_edge_transform_and_lower(
        exported,
        partitioner=[XnnpackPartitioner()],
        constant_methods={_METADATA: json.dumps({**facts, **kind.metadata(network)})},
    )
    return bytes(lowered.to_executorch().buffer)


def _find_compiler() -> None:
    """Let ExecuTorch find its own ``flatc``, which need not be on the path."""
    os.environ.setdefault("FLATC_EXECUTABLE", str(resources.files("executorch.data.bin") / "flatc"))


class _Method:
    """A method of a file, run by ExecuTorch's runtime."""

    def __init__(self, file: Path, name: str) -> None:
        from executorch.runtime import Runtime as Engine

        program: Any = Engine.get().load_program(file)
        self._method = program.load_method(name)
        (text,) = program.load_method(_METADATA).execute([])
        self._metadata = json.loads(text)
        self._kind, self._widths = KINDS[self._metadata["input"]], WIDTHS[self._metadata["input"]]

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        rows = [self._one(row_TF[:n], n) for row_TF, n in zip(features_BTF, num_frames, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row_SV) for row_SV in rows]

    def _one(self, frames_TF: Tensor, num_frames: int) -> Tensor:
        x, (length,) = self._kind.read(frames_TF[None].float().cpu(), [num_frames], self._metadata)
        if (seconds := length / self._widths.rate) > MAX_SECONDS:
            raise RunError(
                f"utterances must last at most {MAX_SECONDS} s for the format executorch, but one of the "
                f"test split lasts {seconds:.1f} s."
            )
        after = [0, 0] * (x.dim() - 1 - self._kind.time)
        x = torch.nn.functional.pad(x, (*after, 0, self._widths.width(length) - length))
        log_probs_1SV, length_1 = self._method.execute([x.contiguous(), torch.tensor([length])])
        row_SV: Tensor = log_probs_1SV[0, : int(length_1)].clone()
        return row_SV
