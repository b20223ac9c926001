"""The encoder: layers of fairseq2's modules, and the one loop over their units.

Shapes: B batch rows, S frames, D model dimension, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fairseq2.models.transformer.sdpa.relative import RelativePositionalEncoding
from fairseq2.nn import BatchLayout, SinusoidalPositionEncoder, StandardLayerNorm
from torch import Tensor, nn

from supernet.config import ModelConfig
from supernet.network.lanes import FINAL, Lane, Padding, Walk
from supernet.network.layers import branches_of, build_layer
from supernet.network.wav2vec2 import normalizes_behind
from supernet.units import MODULES, Granularity, Kept, Subnet, Unit, UnitTable

Condition = Callable[[Tensor], Tensor]


class Encoder(nn.Module):
    """A net of ``num_layers``, or what ``subnet`` keeps of it: the names of what is built stay the same."""

    def __init__(
        self, config: ModelConfig, num_layers: int, granularity: Granularity, subnet: Subnet | None = None
    ) -> None:
        super().__init__()
        table = UnitTable.of(num_layers, granularity, config.layer_type)
        self.table = table if subnet is None else table.restricted(subnet)
        self.num_layers = num_layers
        relative = (
            RelativePositionalEncoding(config.dim, config.max_frames)
            if config.positions == "relative" and config.wav2vec2 is None
            else None
        )
        sinusoidal = config.positions == "sinusoidal" and config.wav2vec2 is None
        self.positions = SinusoidalPositionEncoder(config.dim, config.max_frames) if sinusoidal else None
        self._order = MODULES[config.layer_type]
        kept = _modules_kept(self.table, num_layers, self._order)
        self.layers = nn.ModuleDict(
            {str(i): build_layer(config, modules, relative) for i, modules in kept.items()}
        )
        self.norm = StandardLayerNorm(config.dim, bias=True) if _ends_in_norm(config) else nn.Identity()

    def forward(
        self,
        x_BSD: Tensor,
        lengths: Sequence[int],
        lanes: Sequence[Lane],
        condition: Condition | None = None,
        condition_at: Sequence[int] = (),
    ) -> list[dict[int, Tensor]]:
        """Run all ``lanes``; return for each what its rows hold at its positions and at the end, (rows, S,
        D).

        ``condition`` is added to every stream after the layers ``condition_at`` (self-conditioned CTC).
        """
        x_BSD = self.place(x_BSD)
        walk = Walk(x_BSD, Padding(lengths, x_BSD), lanes)
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

        Subnets that begin alike are the branches of one tree, walked depth first: every distinct beginning
        runs once, and what is in memory grows with the depth, not with the number of subnets.
        """
        x_BSD = self.place(x_BSD)
        padding = Padding(lengths, x_BSD)

        def descend(x_BSD: Tensor, layer: int, members: list[Kept]) -> Iterator[tuple[Kept, Tensor]]:
            if layer > self.num_layers:
                yield members[0], self.norm(x_BSD)
                return
            parting = self._parting(layer, members)
            walk = Walk(x_BSD, padding, [Lane(range(len(x_BSD)), group[0]) for group in parting])
            self.run_layer(walk, layer, condition if layer in condition_at else None)
            for lane, group in enumerate(parting):
                yield from descend(walk.stream_of(lane), layer + 1, group)

        if members := list(dict.fromkeys(subnets)):
            yield from descend(x_BSD, 1, members)

    def _parting(self, layer: int, members: list[Kept]) -> list[list[Kept]]:
        """``members`` grouped by what they keep of this layer."""
        units = [i for i, unit in enumerate(self.table.units) if unit.layer == layer - 1]
        groups: dict[tuple[bool, ...], list[Kept]] = {}
        for kept in members:
            groups.setdefault(tuple(kept[i] for i in units), []).append(kept)
        return list(groups.values())

    def weights(self) -> dict[str, list[nn.Parameter]]:
        """By the name of each unit, its parameters."""
        return {unit.name: self._weights(unit) for unit in self.table.units}

    def _weights(self, unit: Unit) -> list[nn.Parameter]:
        layer = self.layers[str(unit.layer)]
        if self.table.granularity == "layer":
            return list(layer.parameters())
        name = unit.name.rpartition(".")[2]
        parts = [getattr(layer, part) for part in (name, f"{name}_layer_norm") if hasattr(layer, part)]
        return [parameter for part in parts for parameter in part.parameters()]

    def place(self, x_BSD: Tensor, layout: BatchLayout | None = None) -> Tensor:
        """The stream that enters the first layer: with sinusoidal positions, if that is the kind."""
        return x_BSD if self.positions is None else self.positions(x_BSD, layout or BatchLayout.of(x_BSD))

    def run(self, walk: Walk, condition: Condition | None = None, condition_at: Sequence[int] = ()) -> None:
        """Take ``walk`` through all layers to the output."""
        for layer in range(1, self.num_layers + 1):
            self.run_layer(walk, layer, condition if layer in condition_at else None)
        walk.read(FINAL, self.norm)

    def run_layer(self, walk: Walk, layer: int, condition: Condition | None = None) -> None:
        """Take ``walk`` through the 1-based ``layer``: its units, the readings behind it, the condition."""
        self._run_units(walk, layer - 1)
        walk.read(layer, self.norm)
        if condition is not None:
            walk.x_RSD = walk.x_RSD + condition(self.norm(walk.x_RSD))

    def _run_units(self, walk: Walk, layer: int) -> None:
        if str(layer) not in self.layers:
            return
        branches = branches_of(self.layers[str(layer)], self._order)
        if self.table.granularity == "layer":
            walk.run(self.table.position[f"layers.{layer}"], branches.run, is_branch=False)
            return
        for name, branch in branches.named.items():
            walk.run(self.table.position[f"layers.{layer}.{name}"], branch, is_branch=True)
        if branches.norm is not None:  # belongs to no unit and always runs
            walk.x_RSD = branches.norm(walk.x_RSD)


def _ends_in_norm(config: ModelConfig) -> bool:
    """Layers that normalize behind their branches leave nothing to be normalized."""
    return config.layer_type == "transformer" and not (config.wav2vec2 and normalizes_behind(config.wav2vec2))


def _modules_kept(
    table: UnitTable, num_layers: int, everything: tuple[str, ...]
) -> dict[int, frozenset[str]]:
    """By layer, the modules to build. At module granularity a layer without any still has its final norm."""
    if table.granularity == "layer":
        return {unit.layer: frozenset(everything) for unit in table.units}
    kept: dict[int, set[str]] = {layer: set() for layer in range(num_layers)}
    for unit in table.units:
        kept[unit.layer].add(unit.name.rpartition(".")[2])
    return {layer: frozenset(names) for layer, names in kept.items()}
