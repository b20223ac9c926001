"""Formats that process one utterance at a time, of a width that leaves no inner width to be rounded.

Shapes: B utterances, T frames of the network's input, F values of a frame, V tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from supernet.audio.features import InputName
from supernet.audio.specification import FRAMES_PER_SECOND, SAMPLE_RATE
from supernet.errors import ArgumentError
from supernet.export.graph import Graph
from supernet.export.kinds import KINDS, kind_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut

MAX_SECONDS = 40
"""The default of ``Limited.max_seconds``."""
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

    def steps(self, seconds: int) -> int:
        """The number of steps in an utterance of so many seconds."""
        return seconds * self.rate // self.step

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


class Limited:
    """A part of the formats, and of the bundles, of such programs."""

    max_seconds = MAX_SECONDS
    """The duration of the longest utterance."""


def name_of(cut: Cut) -> str:
    """The name of a size in a program with several."""
    return "size_" + re.sub(r"\W", "_", cut.provenance["budget"])


def exported(cut: Cut, max_seconds: int) -> ExportedProgram:
    """The cut model as PyTorch exports it, for inputs of any allowed width."""
    network = cut.model.recognizer
    kind, widths = kind_of(network), WIDTHS[network.input.name]
    steps = torch.export.Dim("steps", min=_MIN_STEPS, max=widths.steps(max_seconds))
    frames, (x, _) = widths.step * _EXAMPLE_STEPS + widths.rest, kind.example(network)
    shape = [1, *x.shape[1:]]
    shape[kind.time] = frames
    shapes = ({kind.time: widths.step * steps + widths.rest}, None)
    inputs = torch.zeros(shape), torch.tensor([frames])
    return torch.export.export(Graph(network), inputs, dynamic_shapes=shapes)


def facts_of(network: SupernetCTC, max_seconds: int) -> dict[str, Any]:
    """The metadata by which ``OneByOne``, and other programs, prepare the input."""
    widths = WIDTHS[network.input.name]
    facts = {"input": network.input.name, "step": widths.step, "rest": widths.rest}
    return {**facts, "max_seconds": max_seconds, **kind_of(network).metadata(network)}


class OneByOne:
    """The interface of opened files for programs that process one utterance at a time.

    Args:
        run: Computes log-probabilities (1, S, V) and their length from the input of the graph and its length.
        facts: Those of ``facts_of``.
    """

    def __init__(self, run: Callable[[Tensor, Tensor], Sequence[Tensor]], facts: Mapping[str, Any]) -> None:
        self._run, self._facts = run, facts
        self._kind, self._widths = KINDS[facts["input"]], WIDTHS[facts["input"]]

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        rows = [self._one(row_TF[:n], n) for row_TF, n in zip(features_BTF, num_frames, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row_SV) for row_SV in rows]

    def _one(self, frames_TF: Tensor, num_frames: int) -> Tensor:
        x, (length,) = self._kind.read(frames_TF[None].float().cpu(), [num_frames], self._facts)
        if (seconds := length / self._widths.rate) > (most := self._facts["max_seconds"]):
            raise ArgumentError(
                ["max_seconds"],
                f"`max_seconds` must be at least the duration of every utterance of the test split, but is "
                f"{most}, and one lasts {seconds:.1f} s.",
            )
        after = [0, 0] * (x.dim() - 1 - self._kind.time)
        x = torch.nn.functional.pad(x, (*after, 0, self._widths.width(length) - length))
        log_probs_1SV, length_1 = self._run(x.contiguous(), torch.tensor([length]))
        row_SV: Tensor = log_probs_1SV[0, : int(length_1)].clone()
        return row_SV
