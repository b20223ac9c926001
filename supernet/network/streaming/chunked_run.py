"""An utterance on its way through a network, chunk by chunk.

Shapes: T feature frames, F mel bands, S stream frames, V tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from fairseq2.models.transformer import AttentionBiasCache
from torch import Tensor

from supernet.network.branches import Layout, Rows
from supernet.network.lanes import Lane, LaneWalk, Padding
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.memory import Memory
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.units import Kept


class ChunkedRun:
    """One utterance, of which a subnet computes each chunk as soon as its features are there.

    The outputs are those of the whole utterance with the same chunks, up to rounding.

    Args:
        model: A streaming network, in evaluation mode.
        kept: The units of the subnet.
        chunking: The chunks.
    """

    def __init__(self, model: SupernetCTC, kept: Kept, chunking: Chunking) -> None:
        self._model, self._kept, self._chunking = model, kept, chunking
        self._features_TF = torch.zeros(0, model.input.width, dtype=model.dtype)
        self._memory = Memory(chunking.left_frames)
        self._has_begun = False
        last = chunking.frames + chunking.ahead - 1
        self._needed = last * model.input.subsampling + model.input.shortest
        """The feature frames of a chunk and its look-ahead."""

    @torch.inference_mode()
    def accept(self, features_TF: Tensor) -> Tensor:
        """Take further feature frames; returns the log-probabilities (S, V) of the chunks that they end."""
        self._features_TF = torch.cat([self._features_TF, features_TF.to(self._features_TF)])
        found = [self._features_TF.new_zeros(0, self._model.num_tokens)]
        while len(self._features_TF) >= self._needed:
            found.append(self._next())
        return torch.cat(found)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """End the utterance; returns the log-probabilities (S, V) of what is left, whose last chunk may be
        shorter.
        """
        found = [self._features_TF.new_zeros(0, self._model.num_tokens)]
        while self._model.input.convolved(len(self._features_TF)) >= 1 or (
            len(self._features_TF) and not self._has_begun
        ):
            found.append(self._next())
        return torch.cat(found)

    def _next(self) -> Tensor:
        """Run the next chunk, with as much of its look-ahead as there is."""
        found = self._run(self._features_TF[: self._needed])
        self._features_TF = self._features_TF[self._chunking.frames * self._model.input.subsampling :]
        return found

    def _run(self, features_TF: Tensor) -> Tensor:
        model, num_frames = self._model, self._chunking.frames
        x_1SD, _ = model.embed(features_TF[None].to(model.device), [len(features_TF)])
        memory = self._memory.next(max(0, x_1SD.size(1) - num_frames))
        rows = Rows(Layout(x_1SD.size(1)), AttentionBiasCache(), memory)
        walk = LaneWalk(model.encoder.place(x_1SD), _Same(x_1SD, rows), [Lane(range(1), self._kept)])
        model.run(walk)
        log_probs_1SV = model.read(walk.readings[0][FINAL], sum(self._kept))
        self._memory, self._has_begun = memory, True
        return log_probs_1SV[0, :num_frames].to(self._features_TF)


class _Same(Padding):
    """A single row without padding, whose context is given."""

    def __init__(self, x_1SD: Tensor, rows: Any) -> None:
        super().__init__([x_1SD.size(1)], x_1SD)
        self._rows = rows

    def of(self, rows: tuple[int, ...]) -> Any:
        return self._rows
