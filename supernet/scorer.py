"""The interface of a scorer, the module by which a training method ranks units, and a method's view of the
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
    """A module that ranks units by parameters of its own.

    A method makes it for a new network. Its parameters and buffers lie in the training's checkpoints, and all
    of its parameters learn at the rate of the scores, `train.scores_lr`, with their decay.
    """

    @abstractmethod
    def importance(self) -> Tensor:
        """The importance of each unit.

        Asked for with and without gradients, and for logs, plots, selections and saved models; draws no
        random numbers.

        Returns:
            One number per unit (U,); units with higher ones are kept first.
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
    """The network as a training method sees it: gates, penalties and choices are functions of it."""

    scorer: Scorer
    table: UnitTable
    weights: Mapping[str, Sequence[Tensor]]
    """By the name of each unit, its parameters in the network; they may be penalized, and changed in place
    where a phase may change state.
    """
    prices: Mapping[Quantity, Prices]
    """By quantity, the cost of each unit; counted or measured when first asked for."""
