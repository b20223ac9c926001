"""One file of weights for all sizes, and one small ONNX graph per size that refers to it.

Any program that reads ONNX files from disk opens the graphs, such as onnxruntime and sherpa-onnx.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.export.bundle import Bundle
from supernet.export.formats import Runtime, Written
from supernet.export.onnx import Onnx, save_tokens
from supernet.export.onnx_graph import Session
from supernet.export.weight_file import share_weights
from supernet.runs.cut_model import Cut


class Shared(Bundle):
    """``SIZE.onnx`` for each size, ``weights.bin``, and ``tokens.txt``.

    With int8, also ``SIZE.int8.onnx`` and ``weights.int8.bin``.
    """

    name = "shared"

    def write(self, folder: Path, int8: bool) -> list[list[Written]]:
        written = [self._write(cut, folder, int8) for cut in self.cuts]
        # The largest first, so that its weights are in the order of execution.
        order = sorted(range(len(written)), key=lambda i: -self.cuts[i].subnet.size)
        for suffix, files in zip(("", ".int8"), zip(*(written[i] for i in order), strict=True), strict=False):
            share_weights([one.file for one in files], folder / f"weights{suffix}.bin")
        save_tokens(self.model.tokens, folder)
        return written

    def _write(self, cut: Cut, folder: Path, int8: bool) -> list[Written]:
        """The separate files of one size, under its own names."""
        place = folder / "separate"
        place.mkdir()
        found = []
        for one in Onnx().write(cut, place, int8):
            name = one.file.name.replace("model", cut.provenance["budget"], 1)
            found.append(Written(one.file.rename(folder / name), one.exact))
        shutil.rmtree(place)
        return found

    def open(self, file: Path, cut: Cut) -> Runtime:
        return Session(file)

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: each graph has the metadata of its size."""
