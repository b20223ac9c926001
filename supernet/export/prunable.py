"""A supernet as one graph that returns the streams around its units, by which units can be cut out of it.

Shapes: B utterances, T feature frames, F mel bands, S stream frames, D model dimension, U units.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supernet.export.formats import quiet
from supernet.export.graph import Graph, Straight
from supernet.export.onnx import traced
from supernet.export.onnx_graph import quantize
from supernet.export.pruning import KEPT
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import Body, Running
from supernet.runtime.precision import FULL, Precision

RUNS, BEFORE, AFTER = "runs", "before", "after"
"""The outputs for each group of units: whether it runs, and the streams before and after it."""


class PrunableGraph(Graph):
    """All units, with marks at which they begin and end.

    ``forward(x, x_lens, kept (U,) bool)`` gives log-probabilities and their lengths as ``Graph`` does, with
    the head for the number of kept units, and three outputs for each group of parallel units, see ``RUNS``.
    All groups run; of the units in a group of several, those that are not kept have gate 0.
    """

    def __init__(self, recognizer: SupernetCTC) -> None:
        super().__init__(recognizer)
        counts = range(len(recognizer.table) + 1)
        names = [recognizer.head(max(1, count)) for count in counts]
        self._heads = list(dict.fromkeys(names))
        self._head_of = [self._heads.index(name) for name in names]

    @property
    def marks(self) -> list[str]:
        """The names of the outputs for the groups of units."""
        groups = range(len(self.recognizer.table.groups))
        return [f"{name}_{group}" for group in groups for name in (RUNS, BEFORE, AFTER)]

    def forward(self, x: Tensor, x_lens: Tensor, kept: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        x_BSD, rows, lengths_B = self.start(x, x_lens)
        walk = _Marking(x_BSD, rows, kept)
        self.recognizer.run(walk)
        return self._read(walk.output_BSD, kept), lengths_B, *walk.marks

    def _read(self, x_BSD: Tensor, kept: Tensor) -> Tensor:
        heads: Any = self.recognizer.heads
        if len(self._heads) == 1:
            return heads[self._heads[0]](x_BSD)  # type: ignore[no-any-return]
        chosen_1 = torch.tensor(self._head_of).index_select(0, kept.sum()[None])
        log_probs_HBSV = torch.stack([heads[name](x_BSD) for name in self._heads])
        return log_probs_HBSV.index_select(0, chosen_1)[0]


class _Marking(Straight):
    """The walk of all units that notes the streams around each group of them."""

    def __init__(self, x_BSD: Tensor, rows: Any, kept_U: Tensor) -> None:
        super().__init__(x_BSD, rows)
        self._kept_U = kept_U
        self.marks: list[Tensor] = []

    def run(self, units: Sequence[int], body: Body) -> None:
        kept_K = self._kept_U[list(units)]
        runs, before_BSD = kept_K.any(), self.x_BSD  # first, so that nodes of the graph are in this order
        gates_BK = kept_K.to(before_BSD.dtype).expand(before_BSD.size(0), -1) if len(units) > 1 else None
        self.x_BSD = body(before_BSD, self.rows, Running(tuple(range(len(units))), gates_BK))
        self.marks += [runs, before_BSD, self.x_BSD]


def prunable_graphs(recognizer: SupernetCTC, rounded: Collection[Precision] = ()) -> dict[Precision, Any]:
    """The graph with marks, also with weights in the precisions ``rounded``."""
    import onnx

    graph, every = PrunableGraph(recognizer), torch.ones(len(recognizer.table), dtype=torch.bool)
    found: dict[Precision, Any] = {FULL: traced(graph, recognizer, {KEPT: every}, graph.marks)}
    with tempfile.TemporaryDirectory() as place, quiet():
        exact, rough = Path(place, "exact.onnx"), Path(place, "rough.onnx")
        exact.write_bytes(found[FULL].SerializeToString())
        for precision in rounded:
            quantize(exact, rough, precision)
            found[precision] = onnx.load(rough)
    return found
