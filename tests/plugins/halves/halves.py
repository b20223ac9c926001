"""An example of a granularity: units are the halves of feed-forwards, and all other modules.

Shapes: N rows, S frames, D model dimension, H inner features, K parts that run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from supernet.network.branches import Branch
from supernet.network.granularities import ByModule
from supernet.network.walk import Body, Running
from supernet.units import Module, Unit


class Halves(ByModule):
    """Halves of feed-forwards as units. Each half has half of the output bias, so that halves add up."""

    def units(self, layer: int, modules: Sequence[Module]) -> Sequence[Unit]:
        found = []
        for module in modules:
            name, parts = f"layers.{layer}.{module.name}", range(2)
            if module.kind == "feed-forward":
                found += [Unit(f"{name}.{part}", layer, module.name, part) for part in parts]
            else:
                found.append(Unit(name, layer, module.name))
        return found

    def parts(self, branch: Branch, count: int) -> Body:
        return Parts(branch, count)

    def keep(self, branch: Branch, parts: Sequence[int], count: int) -> None:
        ffn: Any = branch.module
        for projection, axis in ((ffn.inner_proj, 0), (ffn.output_proj, 1)):
            projection.weight = nn.Parameter(chosen(projection.weight, parts, count, axis))
        ffn.inner_proj.bias = nn.Parameter(chosen(ffn.inner_proj.bias, parts, count, 0))
        ffn.output_proj.bias = nn.Parameter(ffn.output_proj.bias.detach() * (len(parts) / count))


@dataclass(frozen=True)
class Parts:
    """A feed-forward of ``count`` equal parts; different rows may run different parts."""

    branch: Branch
    count: int

    def __call__(self, x_NSD: Tensor, context: Any, running: Running) -> Tensor:
        return x_NSD + replace(self.branch, call=partial(self.sum, running))(x_NSD, context)

    def sum(self, running: Running, x_NSD: Tensor, context: Any) -> Tensor:
        ffn: Any = self.branch.module
        if len(running.units) == self.count and running.weights is None:
            return ffn(x_NSD)  # type: ignore[no-any-return]
        take = partial(chosen, parts=running.units, count=self.count)
        weight_HD, bias_H = take(ffn.inner_proj.weight, axis=0), take(ffn.inner_proj.bias, axis=0)
        h_NSH = ffn.inner_activation(F.linear(x_NSD, weight_HD, bias_H))
        if ffn.inner_dropout is not None:
            h_NSH = ffn.inner_dropout(h_NSH)
        share: Any = len(running.units) / self.count
        if (weights_NK := running.weights) is not None:
            h_NSH = h_NSH * weights_NK.repeat_interleave(len(bias_H) // len(running.units), 1)[:, None]
            share = weights_NK.sum(1)[:, None, None] / self.count
        y_NSD = F.linear(h_NSH, take(ffn.output_proj.weight, axis=1))
        return y_NSD + share * ffn.output_proj.bias  # type: ignore[no-any-return]


def chosen(weight: Tensor, parts: Sequence[int], count: int, axis: int) -> Tensor:
    """Some of the ``count`` equal parts of ``weight`` along ``axis``, concatenated."""
    if len(parts) == count:
        return weight
    return torch.cat([weight.chunk(count, axis)[part] for part in parts], axis)
