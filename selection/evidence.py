"""The interface through which strategies learn about a trained supernet.

Shapes: U units, N utterances.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from supernet.budget import Budget, Prices, Quantity
from supernet.units import Kept, UnitTable

Measure = Literal["cka", "svcca"]
"""Similarity of two layers' outputs: linear centered kernel alignment, or mean singular-vector canonical
correlation.
"""
Floats = NDArray[np.float64]


class Evidence(ABC):
    """Measurements of a supernet and its units on the validation split, taken when first asked for.

    Answers are cached: asking again gives the same answer at no cost. No answer depends on earlier questions.
    """

    table: UnitTable
    """The units of the supernet."""

    @property
    @abstractmethod
    def scores(self) -> tuple[float, ...] | None:
        """The importance of each unit (U,) as learned in training; None if the method learns no scores."""

    @abstractmethod
    def losses(self, subnets: Sequence[Kept]) -> list[float]:
        """Score subnets. Those with the same first units share computation, so ask for many at once.

        Args:
            subnets: At least one subnet, each with the units that it keeps.

        Returns:
            The validation CTC loss per frame of each subnet, read through the head for its size.
        """

    @abstractmethod
    def similarity(self, measure: Measure) -> Floats:
        """Compare the full network's residual stream before its first unit and after each unit.

        Args:
            measure: The similarity measure.

        Returns:
            A symmetric matrix (U + 1, U + 1) with values in [0, 1]; row 0 is the input of the first unit.
        """

    @abstractmethod
    def gate_gradients(self) -> Floats:
        """Differentiate the loss with respect to the units' gates.

        Returns:
            The derivative (N, U) of each utterance's loss per frame at gates of 1.
        """

    @abstractmethod
    def weight_saliency(self) -> Floats:
        """Differentiate the loss with respect to the weights of the full network.

        Returns:
            For each unit (U,), the sum over its weights of |weight times derivative of the loss per frame|.
        """

    @abstractmethod
    def scores_on_frozen_weights(self, method: str, budget: Budget) -> tuple[float, ...]:
        """Learn scores while the weights stay frozen, in minutes where a training takes hours.

        Args:
            method: The training method whose score learning is used: ``simple-top-k``,
                ``iterative-zero-out``, ``ortho-softmax``, ``auto-train-once`` or ``dais``.
            budget: The limit. Methods that count units keep as many of average cost as fit.

        Returns:
            The score of each unit (U,).

        Raises:
            ValueError: There is no such method, or the full network meets the budget.
        """

    @abstractmethod
    def prices(self, quantity: Quantity) -> Prices:
        """Price the units in any quantity. The prices that limit a budget come with the budget itself.

        Args:
            quantity: Units, parameters, MACs or latency.

        Returns:
            The price of each unit, and of the rest of the network.
        """

    def loss(self, kept: Kept) -> float:
        """The validation CTC loss per frame of one subnet."""
        return self.losses([kept])[0]
