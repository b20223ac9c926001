"""One file of weights for all sizes, and one small ONNX graph per size that refers to it.

Any program that reads ONNX files from disk opens the graphs, such as onnxruntime and sherpa-onnx.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.export.bundle import Bundle
from supernet.export.formats import Runtime, Written
from supernet.export.onnx import metadata, save_tokens
from supernet.export.onnx_graph import Session, save
from supernet.export.prunable import prunable_graphs
from supernet.export.pruning import cut_out
from supernet.export.weight_file import share_weights
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision, suffix


class Shared(Bundle):
    """``SIZE.onnx`` for each size, ``weights.bin``, and ``tokens.txt``.

    With int8, also ``SIZE.int8.onnx`` and ``weights.int8.bin``; likewise with int4.
    """

    name = "shared"

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        table = self.model.recognizer.table
        written: list[list[Written]] = [[] for _ in self.cuts]
        # The largest first, so that its weights are in the order of execution.
        order = sorted(range(len(self.cuts)), key=lambda i: -self.cuts[i].subnet.size)
        for precision, whole in prunable_graphs(self.model.recognizer, rounded).items():
            end = suffix(precision)
            for i in order:
                cut, file = self.cuts[i], folder / f"{self.cuts[i].provenance['budget']}{end}.onnx"
                save(cut_out(whole, table.kept(cut.subnet), table.groups), metadata(cut), file)
                written[i].append(Written(file, precision))
            share_weights([written[i][-1].file for i in order], folder / f"weights{end}.bin")
        save_tokens(self.model.tokens, folder)
        return written

    def open(self, file: Path, cut: Cut) -> Runtime:
        return Session(file)

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: each graph has the metadata of its size."""
