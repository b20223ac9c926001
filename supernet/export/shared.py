"""One file of weights for all sizes, and one small ONNX graph per size that refers to it.

The graphs are cut out of that of the supernet, unless modules have parts: then each size is traced by itself.

Any program that reads ONNX files from disk opens the graphs, such as onnxruntime and sherpa-onnx.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.export.bundle import Bundle
from supernet.export.formats import Runtime, Written
from supernet.export.onnx import Onnx, metadata, save_tokens
from supernet.export.onnx_graph import Session, save
from supernet.export.prunable import prunable_graphs
from supernet.export.pruning import cut_out
from supernet.export.slicing import Slice, Slices
from supernet.export.weight_file import share_weights
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import FULL, Precision, suffix


class Shared(Bundle):
    """``SIZE.onnx`` for each size, ``weights.bin``, and ``tokens.txt``.

    With int8, also ``SIZE.int8.onnx`` and ``weights.int8.bin``; likewise with int4.
    """

    name = "shared"

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        precisions: list[Precision] = [FULL, *rounded]
        written = [
            [Written(folder / f"{cut.provenance['budget']}{suffix(one)}.onnx", one) for one in precisions]
            for cut in self.cuts
        ]
        if self.model.recognizer.table.divided:
            slices = self._write_narrow(written)
        else:
            self._write_cut(written)
            slices = [[{} for _ in precisions] for _ in written]
        # The largest first, so that its weights are in the order of execution.
        order = sorted(range(len(self.cuts)), key=lambda i: -self.cuts[i].subnet.size)
        for k, one in enumerate(precisions):
            files = [written[i][k].file for i in order]
            share_weights(files, folder / f"weights{suffix(one)}.bin", [slices[i][k] for i in order])
        save_tokens(self.model.tokens, folder)
        return written

    def _write_cut(self, written: Sequence[Sequence[Written]]) -> None:
        """Write graphs that are cut out of that of the supernet."""
        table = self.model.recognizer.table
        rounded = [file.precision for file in written[0] if not file.exact]
        for k, whole in enumerate(prunable_graphs(self.model.recognizer, rounded).values()):
            for cut, files in zip(self.cuts, written, strict=True):
                save(cut_out(whole, table.kept(cut.subnet), table.groups), metadata(cut), files[k].file)

    def _write_narrow(self, written: Sequence[Sequence[Written]]) -> list[list[dict[str, Slice]]]:
        """Write the graphs of separate exports; returns the slices in each."""
        import onnx

        network, precisions = self.model.recognizer, [file.precision for file in written[0]]
        sizes = [network.table.kept(cut.subnet) for cut in self.cuts]
        slices, found = Slices(network, sizes, precisions), list[list[dict[str, Slice]]]()
        for cut, kept, files in zip(self.cuts, sizes, written, strict=True):
            with tempfile.TemporaryDirectory() as place:
                for source, target in zip(Onnx().write(cut, Path(place), precisions[1:]), files, strict=True):
                    shutil.copyfile(source.file, target.file)
            graph = onnx.load(files[0].file).graph
            found.append([slices.of(graph, kept, precision) for precision in precisions])
        return found

    def open(self, file: Path, cut: Cut) -> Runtime:
        return Session(file)

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Do nothing: each graph has the metadata of its size."""
