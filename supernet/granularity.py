"""The interface of a granularity: the units of a layer, and how they run and are cut away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import ClassVar

from supernet.network.branches import Branches
from supernet.network.walk import Walk
from supernet.settings.plugins import find_plugin
from supernet.units import Module, Unit


class Granularity(ABC):
    """A kind of unit. Found through the entry-point group ``supernet.granularities``.

    It is made without arguments and keeps no state: weights live in the network, streams in a walk. Gates of
    1 must change nothing, a gate of 0 must be the unit not run, and a layer from which units were cut away
    must compute what the whole layer computes without them.
    """

    drops_layers: ClassVar[bool] = False
    """Whether a layer is left out entirely if none of its units is kept."""

    @abstractmethod
    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        """List the units of a layer.

        Args:
            layer: The 0-based number of the layer.
            modules: Its residual branches in the order in which they run.

        Returns:
            Its units in the order in which they run, those of a group side by side. A group is what runs in
            one call: the parts of one module.
        """

    @abstractmethod
    def run(self, walk: Walk, layer: Branches, units: Mapping[Unit, int]) -> None:
        """Take a walk through a layer.

        Args:
            walk: Runs groups of units, and whatever belongs to no unit.
            layer: The branches that the layer still has.
            units: The layer's units that the network still has, and their places in its table.
        """

    @abstractmethod
    def cut(self, layer: Branches, units: Sequence[Unit], kept: Set[Unit]) -> None:
        """Reduce a layer in place to its ``kept`` units, without changing their weights.

        Args:
            layer: A layer with all of ``units``.
            units: Its units before.
            kept: Those that stay.
        """


@lru_cache
def granularity_named(name: str) -> Granularity:
    """The granularity that ``name`` stands for. Raises ``ValueError`` where there is none."""
    found: Granularity = find_plugin("granularity", name)()
    return found
