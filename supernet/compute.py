"""What a training costs, counted on the host in rows and units, which does not depend on the machine's mood.

The frontend and the heads, which every row runs once whatever its size, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from fairseq2.models.transformer import AttentionBiasCache
from fairseq2.nn import BatchLayout
from torch import Tensor

from supernet.lanes import Padding, Walk
from supernet.model import Recogniser
from supernet.phases import Schedule
from supernet.resolve import Resolved
from supernet.shares import RowAccount
from supernet.step import Draw, Plan, Reader, Step

ROWS = 60
"""Rows of the batch that is counted; divisible by many numbers of sizes, so that shares come out even."""
SAMPLES = 24
"""Steps of each phase that are counted: plans and stochastic depth are drawn anew in each."""

_NOWHERE = Reader((), (), 0.0)


def unit_steps(schedule: Schedule, scores_U: Tensor, seed: int) -> float:
    """How many units a row of the batch ran forward and backward, on average, summed over all steps.

    Training a net of 12 units alone for 1,000 steps makes 12,000.
    """
    starts = [start for _, start in schedule.boundaries()]
    ends = [*starts[1:], schedule.num_steps]
    return sum(
        _phase_cost(schedule, a, b, scores_U, seed) for a, b in zip(starts, ends, strict=True) if b > a
    )


def price(resolved: Resolved) -> float:
    """The same before a training is made: which units it will choose hardly matters."""
    method, config = resolved.method, resolved.config
    model = Recogniser(config, num_tokens=2, initial_score=method.initial_score)
    schedule = Schedule(method, model, config.seed)
    schedule.begin(schedule.num_steps - 1)
    return unit_steps(schedule, torch.zeros_like(model.scores), config.seed)


def _phase_cost(schedule: Schedule, start: int, end: int, scores_U: Tensor, seed: int) -> float:
    count = min(SAMPLES, end - start)
    steps = [start + (end - start) * i // count for i in range(count)]
    account, costs = RowAccount(), []
    for step in steps:
        plan = schedule.plan(step)
        costs.append(step_cost(plan, scores_U, Draw(seed, step), owed=account.owed))
        account.settle(plan.passes, ROWS)
    return (end - start) * sum(costs) / count


def step_cost(
    plan: Plan,
    scores_U: Tensor,
    draw: Draw | None = None,
    num_rows: int = ROWS,
    owed: Mapping[str, float] | None = None,
) -> float:
    """How many units a row of the batch runs in one step, on average."""
    num_run = 0

    def count(x_NSD: Tensor, layout: BatchLayout, cache: AttentionBiasCache) -> Tensor:
        nonlocal num_run
        num_run += len(x_NSD)
        return x_NSD

    x_BSD = torch.zeros(num_rows, 1, 1)
    jobs = Step(plan, draw or Draw(), owed or {}).jobs(num_rows, scores_U.detach().cpu(), _NOWHERE)
    walk = Walk(x_BSD, Padding([1] * num_rows, x_BSD), [job.lane for job in jobs])
    for unit in range(len(scores_U)):
        walk.run(unit, count, is_branch=True)
    return num_run / num_rows
