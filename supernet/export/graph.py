"""A cut model as one graph of tensors: batch and time are dynamic, padding and normalization are inside.

The encoder's own loop runs it.

Shapes: B utterances, T feature frames, F mel bands, S stream frames, D model dimension, V tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm

from supernet.encoder_family import family_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL, Body, Map, Running


class Graph(nn.Module):
    """The computation of every exported file.

    ``forward(x (B, T, F) float32, x_lens (B,) int64)`` gives log-probabilities (B, S, V) and their lengths
    (B,) int64, at least 1 each; frames beyond a length are ignored. A ``Kind`` may lay out ``x`` differently.
    """

    def __init__(self, recognizer: SupernetCTC) -> None:
        super().__init__()
        self.recognizer = copy.deepcopy(recognizer).float().cpu()
        for module in self.recognizer.modules():
            if hasattr(module, "weight_g"):  # a normalized weight, which need not be made for every utterance
                remove_weight_norm(module)
        self._family = family_of(recognizer.config.model)
        self._family.trace(self.recognizer.encoder)
        self.eval()

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        x_BSD, rows, lengths_B = self.start(x, x_lens)
        walk = Straight(x_BSD, rows)
        self.recognizer.run(walk)
        return self.recognizer.read(walk.output_BSD, len(self.recognizer.table)), lengths_B

    def start(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Any, Tensor]:
        """The stream that enters the first layer, the context of its rows, and their lengths."""
        x_BSD, lengths_B = self._family.traced_stream(self.recognizer.frontend, x, x_lens.clamp(min=1))
        rows = self._family.traced_rows(x_BSD, lengths_B)
        return self.recognizer.encoder.place(x_BSD), rows, lengths_B


class Straight:
    """The walk of one stream with all units; only the caller of the graph knows how many rows it has."""

    def __init__(self, x_BSD: Tensor, rows: Any) -> None:
        self.x_BSD, self.rows = x_BSD, rows
        self.output_BSD = x_BSD
        """The encoder's final output."""

    def run(self, units: Sequence[int], body: Body) -> None:
        self.x_BSD = body(self.x_BSD, self.rows, Running(tuple(range(len(units)))))

    def apply(self, map: Map) -> None:
        self.x_BSD = map(self.x_BSD)

    def read(self, position: int, norm: Map) -> None:
        if position == FINAL:
            self.output_BSD = norm(self.x_BSD)
