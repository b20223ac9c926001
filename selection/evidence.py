"""What a strategy may ask before it chooses: the one narrow way to a trained supernet.

Shapes: U units, N utterances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supernet.budget import Prices, Quantity
from supernet.units import Kept, UnitTable

Measure = Literal["cka", "svcca"]
"""How alike two layers' outputs are: linear centered kernel alignment, or mean singular-vector canonical
correlation.
"""
Floats = NDArray[np.float64]


class Evidence(ABC):
    """Everything known about a supernet's units, measured on the validation split when first asked for.

    Asking twice gives the same answer, and is free the second time. No answer depends on what was asked
    before.
    """

    table: UnitTable

    @property
    @abstractmethod
    def scores(self) -> tuple[float, ...] | None:
        """The importance of each unit (U,), as learned in training. None: the method learned none."""

    @abstractmethod
    def losses(self, subnets: Sequence[Kept]) -> list[float]:
        """The validation CTC loss per frame of each subnet, read through the head of its size.

        Subnets that begin alike share work, so ask for many at once.
        """

    @abstractmethod
    def similarity(self, measure: Measure) -> Floats:
        """How alike the stream is before the first unit and behind each unit, (U + 1, U + 1), in [0, 1]."""

    @abstractmethod
    def gate_gradients(self) -> Floats:
        """The derivative of each utterance's loss per frame by each unit's gate where all are 1, (N, U)."""

    @abstractmethod
    def scores_on_frozen_weights(self, method: str, size: int) -> tuple[float, ...]:
        """Scores (U,) learned for ``size`` by the score learning of a training method, with the weights as
        they are. Minutes, where a training takes hours.
        """

    @abstractmethod
    def prices(self, quantity: Quantity) -> Prices:
        """What units cost in any quantity; the budget's own prices come with the budget."""

    def loss(self, kept: Kept) -> float:
        """The validation loss of one subnet."""
        return self.losses([kept])[0]
