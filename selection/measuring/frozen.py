"""Score learning by a training method on frozen weights (arXiv 2407.18930). Only the scores are trained, so
it takes minutes.

Shapes: U units, B utterances, S stream frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from supernet.method import Method
from supernet.methods.iterative_zero_out import IterativeZeroOut, IterativeZeroOutOptions
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.lanes import Gates, Lane, LaneWalk
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.plan import Pass
from supernet.scorer import Context, Scorer
from supernet.task import Batch, ProgressCallback
from supernet.training.learning_rate import travel_rate
from supernet.training.schedule import Schedule

TRAVELS = {"simple-top-k": 6.0, "iterative-zero-out": 60.0}
"""Distance that a score can travel in one phase (all of score learning, or one iteration of zero-out), by
method and independent of the number of updates.

Relaxed top-k gates are soft and start equal: 6 is far for a softmax. Sigmoid gates start open with almost no
gradient; at 60, a unit whose harm only shows once it is dropped is found in 60 updates as well as in 240.
"""


@contextmanager
def frozen(recognizer: SupernetCTC) -> Iterator[None]:
    """Run the network in evaluation mode without gradients of parameters; restore both afterwards."""
    modes = [(module, module.training) for module in recognizer.modules()]
    wanting = [p for p in recognizer.parameters() if p.requires_grad]
    try:
        recognizer.eval().requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in wanting:
            parameter.requires_grad_(True)


def learn_scores(
    recognizer: SupernetCTC,
    method: str,
    size: int,
    batches: Iterator[Batch],
    num_steps: int,
    report: ProgressCallback,
    *,
    lr: float | None = None,
    seed: int = 0,
) -> tuple[float, ...]:
    """Learn scores for one size by the score learning of a training method; the network stays unchanged.

    Args:
        recognizer: The trained supernet.
        method: ``simple-top-k`` or ``iterative-zero-out``.
        size: Number of units to keep, from 1 to U - 1.
        batches: Training data, of which ``num_steps`` batches are used.
        num_steps: Updates of the scores.
        report: Called after each update.
        lr: Learning rate. None: the rate at which scores can travel the distance in ``TRAVELS``.
        seed: Seed of the schedule.

    Returns:
        Scores (U,); the ``size`` highest are the choice.

    Raises:
        ValueError: ``method`` or ``size`` does not exist.
    """
    learning = _learning(recognizer, method, size, num_steps)
    memory = _Memory.of(recognizer, learning.scorer().to(recognizer.device, recognizer.dtype))
    schedule = Schedule(learning, memory, seed)
    optimizer = torch.optim.Adam(memory.context.scorer.parameters(), eps=1e-12)
    travels = [(phase.num_steps, TRAVELS[method]) for phase in learning.phases()]
    with frozen(recognizer):
        for step in range(num_steps):
            optimizer.param_groups[0]["lr"] = lr or travel_rate(travels, step)
            optimizer.zero_grad()
            loss = _loss(recognizer, next(batches), schedule, step, memory.context)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            report(f"learning scores, {method}", step + 1, num_steps)
    return tuple(memory.context.scorer.importance().tolist())


def _learning(recognizer: SupernetCTC, method: str, size: int, num_steps: int) -> Method[Any]:
    """The method, configured to spend all of its updates on score learning for one size."""
    config, num_units = recognizer.config, len(recognizer.table)
    if not 1 <= size < num_units:
        raise ValueError(f"`size` must be from 1 to {num_units - 1}, but is {size} instead.")
    train = config.train.model_copy(update={"num_steps": num_steps})
    config = config.model_copy(update={"sizes": (size, num_units), "budgets": None, "train": train})
    if method == "simple-top-k":
        return SimpleTopK(SimpleTopKOptions(score_learning=1.0), config)
    if method == "iterative-zero-out":
        return IterativeZeroOut(IterativeZeroOutOptions(score_learning=1.0), config)
    raise ValueError(f"`method` must be one of {', '.join(TRAVELS)}, but is '{method}' instead.")


@dataclass
class _Memory:
    """The parts of a model that a schedule uses; the model's own scorer stays as it is."""

    masks: Tensor
    phase: Tensor
    context: Context

    @classmethod
    def of(cls, recognizer: SupernetCTC, scorer: Scorer) -> _Memory:
        masks = torch.zeros(2, len(recognizer.table), dtype=torch.uint8)
        return cls(masks, torch.tensor(-1), replace(recognizer.context, scorer=scorer))


def _loss(recognizer: SupernetCTC, batch: Batch, schedule: Schedule, step: int, context: Context) -> Tensor:
    """CTC loss per stream frame of the gated pass on all rows, and the method's penalties.

    The plain pass is left out: its loss has no gradient with respect to the scores.
    """
    schedule.begin(step)
    plan = schedule.plan(step)
    gated = next(p for p in plan.passes if p.gate is not None)
    penalties = {} if plan.penalties is None else plan.penalties(context)
    return _gated_loss(recognizer, batch, gated, context) + sum(penalties.values())


def _gated_loss(recognizer: SupernetCTC, batch: Batch, gated: Pass, context: Context) -> Tensor:
    assert gated.gate is not None
    batch.to(recognizer.device)
    rows = range(len(batch))
    lane = Lane(rows, gated.kept, Gates(gated.gate, gated.gate(context)))
    walk = recognizer.walk(batch, [lane], LaneWalk)
    lengths = batch.stream_lengths
    losses_B = recognizer.losses(walk.readings[0][FINAL], int(gated.budget), lengths, batch, rows)
    return losses_B.sum() / sum(lengths)
