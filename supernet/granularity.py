"""The interface of a granularity: the units of a layer, and how they run and are cut away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import ClassVar

from supernet.model_config import ModelConfig
from supernet.network.branches import Branches
from supernet.network.walk import Walk
from supernet.settings.plugins import find_plugin
from supernet.units import Module, Unit


class Granularity(ABC):
    """A kind of unit. Found through the entry-point group ``supernet.granularities``.

    Constructed without arguments and stateless: weights live in the network, streams in a walk. Gates of 1
    must change nothing, a gate of 0 must equal skipping the unit, and a layer from which units were cut away
    must have the same outputs as the whole layer with these units skipped.
    """

    drops_layers: ClassVar[bool] = False
    """Whether a layer is left out entirely if none of its units is kept."""

    @abstractmethod
    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        """List the units of a layer.

        Args:
            layer: The 0-based number of the layer.
            modules: Its residual branches in execution order.

        Returns:
            Its units in execution order, with the units of a group next to each other. The units of a group,
            such as the parts of one module, run in one call.
        """

    def problems(self, model: ModelConfig) -> list[str]:
        """Check whether a network has such units.

        Args:
            model: The settings of the network.

        Returns:
            One sentence for the user per problem; empty if there is none.
        """
        return []

    @abstractmethod
    def run(self, walk: Walk, layer: Branches, units: Mapping[Unit, int]) -> None:
        """Take a walk through a layer.

        Args:
            walk: Runs groups of units, and computations that belong to no unit.
            layer: The branches that the layer still has.
            units: The units of the layer that the network still has, with their indices in its unit table.
        """

    @abstractmethod
    def cut(self, layer: Branches, units: Sequence[Unit], kept: Set[Unit]) -> None:
        """Reduce a layer in place to its ``kept`` units, without changing their weights.

        Args:
            layer: A layer with all of ``units``.
            units: All units of the layer before.
            kept: The units to keep.
        """


@lru_cache
def granularity_named(name: str) -> Granularity:
    """The granularity called ``name``. Raises ``ValueError`` if there is none."""
    found: Granularity = find_plugin("granularity", name)()
    return found
