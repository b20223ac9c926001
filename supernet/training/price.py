"""What a training costs, counted on the host in rows and units, which does not depend on the machine's mood.

The unit of cost is the unit-step: an average unit, run forward and backward by a row of the batch. Units
count in proportion to their multiply-accumulates, so that a full net of U units costs U at any granularity:
layers cost 1 each, a convolution module less than half of a feed-forward. The frontend and the heads, which
every row runs once whatever its size, are left out.
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
from supernet.network.costs import macs
from supernet.network.lanes import rows_by_unit
from supernet.network.passes import IntermediateCTC, jobs_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Draw, Plan
from supernet.scorer import Context, Scorer, Scores
from supernet.training.schedule import Schedule
from supernet.training.shares import RowAccount
from supernet.training.step import step_of

ROWS = 60
"""Rows of the batch that is counted; divisible by many numbers of sizes, so that shares come out even."""
SAMPLES = 24
"""Steps of each phase that are counted: plans and stochastic depth are drawn anew in each."""
MASKS = 192
"""Steps of each phase that are priced beforehand, each with subnets of its own."""

_NOWHERE = IntermediateCTC((), (), 0.0)


def unit_weights(recognizer: SupernetCTC) -> tuple[float, ...]:
    """By unit, its multiply-accumulates relative to the mean unit's: 1 for each layer."""
    table = recognizer.table
    nothing = (False,) * len(table)
    # All layers are alike: the units of one tell what those of the others cost.
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
    """How many units a row of the batch ran forward and backward, on average, summed over all steps, each
    counted by its weight.

    Training a net of 12 units alone for 1,000 steps makes 12,000.
    """
    return _cost([schedule], weights_U, SAMPLES)


def price(method: Method[Any]) -> float:
    """The same before a training is made, when it is not known which units it will choose: the mean over
    subnets that the method would choose by random scores.
    """
    weights_U = unit_weights(SupernetCTC(method.config, num_tokens=2).eval())
    schedules = [_chosen(method, scorer) for scorer in _random_scorers(method, MASKS)]
    return _cost(schedules, weights_U, MASKS)


def typical_scorer(method: Method[Any]) -> Scorer:
    """A random scorer by which the method would choose subnets whose last step costs the median."""
    weights_U = (1.0,) * len(method.table)

    def last_step(scorer: Scorer) -> float:
        schedule = _chosen(method, scorer)
        return step_cost(schedule.plan(schedule.num_steps - 1), weights_U)

    ordered = sorted(_random_scorers(method, SAMPLES), key=last_step)
    return ordered[len(ordered) // 2]


def _chosen(method: Method[Any], scorer: Scorer) -> Schedule:
    """The schedule of a training that has learned ``scorer`` and chosen by it."""
    num_units = len(method.table)
    masks = torch.zeros(len(method.config.names), num_units, dtype=torch.uint8)
    context = Context(scorer, method.table, {}, method.prices)
    memory = _Memory(masks, torch.tensor(-1), context)
    schedule = Schedule(method, memory, method.config.seed)
    schedule.begin(schedule.num_steps - 1)
    return schedule


def alone(config: Config, size: int) -> float:
    """The same for an update of a net of the first ``size`` units, trained alone."""
    if config.granularity == "layer":
        return float(size)
    return sum(unit_weights(SupernetCTC(config, num_tokens=2).eval())[:size])


@torch.no_grad()
def _random_scorers(method: Method[Any], count: int) -> Iterator[Scorer]:
    """Random orders, each followed by its mirror image: where subnets part late in the one, they part early
    in the other, so that few tell the mean. Scorers that learn more than a score per unit have random
    parameters instead.
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


def _cost(schedules: Sequence[Schedule], weights_U: Sequence[float], most: int) -> float:
    starts = [start for _, start in schedules[0].boundaries()]
    ends = [*starts[1:], schedules[0].num_steps]
    phases = [(a, b) for a, b in zip(starts, ends, strict=True) if b > a]
    return sum(_phase_cost(schedules, a, b, weights_U, most) for a, b in phases)


def _phase_cost(
    schedules: Sequence[Schedule], start: int, end: int, weights_U: Sequence[float], most: int
) -> float:
    count = max(min(most, end - start), len(schedules))
    account, costs = RowAccount(), []
    for i in range(count):
        step = start + (end - start) * i // count
        plan = schedules[i % len(schedules)].plan(step)
        draw, groups = Draw(schedules[0].seed, step), schedules[0].method.table.groups
        costs.append(step_cost(plan, weights_U, draw, ROWS, account.owed, groups))
        account.settle(plan.passes, ROWS)
    return (end - start) * sum(costs) / count


def step_cost(
    plan: Plan,
    weights_U: Sequence[float],
    draw: Draw | None = None,
    num_rows: int = ROWS,
    owed: Mapping[str, float] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
) -> float:
    """How many units a row of the batch runs in a step, on average, each counted by its weight.

    ``groups`` are the places of the units that run in one call (None: each by itself).
    """
    # Gates cost the same whatever they are; passes with different ones run apart.
    jobs = jobs_of(step_of(plan, num_rows, draw, owed), _NOWHERE, lambda gate: torch.ones(len(weights_U)))
    counts = rows_by_unit([job.lane for job in jobs], groups or [[unit] for unit in range(len(weights_U))])
    return sum(counts[unit] * weight for unit, weight in enumerate(weights_U)) / num_rows
