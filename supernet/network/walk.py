"""The interface between an encoder and a walk through it.

Shapes: N rows of a call, K units of a group, S frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

FINAL = -1
"""The position of the encoder's output; intermediate positions are 1-based layers."""

Map = Callable[[Tensor], Tensor]
"""A function from streams (N, S, D) to streams that treats each row separately."""


@dataclass(frozen=True)
class Running:
    """The units of a group that run in a call, and their weights in each of its rows."""

    units: tuple[int, ...] = (0,)
    """The units that at least one row runs, by index in the group; the others need not be computed."""
    gates_NK: Tensor | None = None
    """The gate of each of ``units`` in each row, 0 if the row does not run it. None: 1 everywhere."""
    scale_NK: Tensor | None = None
    """The scale of the rows that survive stochastic depth. None: 1 everywhere."""

    @property
    def gate(self) -> Tensor | None:
        """The gate (N, 1, 1) of the only unit of a group."""
        return None if self.gates_NK is None else self.gates_NK[:, :, None]

    @property
    def scale(self) -> Tensor | None:
        """The scale (N, 1, 1) of the only unit of a group."""
        return None if self.scale_NK is None else self.scale_NK[:, :, None]

    @property
    def weights(self) -> Tensor | None:
        """The factors (N, K), gate times scale, on the units' outputs. None: 1 everywhere."""
        if self.gates_NK is None or self.scale_NK is None:
            return self.scale_NK if self.gates_NK is None else self.gates_NK
        return self.gates_NK * self.scale_NK


class Body(Protocol):
    """The computation of a group of units."""

    def __call__(self, x_NSD: Tensor, context: Any, running: Running, /) -> Tensor:
        """Run the group.

        Args:
            x_NSD: The streams of the rows that run at least one unit of the group.
            context: The context of these rows, see ``EncoderFamily.rows``: lengths, attention biases, caches.
            running: The units of the group that run, and their weights.

        Returns:
            The streams (N, S, D) after the group.
        """


class Walk(Protocol):
    """A walk through an encoder. The encoder determines what runs next, the walk on which rows."""

    def run(self, units: Sequence[int], body: Body) -> None:
        """Run a group of parallel units in one call: units that read the same stream and whose outputs are
        added to it together.

        Args:
            units: The indices of the units in the unit table.
            body: The computation of the group.
        """

    def apply(self, map: Map) -> None:
        """Apply a function that belongs to no unit, such as a layer's final norm, to all streams."""

    def read(self, position: int, norm: Map) -> None:
        """Offer a reading of the stream.

        Args:
            position: The 1-based layer that has just run, or ``FINAL``.
            norm: The normalization of a stream before it is read.
        """
