"""The built-in granularities: a unit is a whole layer, a residual branch of one, or a part of a branch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import groupby

from supernet.granularity import Granularity
from supernet.model_config import ModelConfig
from supernet.network.branches import Branch, Branches, Interpolated, Residual
from supernet.network.parts import Parts
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


class OneComponent(ByModule):
    """A unit is an attention head, a chunk of a feed-forward, or a whole convolution (arXiv 2501.18895)."""

    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        found = []
        for module in modules:
            name = f"layers.{layer}.{module.name}"
            parts = range(module.components or 0)
            found += [Unit(f"{name}.{part}", layer, module.name, part) for part in parts] or [
                Unit(name, layer, module.name)
            ]
        return found

    def problems(self, model: ModelConfig) -> list[str]:
        if all(module.components is None for module in model.modules):
            return [
                f"`granularity` must be 'layer' or 'module' with `model.encoder` '{model.encoder.name}', "
                "whose modules cannot be divided, but is 'component' instead"
            ]
        if any(module.divisions % (module.components or 1) for module in model.modules):
            return [
                f"`model.ffn_dim` must be a multiple of `model.ffn_chunks` ({model.ffn_chunks}), "
                f"but is {model.ffn_dim} instead"
            ]
        return []

    def parts(self, branch: Branch, count: int) -> Body:
        return Parts(branch, count)

    def keep(self, branch: Branch, parts: Sequence[int], count: int) -> None:
        assert branch.division is not None
        branch.division.keep(branch.module, parts, count)


def _by_module(units: Iterable[Unit]) -> Iterator[tuple[str, list[Unit]]]:
    for name, group in groupby(units, key=lambda unit: unit.module):
        assert name is not None, "every unit of this granularity belongs to a module"
        yield name, list(group)
