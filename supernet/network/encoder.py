"""The encoder: the layers of a family, and the one loop over their units.

Shapes: B batch rows, S frames, D model dimension, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from supernet.config import ModelConfig
from supernet.encoder_family import family_of
from supernet.granularity import granularity_named
from supernet.network.branches import Branches
from supernet.network.lanes import Lane, LaneWalk, Padding
from supernet.network.layer import as_layer
from supernet.network.participation import involve
from supernet.network.streaming.chunking import Chunking, Chunkings
from supernet.network.streaming.look_ahead import LookAhead, LookAheadPadding
from supernet.network.streaming.rows import ChunkedPadding
from supernet.network.tensor_names import is_adapter
from supernet.network.walk import FINAL, Walk
from supernet.units import Kept, Subnet, UnitTable

Condition = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """A network of ``num_layers``, or the part of it that ``subnet`` keeps, under the same names."""

    def __init__(
        self,
        config: ModelConfig,
        num_layers: int,
        table: UnitTable,
        subnet: Subnet | None = None,
    ) -> None:
        super().__init__()
        self.table = table if subnet is None else table.restricted(subnet)
        self.num_layers, self._granularity = num_layers, granularity_named(table.granularity)
        self._family = family_of(config)
        self.positions, shared = self._family.positions(), self._family.shared()
        self.layers = nn.ModuleDict()
        for i in range(num_layers):
            if self.table.of_layer(i) or not self._granularity.drops_layers:
                self.layers[str(i)] = as_layer(self._family.layer(i, shared))
                self.reduce(self.layers[str(i)], i, table)
        self.norm = self._family.norm()
        self.recomputes = False
        """Whether the backward pass computes the activations of layers again, which are not kept then."""
        self.planned: Kept | None = None
        """The units that get gradients in a step, if only of zero. None: those that run."""
        self.chunking: Chunking | None = None
        """How every utterance is read, if not as a whole, or as a training step determines."""
        self.has_adapters = False
        """Whether only adapters of the layers are trained, see ``supernet.network.adapters``."""
        self._num_frozen = 0

    def forward(
        self,
        x_BSD: Tensor,
        lengths: Sequence[int],
        lanes: Sequence[Lane],
        condition: Condition | None = None,
        condition_at: Sequence[int] = (),
        chunkings: Chunkings | None = None,
    ) -> list[dict[int, Tensor]]:
        """Run all ``lanes``; return for each its readings (rows, S, D) at its positions and at the end.

        ``condition`` is added to every stream after the layers ``condition_at`` (self-conditioned CTC);
        ``chunkings`` are the chunks of each batch row.
        """
        x_BSD = self.place(x_BSD)
        walk = LaneWalk(x_BSD, self.padding(lengths, x_BSD, chunkings), lanes)
        self.run(walk, condition, condition_at)
        return walk.readings

    def outputs(
        self,
        x_BSD: Tensor,
        lengths: Sequence[int],
        subnets: Iterable[Kept],
        condition: Condition | None = None,
        condition_at: Sequence[int] = (),
    ) -> Iterator[tuple[Kept, Tensor]]:
        """Each of ``subnets`` once, in any order, with its output (B, S, D).

        The subnets form a prefix tree, which is walked depth first: every distinct prefix runs once, and
        memory grows with the depth, not with the number of subnets.
        """
        x_BSD = self.place(x_BSD)
        padding = self.padding(lengths, x_BSD)

        def descend(x_BSD: Tensor, layer: int, members: list[Kept]) -> Iterator[tuple[Kept, Tensor]]:
            if layer > self.num_layers:
                yield members[0], self.norm(x_BSD)
                return
            parting = self._parting(layer, members)
            walk = LaneWalk(x_BSD, padding, [Lane(range(len(x_BSD)), group[0]) for group in parting])
            self.run_layer(walk, layer, condition if layer in condition_at else None)
            for lane, group in enumerate(parting):
                yield from descend(walk.stream_of(lane), layer + 1, group)

        if members := list(dict.fromkeys(subnets)):
            yield from descend(x_BSD, 1, members)

    def _parting(self, layer: int, members: list[Kept]) -> list[list[Kept]]:
        """``members`` grouped by the units of this layer that they keep."""
        units = self.table.of_layer(layer - 1).values()
        groups: dict[tuple[bool, ...], list[Kept]] = {}
        for kept in members:
            groups.setdefault(tuple(kept[i] for i in units), []).append(kept)
        return list(groups.values())

    def weights(self) -> UnitWeights:
        """The parameters of each unit."""
        return UnitWeights(self)

    def place(self, x_BSD: Tensor) -> Tensor:
        """The stream that enters the first layer, with positions if the family adds any, and with copies of
        frames if chunks have a look-ahead.
        """
        x_BSD = x_BSD if self.positions is None else self.positions(x_BSD)
        if self.chunking is not None and self.chunking.ahead:
            return LookAhead(self.chunking, x_BSD.size(1)).extended(x_BSD)
        return x_BSD

    def padding(self, lengths: Sequence[int], x_BSD: Tensor, chunkings: Chunkings | None = None) -> Padding:
        """The contexts of the rows of ``x_BSD``, whose first ``lengths`` frames are valid."""
        if self.chunking is not None:
            if self.chunking.ahead:
                return LookAheadPadding(lengths, x_BSD, self.chunking)
            chunkings = [self.chunking] * len(lengths)
        if chunkings is not None:
            return ChunkedPadding(lengths, x_BSD, chunkings)
        return Padding(lengths, x_BSD, self._family.rows)

    def run(
        self,
        walk: Walk,
        condition: Condition | None = None,
        condition_at: Sequence[int] = (),
        layers: range | None = None,
    ) -> None:
        """Take ``walk`` through ``layers`` (1-based; all if None), and after the last one to the output."""
        layers = range(1, self.num_layers + 1) if layers is None else layers
        for layer in layers:
            self.run_layer(walk, layer, condition if layer in condition_at else None)
        if layers.stop > self.num_layers:
            walk.read(FINAL, self.norm)

    def run_layer(self, walk: Walk, layer: int, condition: Condition | None = None) -> None:
        """Take ``walk`` through the 1-based ``layer``: its units, the readings after it, the condition."""
        if str(layer - 1) in self.layers:
            if isinstance(walk, LaneWalk):
                self._call(walk, layer - 1)
            else:  # it observes what happens within the layer
                self._granularity.run(walk, self.branches(layer - 1), self.table.of_layer(layer - 1))
        walk.read(layer, self.norm)
        if condition is not None:
            walk.apply(lambda x_RSD: x_RSD + condition(self.norm(x_RSD)))

    def _call(self, walk: LaneWalk, number: int) -> None:
        """Call the layer with this 0-based number, in which ``walk`` goes through its units."""
        branches, units = self.branches(number), self.table.of_layer(number)
        planned = self.planned or ()
        involved = {unit.module: None for unit, place in units.items() if planned and planned[place]}
        if planned and not involved and self._granularity.drops_layers:
            return

        def run(walk: LaneWalk) -> None:
            self._granularity.run(walk, branches, units)
            parameters = [p for name in involved for p in branches.weights(name)]
            if parameters:
                walk.apply(partial(involve, parameters))

        walk.call(branches.layer, run, self.recomputes)

    def freeze(self, count: int) -> None:
        """Exclude the first ``count`` layers, and no others, from training. Idempotent."""
        if count != self._num_frozen:
            for number, layer in self.layers.items():
                for name, parameter in layer.named_parameters():
                    is_trained = not self.has_adapters or is_adapter(name)
                    parameter.requires_grad_(is_trained and int(number) >= count)
        self._num_frozen = count

    def branches(self, layer: int) -> Branches:
        """The residual branches that the 0-based ``layer`` still has."""
        return self._family.branches(self.layers[str(layer)])

    def reduce(self, layer: nn.Module, number: int, table: UnitTable) -> None:
        """Reduce ``layer``, the 0-based ``number`` with all of its units in ``table``, to the units that this
        encoder has there.
        """
        units, kept = tuple(table.of_layer(number)), self.table.of_layer(number).keys()
        if len(kept) < len(units):
            self._granularity.cut(self._family.branches(layer), units, kept)


class UnitWeights(Mapping[str, Sequence[Tensor]]):
    """The parameters of an encoder's units by unit name; of a part of a module, views of its slices of them.

    They are collected on access, because the context is requested several times in every training step.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __getitem__(self, name: str) -> Sequence[Tensor]:
        table = self._encoder.table
        unit = table.units[table.position[name]]
        branches = self._encoder.branches(unit.layer)
        if unit.module is not None and unit.part is not None:
            branch, parts = branches.named[unit.module], table.parts_of(unit)
            if branch.division is not None:
                return branch.division.slices(branch.module, parts.index(unit), len(parts))
        return branches.weights(unit.module)

    def __iter__(self) -> Iterator[str]:
        return iter(self._encoder.table.position)

    def __len__(self) -> int:
        return len(self._encoder.table)
