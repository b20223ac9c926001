"""Some rows of a tensor, chosen by numbers that the host knows.

Shapes: R rows, N chosen ones, S frames, D model dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from supernet.system.devices import sent


class ChosenRows:
    """Rows of ``x_RSD``, in order: all, a slice, or any."""

    def __init__(self, x_RSD: Tensor, rows: list[int]) -> None:
        self._x_RSD, self._all, self._slice = x_RSD, len(rows) == len(x_RSD), slice(rows[0], rows[-1] + 1)
        self._is_slice = rows[-1] - rows[0] + 1 == len(rows)
        self._rows_N = None if self._is_slice else sent(torch.tensor(rows), x_RSD.device)

    def get(self) -> Tensor:
        if self._rows_N is not None:
            return self._x_RSD.index_select(0, self._rows_N)
        return self._x_RSD if self._all else self._x_RSD[self._slice]

    def replaced(self, y_NSD: Tensor) -> Tensor:
        """All rows, with ``y_NSD`` instead of the chosen ones."""
        y_NSD = y_NSD.to(self._x_RSD.dtype)
        if self._rows_N is not None:
            return self._x_RSD.index_copy(0, self._rows_N, y_NSD)
        if self._all:
            return y_NSD
        return torch.cat([self._x_RSD[: self._slice.start], y_NSD, self._x_RSD[self._slice.stop :]])
