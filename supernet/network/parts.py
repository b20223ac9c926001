"""Modules of equal parts that run in parallel: the heads of an attention, the chunks of a feed-forward.

Some of the parts are a smaller dense module of the same class. While a supernet runs, its weights are slices
of those of the whole; in a cut model, they are parameters of their own.

Shapes: N rows, S frames, D model dimension, H features of all parts, K parts.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.branches import Branch
from supernet.network.walk import Running

Run = Callable[[Any, Tensor, Any], Tensor]
"""The computation of a module on its normalized input (N, S, D) and the context of its rows."""


@dataclass(frozen=True)
class Division:
    """The division of a module into equal parts whose outputs add up.

    The projection ``output`` reads the concatenated features of the parts. Its bias belongs to them in equal
    shares, so that nothing is left of a module without parts.
    """

    run: Run
    axes: Mapping[str, int]
    """By name, the parameters that are divided, and the axis along which the parts follow each other."""
    counts: tuple[str, ...] = ()
    """The attributes that hold the number of parts."""
    output: str = "output_proj"

    def numel(self, module: nn.Module) -> int:
        """The number of parameters of all parts; any others serve the module as a whole."""
        return sum(_get(module, name).numel() for name in self.axes)

    def slices(self, module: nn.Module, part: int, count: int) -> list[Tensor]:
        """The parameters of a part of ``module``, which has ``count``: views, whose changes change it."""
        return [chosen(_get(module, name), [part], count, axis) for name, axis in self.axes.items()]

    def some(self, module: nn.Module, parts: Sequence[int], count: int, weights_NK: Tensor | None) -> Any:
        """A module of some parts, with slices of the weights of ``module``.

        Args:
            module: A module of ``count`` parts.
            parts: The parts to run, in order.
            count: The number of parts.
            weights_NK: The factor on each of ``parts`` in each row. None: 1 everywhere.
        """
        changes: dict[str, Any] = {}
        if len(parts) < count:
            changes = {
                name: chosen(_get(module, name), parts, count, axis) for name, axis in self.axes.items()
            }
            changes |= {name: len(parts) for name in self.counts}
        found = _changed(module, changes)
        vars(found)[self.output] = Weighted(getattr(found, self.output), len(parts) / count, weights_NK)
        return found

    def keep(self, module: nn.Module, parts: Sequence[int], count: int) -> None:
        """Reduce ``module`` in place to some of its ``count`` parts."""
        for name, axis in self.axes.items():
            _set(module, name, nn.Parameter(chosen(_get(module, name).detach(), parts, count, axis).clone()))
        for name in self.counts:
            _set(module, name, len(parts))
        bias = f"{self.output}.bias"
        if _get(module, bias) is not None:
            _set(module, bias, nn.Parameter(_get(module, bias).detach() * (len(parts) / count)))


@dataclass(frozen=True)
class Parts:
    """The body of a group of units that are the parts of a branch."""

    branch: Branch
    count: int
    """The number of parts that the branch still has."""

    def __call__(self, x_NSD: Tensor, context: Any, running: Running) -> Tensor:
        if len(running.units) == self.count and running.weights is None:
            return x_NSD + self.branch(x_NSD, context)
        division = self.branch.division
        assert division is not None
        some = division.some(self.branch.module, running.units, self.count, running.weights)
        return x_NSD + replace(self.branch, call=partial(division.run, some))(x_NSD, context)


@dataclass(frozen=True)
class Weighted:
    """The output projection of some parts, whose features are multiplied by the weights of the parts."""

    projection: Any
    share: float
    """The share of these parts in all."""
    weights_NK: Tensor | None

    def __call__(self, x_NSH: Tensor) -> Tensor:
        share: Any = self.share
        if self.weights_NK is not None:
            x_NSKF = x_NSH.view(*x_NSH.shape[:2], self.weights_NK.size(1), -1)
            x_NSH = (x_NSKF * self.weights_NK[:, None, :, None]).flatten(2)
            share = self.share * self.weights_NK.mean(1)[:, None, None]
        y_NSD = F.linear(x_NSH, self.projection.weight)
        return y_NSD if self.projection.bias is None else y_NSD + share * self.projection.bias


def chosen(weight: Tensor, parts: Sequence[int], count: int, axis: int) -> Tensor:
    """Some of the ``count`` equal parts of ``weight`` along ``axis``, concatenated; a view if adjacent."""
    width = weight.size(axis) // count
    if parts[-1] - parts[0] + 1 == len(parts):
        return weight.narrow(axis, parts[0] * width, len(parts) * width)
    return torch.cat([weight.narrow(axis, part * width, width) for part in parts], axis)


def _changed(module: nn.Module, changes: Mapping[str, Any]) -> nn.Module:
    """A copy of ``module`` with some other attributes, by dotted names, that shares all else with it."""
    found, inner = copy.copy(module), defaultdict[str, dict[str, Any]](dict)
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if rest:
            inner[first][rest] = value
        else:  # hides the parameter, for which PyTorch looks elsewhere
            vars(found)[name] = value
    for name, deeper in inner.items():
        vars(found)[name] = _changed(getattr(module, name), deeper)
    return found


def _get(module: nn.Module, name: str) -> Any:
    return attrgetter(name)(module)


def _set(module: nn.Module, name: str, value: Any) -> None:
    owner, _, last = name.rpartition(".")
    setattr(module.get_submodule(owner), last, value)
