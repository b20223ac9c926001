"""Auto-Train-Once: a controller network makes the masks while the full network trains, and the weights of
masked units shrink (arXiv 2403.14729).

Shapes: U units, L layers, H features of the controller, X draws of noise.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from supernet.budget import Budget
from supernet.config import Config, Fraction, Positive, Section
from supernet.method import Method, Moment, Phase
from supernet.plan import Pass, Plan
from supernet.scorer import Context, Scorer
from supernet.training.expected_cost import expected_share, prunable_share, tensor_like
from supernet.training.held_out import HeldOut, precision_problems
from supernet.training.phases import joint_training
from supernet.units import UnitTable

NUM_INPUTS, NUM_FEATURES = 64, 64
"""The size of the controller's input for each layer, and of its recurrent state in each direction."""
TEMPERATURE = 0.4
OPEN = 3.0
"""Added to every logit, so that at first all units are kept."""
TRAVEL = 0.5
"""The distance that a parameter of the controller can move while it is trained."""
NOISE = 0.1
"""Scale of the differences between the initial logits: what is learned decides, not they."""
DRAWS = 4
"""The number of masks that are drawn in an update of the controller, each for a part of the batch."""
LEAST = 1e-3
"""The least expected cost, as a share of that of all units: its logarithm is taken."""


class AutoTrainOnceOptions(Section):
    score_learning: Fraction = 0.5
    """Share of the updates in which masks are learned."""
    every: Positive = 4
    """The controller is trained in every so many updates of that time, the weights in the others."""
    held_out: HeldOut = 0.1
    """Share of the training utterances on which the controller is trained, and the weights are not while the
    masks are learned. 0: both on all utterances.
    """
    cost_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the logarithm of the ratio of the expected cost to the smallest budget."""
    shrink_from: Fraction = 0.5
    """Share of the learning of masks after which the weights of masked units begin to shrink."""
    shrink: Annotated[float, Field(ge=0)] = 10.0
    """Strength of the group lasso on the weights of masked units."""


class AutoTrainOnce(Method[AutoTrainOnceOptions]):
    """Train the full network and a controller that masks units; then train all sizes."""

    Options = AutoTrainOnceOptions
    learns_costs = True

    def scorer(self) -> Scorer:
        return Controller(self.table)

    def phases(self) -> Sequence[Phase]:
        total = self.config.train.num_steps
        learning = round(total * self.options.score_learning)
        learn = LearnMasks(learning, self.config, self.options, self.budgets[0])
        return [learn, *joint_training(total - learning, self.config)]

    def problems(self) -> list[str]:
        return precision_problems(self.options.held_out, self.config)


class Controller(Scorer):
    """A bidirectional recurrent network over the layers, from fixed random inputs to a logit per unit."""

    inputs: Tensor

    def __init__(self, table: UnitTable) -> None:
        super().__init__()
        self._counts = list(Counter(unit.layer for unit in table.units).values())
        inputs = torch.empty(len(self._counts), max(NUM_INPUTS, len(self._counts)))
        self.register_buffer("inputs", nn.init.orthogonal_(inputs))
        self.recurrent = nn.GRU(inputs.size(1), NUM_FEATURES, bidirectional=True)
        self.norm = nn.LayerNorm(2 * NUM_FEATURES)
        self.weight = nn.Parameter(
            NOISE * torch.randn(len(table), 2 * NUM_FEATURES) / math.sqrt(NUM_FEATURES)
        )
        self.bias = nn.Parameter(torch.zeros(len(table)))

    def importance(self) -> Tensor:
        """The logit of each unit (U,); those above 0 are kept."""
        x_LH, _ = self.recurrent(self.inputs)
        of_layers = torch.relu(self.norm(x_LH)).unbind()
        x_UH = torch.cat([x_H.expand(count, -1) for x_H, count in zip(of_layers, self._counts, strict=True)])
        return (x_UH * self.weight).sum(-1) + self.bias + OPEN


def noise(rng: random.Random, num_units: int) -> tuple[float, ...]:
    """The difference of two Gumbel variables for each unit: a logistic one."""
    uniform = (min(max(rng.random(), 1e-6), 1 - 1e-6) for _ in range(num_units))
    return tuple(math.log(u / (1 - u)) for u in uniform)


def gumbel_gates(context: Context, *, noise: Sequence[float] = ()) -> Tensor:
    """Gumbel-sigmoid gates (U,); without noise, the gates that are most likely."""
    logits_U = context.scorer.importance()
    if noise:
        logits_U = logits_U + tensor_like(noise, logits_U)
    return torch.sigmoid(logits_U / TEMPERATURE)


def rounded(gates_U: Tensor) -> Tensor:
    """Gates of 0 and 1 with the gradient of the soft ones (straight-through)."""
    return (gates_U > 0.5).to(gates_U.dtype) + gates_U - gates_U.detach()


def cost_penalty(
    context: Context, *, noises: Sequence[Sequence[float]] = ((),), budget: Budget, weight: float
) -> Mapping[str, Tensor]:
    """The penalty ``weight * |log(cost of the rounded gates / budget)|``, without what always runs; the mean
    over several draws of noise.
    """
    gates_XU = torch.stack([gumbel_gates(context, noise=noise) for noise in noises])
    shares_X = expected_share(rounded(gates_XU), budget.prices).clamp(min=LEAST)
    return {"cost": weight * (shares_X / max(LEAST, prunable_share(budget))).log().abs().mean()}


class LearnMasks(Phase):
    """Updates of the controller, with the network gated, in turn with updates of the weights, without."""

    name = "masks"

    def __init__(self, num_steps: int, config: Config, options: AutoTrainOnceOptions, budget: Budget) -> None:
        self.num_steps, self.period, self.held_out = num_steps, options.every, options.held_out
        self.travel = TRAVEL * options.every
        self._config, self._options, self._budget = config, options, budget

    def plan(self, moment: Moment) -> Plan:
        full = moment.table.full
        if not self._trains_controller(moment):
            return Plan((Pass(self._config.names[-1], full),), learning="weights")
        noises = [noise(moment.rng, len(full)) for _ in range(DRAWS)]
        weight, name = self._options.cost_weight, self._config.names[0]
        penalty = partial(cost_penalty, noises=noises, budget=self._budget, weight=weight)
        gates = [partial(gumbel_gates, noise=one) for one in noises]
        return Plan(tuple(Pass(name, full, share=1 / DRAWS, gate=gate) for gate in gates), penalty, "scorer")

    def _trains_controller(self, moment: Moment) -> bool:
        return moment.progress.step % self._options.every == 0

    def gates(self, moment: Moment, context: Context) -> Tensor:
        return gumbel_gates(context)

    def after_step(self, moment: Moment, context: Context, lr: float) -> None:
        late = moment.progress.step >= self._options.shrink_from * self.num_steps
        if late and not self._trains_controller(moment):
            shrink(context, self._options.shrink * lr)


def shrink(context: Context, amount: float) -> None:
    """The proximal step of a group lasso on the weights w of the units that are masked,
    w ← w · max(0, 1 - amount / (number of them · ‖w‖)).
    """
    masked_U = context.scorer.importance() <= 0
    weights = [context.weights[unit.name] for unit in context.table.units]
    norms_U = torch.stack(
        [torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(w)))) for w in weights]
    )
    share = amount / masked_U.sum().clamp(min=1)
    factors_U = torch.where(masked_U, (1 - share / norms_U.clamp(min=1e-12)).clamp(min=0), 1.0)
    for unit, tensors in enumerate(weights):
        torch._foreach_mul_(list(tensors), factors_U[unit])
