"""Simple-Top-k: relaxed top-k gates over one score per unit, with k annealed from the number of all units to
the smallest size (arXiv 2407.18930).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from supernet.config import Config, Fraction, Section
from supernet.method import Method, Moment, Phase, Progress
from supernet.plan import Plan
from supernet.scorer import Context
from supernet.training.phases import joint_training, learning_passes


def relaxed_top_k(scores_U: Tensor, k: int) -> Tensor:
    """Soft top-k gates (U,): non-negative, with a sum of exactly ``k``.

    ``k`` successive softmaxes without noise (arXiv 1901.10517, section 3). A single gate can slightly exceed
    1.
    """
    logits_U, gates_U = scores_U, torch.zeros_like(scores_U)
    tiny = torch.finfo(scores_U.dtype).tiny
    for _ in range(k):
        pick_U = torch.softmax(logits_U, dim=0)
        gates_U = gates_U + pick_U
        logits_U = logits_U + torch.log((1 - pick_U).clamp(min=tiny))
    return gates_U


def hard_top_k(scores_U: Tensor, k: int) -> Tensor:
    """Hard top-k gates (U,): 1 for the ``k`` highest of ``relaxed_top_k`` and 0 for the others, with the
    gradient of the relaxed gates (straight-through).
    """
    relaxed_U = relaxed_top_k(scores_U, k)
    hard_U = torch.zeros_like(relaxed_U)
    hard_U[relaxed_U.topk(k).indices] = 1.0
    return hard_U + relaxed_U - relaxed_U.detach()


class SimpleTopKOptions(Section):
    score_learning: Fraction = 0.1
    """Share of the updates spent on score learning (in the paper, about 0.6)."""
    reduce_by: Annotated[int, Field(ge=1)] | None = None
    """Number of units by which k is reduced each time. None: 1 for layers, 4 for modules."""
    hard: bool = False
    """Use gates of 0 and 1 in the forward pass, with the gradient of the relaxed ones (straight-through)."""


class SimpleTopK(Method[SimpleTopKOptions]):
    """Learn scores while k falls to the smallest size, then train all sizes with the top-k masks."""

    Options = SimpleTopKOptions
    initial_score = 0.5

    def phases(self) -> Sequence[Phase]:
        total = self.config.train.num_steps
        learning = round(total * self.options.score_learning)
        learn = LearnTopK(learning, self.config, self._ladder(), hard=self.options.hard)
        return [learn, *joint_training(total - learning, self.config)]

    def _ladder(self) -> list[int]:
        """The values of k, from one reduction below all units down to exactly the smallest size."""
        by = self.options.reduce_by or self.config.units_per_layer
        smallest = self.sizes[0]
        return [*range(len(self.table) - by, smallest, -by), smallest]


class LearnTopK(Phase):
    """The full network, trained both without gates and gated; each k lasts equally long."""

    name = "score learning"

    def __init__(self, num_steps: int, config: Config, ladder: list[int], *, hard: bool = False) -> None:
        self.num_steps, self._config, self._ladder = num_steps, config, ladder
        self._top_k = hard_top_k if hard else relaxed_top_k

    def k(self, progress: Progress) -> int:
        rung = progress.step * len(self._ladder) // progress.num_steps
        return self._ladder[min(rung, len(self._ladder) - 1)]

    def plan(self, moment: Moment) -> Plan:
        gate = partial(self._gates, k=self.k(moment.progress))
        return Plan(learning_passes(self._config, moment.table.full, gate))

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return self._gates(context, k=self.k(moment.progress))

    def _gates(self, context: Context, k: int) -> Tensor:
        return self._top_k(context.scorer.importance(), k)
