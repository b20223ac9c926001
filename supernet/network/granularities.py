"""The granularities that come with the project: a unit is a whole layer, or a residual branch of one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby

from supernet.granularity import Granularity
from supernet.network.branches import Branch, Branches, Interpolated, Residual
from supernet.network.walk import Body, Walk
from supernet.units import Module, Unit


class OneLayer(Granularity):
    """A unit is an encoder layer, including its final norm."""

    drops_layers = True

    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        return [Unit(f"layers.{layer}", layer)]

    def run(self, walk: Walk, layer: Branches, units: Mapping[Unit, int]) -> None:
        walk.run(tuple(units.values()), Interpolated(layer))

    def cut(self, layer: Branches, units: Sequence[Unit], kept: Set[Unit]) -> None:
        """A layer goes whole."""


class ByModule(Granularity):
    """A unit is a residual branch or one of its parallel parts; a final norm always runs.

    Granularities with parts say how these run and how they are cut away: ``parts`` and ``keep``.
    """

    @abstractmethod
    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]: ...

    def parts(self, branch: Branch, count: int) -> Body:
        """Run a branch that still has ``count`` equal parts, all or some of them.

        Args:
            branch: What to run; its ``module`` holds the weights of these parts, in order.
            count: How many there are.

        Returns:
            A body that adds to each row the sum of its parts' outputs, each times its weight.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parts of modules")

    def keep(self, branch: Branch, parts: Sequence[int], count: int) -> None:
        """Leave in a branch's ``module``, in place, some of its equal parts as a dense smaller module.

        Args:
            branch: A branch with ``count`` parts.
            parts: Those that stay, in order; at least one, not all.
            count: How many there are before.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parts of modules")

    def run(self, walk: Walk, layer: Branches, units: Mapping[Unit, int]) -> None:
        for name, group in _by_module(units):
            branch = layer.named[name]
            body = Residual(branch) if group[0].part is None else self.parts(branch, len(group))
            walk.run([units[unit] for unit in group], body)
        if layer.norm is not None:
            walk.apply(layer.norm)

    def cut(self, layer: Branches, units: Sequence[Unit], kept: Set[Unit]) -> None:
        for name, group in _by_module(units):
            stay = [i for i, unit in enumerate(group) if unit in kept]
            if not stay:
                layer.remove(name)
            elif len(stay) < len(group):
                self.keep(layer.named[name], stay, len(group))


class OneModule(ByModule):
    """A unit is a residual branch."""

    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        return [Unit(f"layers.{layer}.{module.name}", layer, module.name) for module in modules]


def _by_module(units: Iterable[Unit]) -> Iterator[tuple[str, list[Unit]]]:
    for name, group in groupby(units, key=lambda unit: unit.module):
        assert name is not None, "units of this granularity lie in modules"
        yield name, list(group)
