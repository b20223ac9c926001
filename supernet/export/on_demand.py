"""One ONNX graph for every subnet: the boolean input ``kept`` says for each call which units run.

Each group of units is in an ``If``, so that units that are not kept take no time. ``kept`` may be any subnet;
those that were verified are in the metadata, with their costs and error rates.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from supernet.export.bundle import Bundle
from supernet.export.formats import Runtime, Written
from supernet.export.onnx import for_sherpa, save_tokens
from supernet.export.onnx_graph import Session, save
from supernet.export.prunable import prunable_graphs
from supernet.export.pruning import KEPT, on_demand
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision, suffix
from supernet.runtime.record import ON_DEMAND


class OnDemand(Bundle):
    """``model.onnx`` with the inputs ``x``, ``x_lens``, and ``kept``, and ``tokens.txt``; with int8
    and int4, also ``model.int8.onnx`` and ``model.int4.onnx``.
    """

    name = ON_DEMAND

    def write(self, folder: Path, rounded: Collection[Precision] = ()) -> list[list[Written]]:
        written = []
        for precision, whole in prunable_graphs(self.model.recognizer, rounded).items():
            written.append(Written(folder / f"model{suffix(precision)}.onnx", precision))
            save(on_demand(whole), self._metadata(), written[-1].file)
        save_tokens(self.model.tokens, folder)
        return [written for _ in self.cuts]

    def _metadata(self) -> dict[str, str]:
        network, table = self.model.recognizer, self.model.recognizer.table
        about = {"granularity": table.granularity, "units": " ".join(unit.name for unit in table.units)}
        return {**for_sherpa(network, self.model.tokens), **about}

    def open(self, file: Path, cut: Cut) -> Runtime:
        return Session(file, {KEPT: torch.tensor(self.model.recognizer.table.kept(cut.subnet))})

    def describe(self, files: Sequence[Path], sizes: Sequence[Mapping[str, Any]]) -> None:
        """Add ``sizes``, in JSON, to the metadata of each file, with the error rates of the file itself."""
        import onnx

        for file in {*files}:
            found = [_of_file(size, file.name) for size in sizes]
            save(onnx.load(file), self._metadata() | {"sizes": json.dumps(found)}, file)


def _of_file(size: Mapping[str, Any], name: str) -> dict[str, Any]:
    check = next(check for check in size["files"] if check["file"] == name)
    rates = {key: check[key] for key in ("rate", "measure")}
    return {**{key: value for key, value in size.items() if key != "files"}, **rates}
