"""The compute of a training, counted in rows and units instead of measured, so that it is reproducible.

It is counted in unit-steps: one average unit, run forward and backward for one row of the batch. Units are
weighted by their multiply-accumulates, so that a network of U units costs U at any granularity: each layer
costs 1, a convolution module less than half as much as a feed-forward module. The frontend and the
heads, which run once for every row regardless of its size, are not counted. A network that is imitated counts
as a full network that only runs forward, a third of an update. An update of the scorer alone, which has no
gradients of weights, counts two thirds; where utterances are held out, a step counts the rows to expect.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.config import Config
from supernet.method import Method
from supernet.network.lanes import rows_by_unit
from supernet.network.model_costs import macs
from supernet.network.passes import IntermediateCTC, jobs_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Draw, Plan
from supernet.scorer import Context, Scorer, Scores
from supernet.training.schedule import Schedule
from supernet.training.shares import RowAccount
from supernet.training.step import step_of
from supernet.units import Kept

ROWS = 60
"""Number of rows of the simulated batch, divisible by most numbers of sizes so that shares are exact."""
SAMPLES = 24
"""Number of sampled steps per phase; plans and stochastic depth differ from step to step."""
MASKS = 192
"""Number of sampled steps per phase before a training, each with different subnets."""

_NOWHERE = IntermediateCTC((), (), 0.0)


def unit_weights(recognizer: SupernetCTC) -> tuple[float, ...]:
    """The multiply-accumulates of each unit relative to the mean over units: 1 for each layer."""
    table = recognizer.table
    nothing = (False,) * len(table)
    # All layers are alike, so that the units of one are enough to determine the cost of all.
    first = [i for i, unit in enumerate(table.units) if unit.layer == table.units[0].layer]
    if len(first) == 1:
        return (1.0,) * len(table)
    base = macs(recognizer, kept=nothing)
    alone = {i: macs(recognizer, kept=(*nothing[:i], True, *nothing[i + 1 :])) - base for i in first}
    cost = {(table.units[i].module, table.units[i].part): count for i, count in alone.items()}
    counts = [cost[unit.module, unit.part] for unit in table.units]
    mean = sum(counts) / len(counts)
    return tuple(count / mean for count in counts)


def unit_steps(schedule: Schedule, weights_U: Sequence[float]) -> float:
    """The compute of a training: the mean weighted number of units per row, summed over all steps.

    Training only a network of 12 units for 1,000 steps costs 12,000.
    """
    return _compute([schedule], weights_U, SAMPLES)


def expected_unit_steps(method: Method[Any]) -> float:
    """The unit-steps to expect of a training when it is not known which units will be chosen: the mean over
    subnets that the method would choose by random scores.
    """
    weights_U = unit_weights(SupernetCTC(method.config, num_tokens=2).eval())
    schedules = [_chosen(method, scorer) for scorer in _random_scorers(method, MASKS)]
    return _compute(schedules, weights_U, MASKS)


def unit_steps_alone(method: Method[Any]) -> float:
    """The unit-steps of a training of one size, whose units do not depend on scores."""
    weights_U = unit_weights(SupernetCTC(method.config, num_tokens=2).eval())
    return unit_steps(_chosen(method, method.scorer()), weights_U)


def typical_scorer(method: Method[Any]) -> Scorer:
    """The random scorer for which the compute of the training's last step is the median."""
    weights_U = (1.0,) * len(method.table)

    def last_step(scorer: Scorer) -> float:
        schedule = _chosen(method, scorer)
        return step_compute(schedule.plan(schedule.num_steps - 1), weights_U)

    ordered = sorted(_random_scorers(method, SAMPLES), key=last_step)
    return ordered[len(ordered) // 2]


def _chosen(method: Method[Any], scorer: Scorer) -> Schedule:
    """The schedule of a training that has learned ``scorer`` and chosen its subnets."""
    num_units = len(method.table)
    masks = torch.zeros(len(method.config.names), num_units, dtype=torch.uint8)
    context = Context(scorer, method.table, {}, method.prices)
    memory = _Memory(masks, torch.tensor(-1), context)
    schedule = Schedule(method, memory, method.config.seed)
    schedule.begin(schedule.num_steps - 1)
    return schedule


def update_alone(config: Config, kept: Kept) -> float:
    """The unit-steps of one update of a subnet that is trained alone."""
    if config.units_per_layer == 1:
        return float(sum(kept))
    weights_U = unit_weights(SupernetCTC(config, num_tokens=2).eval())
    return sum(weight for weight, keep in zip(weights_U, kept, strict=True) if keep)


@torch.no_grad()
def _random_scorers(method: Method[Any], count: int) -> Iterator[Scorer]:
    """Random scorers: for one score per unit, a random order followed by its reverse, else random parameters.

    Subnets that diverge late in the one order diverge early in the other. Such antithetic pairs reduce the
    variance of the mean.
    """
    num_units, rng = len(method.table), random.Random(f"{method.config.seed}/price")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(method.config.seed)
        for _ in range(count // 2):
            order_U = torch.tensor(rng.sample(range(num_units), num_units), dtype=torch.float32)
            for scores_U in (order_U, order_U.flip(0)):
                scorer = method.scorer()
                if isinstance(scorer, Scores):
                    scorer.scores.copy_(scores_U)
                else:
                    for parameter in scorer.parameters():
                        parameter.normal_()
                yield scorer


@dataclass
class _Memory:
    """The parts of a model that a schedule uses."""

    masks: Tensor
    phase: Tensor
    context: Context


def _compute(schedules: Sequence[Schedule], weights_U: Sequence[float], most: int) -> float:
    starts = [start for _, start in schedules[0].boundaries()]
    ends = [*starts[1:], schedules[0].num_steps]
    phases = [(a, b) for a, b in zip(starts, ends, strict=True) if b > a]
    imitates = schedules[0].method.config.passes.teacher is not None
    teaching = schedules[0].num_steps * sum(weights_U) / 3 if imitates else 0.0
    return teaching + sum(_phase_compute(schedules, a, b, weights_U, most) for a, b in phases)


def _phase_compute(
    schedules: Sequence[Schedule], start: int, end: int, weights_U: Sequence[float], most: int
) -> float:
    count, period = max(min(most, end - start), len(schedules)), schedules[0].at(start)[1].period
    account, counts = RowAccount(), []
    for i in range(count):
        step = min(end - 1, start + (end - start) * i // count // period * period + i % period)
        plan = schedules[i % len(schedules)].plan(step)
        draw, groups = Draw(schedules[0].seed, step), schedules[0].method.table.groups
        side = schedules[i % len(schedules)].side(step)
        rows = 1.0 if side is None else side.rows
        counts.append(rows * effort(plan) * step_compute(plan, weights_U, draw, ROWS, account.owed, groups))
        account.settle(plan.passes, ROWS)
    return (end - start) * sum(counts) / count


def effort(plan: Plan) -> float:
    """The share of an update: without gradients of the weights, a third of its products is left out."""
    return 2 / 3 if plan.learning == "scorer" else 1.0


def step_compute(
    plan: Plan,
    weights_U: Sequence[float],
    draw: Draw | None = None,
    num_rows: int = ROWS,
    owed: Mapping[str, float] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> float:
    """The mean weighted number of units that a row of the batch runs in a step.

    ``groups`` are the indices of units that run in one call (None: each unit separately).
    """
    # Values of gates do not matter, but passes with different gates share no computation.
    jobs = jobs_of(step_of(plan, num_rows, draw, owed), _NOWHERE, lambda gate: torch.ones(len(weights_U)))
    counts = rows_by_unit([job.lane for job in jobs], groups or [[unit] for unit in range(len(weights_U))])
    return sum(counts[unit] * weight for unit, weight in enumerate(weights_U)) / num_rows
