"""The expected cost of a subnet, differentiable with respect to the gates of its units.

Shapes: X any leading dimensions, U units, M modules with several parts, K parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from supernet.budget import Budget, Prices
from supernet.system.devices import sent


def prunable_share(budget: Budget) -> float:
    """The limit as a share of the cost of all units, that is, without what always runs."""
    prices = budget.prices
    return min(1.0, (budget.limit - prices.base) / _prunable(prices))


def expected_share(gates_XU: Tensor, prices: Prices) -> Tensor:
    """The expected cost of the units as a share of that of all units (X), without what always runs.

    Gates are probabilities, independent of each other. What the parts of a module share is due if any of them
    is kept. At gates of 0 and 1, this is the cost of the subnet.
    """
    whole = _prunable(prices)
    costs_U = tensor_like([price / whole for price in prices.units], gates_XU)
    total_X = gates_XU @ costs_U
    if not prices.shared:
        return total_X
    shared_M = tensor_like([one.price / whole for one in prices.shared], gates_XU)
    return total_X + any_kept(gates_XU, [one.units for one in prices.shared]) @ shared_M


def any_kept(gates_XU: Tensor, groups: list[tuple[int, ...]]) -> Tensor:
    """The probability (X, M) that any unit of each group is kept."""
    width, num_units = max(map(len, groups)), gates_XU.size(-1)
    padded = [(*units, *[num_units] * (width - len(units))) for units in groups]
    places_MK = sent(torch.tensor(padded), gates_XU.device)
    # A unit that is never kept fills up the groups with fewer.
    gates_XU = torch.cat([gates_XU, gates_XU.new_zeros(*gates_XU.shape[:-1], 1)], -1)
    gates_XMK = gates_XU.index_select(-1, places_MK.flatten()).view(*gates_XU.shape[:-1], *places_MK.shape)
    none_XM = 1 - gates_XMK[..., 0]
    for k in range(1, width):  # the derivative of `prod` would wait for the device
        none_XM = none_XM * (1 - gates_XMK[..., k])
    return 1 - none_XM


def tensor_like(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers of the host as a vector on the device of ``like``, which is not waited for, in its type."""
    return sent(torch.tensor(values, dtype=like.dtype), like.device)


def _prunable(prices: Prices) -> float:
    return max(prices.full - prices.base, 1e-12)
