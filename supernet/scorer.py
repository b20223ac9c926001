"""The interface of a scorer, the module with which a training method ranks units, and a method's view of the
network.

Shapes: U units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from supernet.budget import Prices, Quantity
from supernet.units import UnitTable


class Scorer(nn.Module, ABC):
    """A module that ranks units by its own parameters.

    A method makes one for each new network. Its parameters and buffers are saved in the training's
    checkpoints. All of its parameters use the learning rate and the weight decay of the scores,
    `train.scores_lr` and `train.scores_weight_decay`.
    """

    @abstractmethod
    def importance(self) -> Tensor:
        """Compute the importance of each unit, without drawing random numbers.

        Called with and without gradients, for gates as well as for logs, plots, selections and saved models.

        Returns:
            One number per unit (U,); units with higher importance are kept first.
        """


class Scores(Scorer):
    """One learned score per unit."""

    def __init__(self, num_units: int, initial_score: float = 0.0) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.full((num_units,), initial_score))

    def importance(self) -> Tensor:
        return self.scores


@dataclass(frozen=True)
class Context:
    """A training method's view of the network, the argument of gates, penalties and choices."""

    scorer: Scorer
    table: UnitTable
    weights: Mapping[str, Sequence[Tensor]]
    """The network's parameters by unit name; of a part of a module, views of its slices of them. Penalties
    may depend on them, and a phase may change them in place wherever it may change state.
    """
    prices: Mapping[Quantity, Prices]
    """The cost of each unit by quantity, computed or measured on first access."""
