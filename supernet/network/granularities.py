"""The built-in granularities: a unit is a whole layer, or a residual branch of one."""

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
        """Do nothing: a layer is kept or removed as a whole."""


class ByModule(Granularity):
    """A unit is a residual branch or one of its parallel parts; a final norm always runs.

    A granularity with parts defines how they run (``parts``) and how they are cut away (``keep``).
    """

    @abstractmethod
    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]: ...

    def parts(self, branch: Branch, count: int) -> Body:
        """Make the computation of any parts of a branch that still has ``count`` equal ones.

        Args:
            branch: The branch to run; its ``module`` holds the weights of these parts, in order.
            count: The number of parts that the branch still has.

        Returns:
            A body that adds to each row the weighted sum of its parts' outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} has no parts of modules")

    def keep(self, branch: Branch, parts: Sequence[int], count: int) -> None:
        """Reduce a branch's ``module`` in place to some of its equal parts, as a smaller dense module.

        Args:
            branch: A branch with ``count`` parts.
            parts: The indices of the parts to keep, in order; at least one, and not all.
            count: The number of parts before.
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
        assert name is not None, "every unit of this granularity belongs to a module"
        yield name, list(group)
