"""Merges the layers that a cut drops into those that it keeps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from supernet.errors import ArgumentError
from supernet.granularity import granularity_named
from supernet.network.supernet_ctc import SupernetCTC
from supernet.units import Subnet


@torch.no_grad()
def merge_dropped(recognizer: SupernetCTC, subnet: Subnet) -> None:
    """Give each layer that ``subnet`` keeps the mean weights of itself and of the dropped layers that are
    nearest to it, in place; of two kept layers at the same distance, the earlier one counts.

    As layer collapse (arXiv 2402.11187), except that it adds up differences instead of taking means.

    Raises:
        ArgumentError: Units are not layers, or layers have different weights.
    """
    if not granularity_named(subnet.granularity).drops_layers:
        raise ArgumentError(
            ["merge"], f"`merge` must go with layers as units, but goes with {subnet.granularity}s instead."
        )
    table, layers = recognizer.table, recognizer.encoder.layers
    kept = [unit.layer for unit, keeps in zip(table.units, table.kept(subnet), strict=True) if keeps]
    groups: dict[int, list[Mapping[str, Tensor]]] = {number: [] for number in kept}
    for unit in table.units:
        nearest = min(kept, key=lambda number: (abs(number - unit.layer), number))
        groups[nearest].append(layers[str(unit.layer)].state_dict())
    for number, states in groups.items():
        mine, first = layers[str(number)].state_dict(), _shapes(states[0])
        if other := next((state for state in states if _shapes(state) != first), None):
            name = sorted(set(first.items()) ^ set(_shapes(other).items()))[0][0]
            raise ArgumentError(
                ["merge"], f"`merge` must find the same weights in all layers, but '{name}' differs."
            )
        for name, x in mine.items():
            if x.is_floating_point() and len(states) > 1:
                x.copy_(torch.stack([state[name] for state in states]).mean(0))


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in state.items()}
