"""Several subnets one after the other, each on fewer rows, and each from the last stream that it shares with
one before: where a subnet is a prefix of the next one, going on costs only the missing layers.

Shapes: B batch rows, S frames, D model dimension, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from supernet.network.lanes import Lane, LaneWalk
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.units import Kept, UnitTable


@dataclass(frozen=True)
class _Shared:
    """The stream (B, S, D) after so many layers, which later subnets begin with."""

    num_layers: int
    x_BSD: Tensor


@dataclass(frozen=True)
class Continuing:
    """A batch on its way through several subnets."""

    _model: SupernetCTC
    _subnets: tuple[Kept, ...]
    _starts: tuple[_Shared, ...]
    """By subnet."""
    lengths: tuple[int, ...]
    """The stream frames of each row."""

    @classmethod
    def begin(
        cls, model: SupernetCTC, features_BTF: Tensor, num_frames: Sequence[int], subnets: Sequence[Kept]
    ) -> Continuing:
        """Run the frontend."""
        x_BSD, lengths = model.embed(features_BTF, num_frames)
        start = _Shared(0, model.encoder.place(x_BSD))
        return cls(model, tuple(subnets), (start,) * len(subnets), tuple(lengths))

    def rows(self, chosen: Sequence[int]) -> Continuing:
        """Some of the rows, with no more padding than they need."""
        lengths = tuple(self.lengths[row] for row in chosen)
        # Selected once where several subnets begin with the same stream.
        parts = {id(s.x_BSD): s.x_BSD[list(chosen), : max(lengths)] for s in self._starts}
        starts = tuple(_Shared(s.num_layers, parts[id(s.x_BSD)]) for s in self._starts)
        return replace(self, _starts=starts, lengths=lengths)

    def run(self, i: int) -> tuple[Tensor, Continuing]:
        """The log-probabilities (B, S, V) of the subnet at ``i``, and the batch to go on with."""
        model, kept, starts = self._model, self._subnets[i], list(self._starts)
        at, x_BSD = starts[i].num_layers, starts[i].x_BSD
        walk = LaneWalk(x_BSD, model.encoder.padding(self.lengths, x_BSD), [Lane(range(len(x_BSD)), kept)])
        shared = {
            j: num_shared_layers(model.table, model.encoder.num_layers, kept, self._subnets[j])
            for j in range(i + 1, len(starts))
        }
        further = {j: layers for j, layers in shared.items() if layers > starts[j].num_layers}
        for stop in sorted({*further.values()}):  # all after `at`: up to there, an earlier one had them
            model.run(walk, range(at + 1, stop + 1))
            here, at = _Shared(stop, walk.stream_of(0)), stop
            for j in (j for j, layers in further.items() if layers == stop):
                starts[j] = here
        model.run(walk, range(at + 1, model.encoder.num_layers + 1))
        log_probs_BSV = model.read(walk.readings[0][FINAL], sum(kept))
        return log_probs_BSV, replace(self, _starts=tuple(starts))


def num_shared_layers(table: UnitTable, num_layers: int, a: Kept, b: Kept) -> int:
    """The number of layers from the first on in which two subnets keep the same units."""
    for layer in range(num_layers):
        if any(a[i] != b[i] for i in table.of_layer(layer).values()):
            return layer
    return num_layers
