"""Score learning by a training method on frozen weights. Only the scorer is trained, so it takes minutes.

Shapes: U units, B utterances, S stream frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from supernet.budget import Budget
from supernet.method import Method
from supernet.methods.auto_train_once import AutoTrainOnce
from supernet.methods.dais import DAIS
from supernet.methods.iterative_zero_out import IterativeZeroOut
from supernet.methods.ortho_softmax import OrthoSoftmax
from supernet.methods.simple_top_k import SimpleTopK
from supernet.network.lanes import Gates, Lane, LaneWalk
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.plan import Pass
from supernet.scorer import Context, Scorer
from supernet.task import Batch, ProgressCallback
from supernet.training.learning_rate import travel_rate
from supernet.training.schedule import Schedule
from supernet.training.shares import assign_rows


@dataclass(frozen=True)
class Learning:
    """Score learning by a method."""

    method: type[Method[Any]]
    travel: float
    """The distance that a parameter of the scorer can travel in one phase, independent of the number of
    updates.
    """
    options: Mapping[str, object] = field(default_factory=dict)


ALL_UPDATES: Mapping[str, object] = {"every": 1, "held_out": 0.0}
"""There are no updates of weights in between, and no utterances from which weights would learn."""
LEARNING = {
    "simple-top-k": Learning(SimpleTopK, 6.0),
    "iterative-zero-out": Learning(IterativeZeroOut, 60.0),
    "ortho-softmax": Learning(OrthoSoftmax, 6.0),
    "auto-train-once": Learning(AutoTrainOnce, 0.5, {**ALL_UPDATES, "shrink": 0.0}),
    "dais": Learning(DAIS, 6.0, ALL_UPDATES),
}
"""By method.

Relaxed top-k gates are soft and start equal: 6 is far for a softmax. The sigmoid gates of
Iterative-Zero-Out start open with almost no gradient; at 60, a unit whose harm only shows once it is dropped
is found in 60 updates as well as in 240.
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


def limit_of(method: str, budget: Budget) -> str:
    """The limit for which a method learns: a number of units, or a cost if it accounts for costs."""
    if budget.counts_units or not LEARNING[method].method.learns_costs:
        return str(budget.typical_size)
    return f"{budget.prices.quantity}={budget.limit:.9g}"


def learn_scores(
    recognizer: SupernetCTC,
    method: str,
    budget: Budget,
    batches: Iterator[Batch],
    num_steps: int,
    report: ProgressCallback,
    *,
    lr: float | None = None,
    seed: int = 0,
) -> tuple[float, ...]:
    """Learn scores for one budget by the score learning of a training method; the network stays unchanged.

    Args:
        recognizer: The trained supernet.
        method: A name in ``LEARNING``.
        budget: The limit, below the cost of all units.
        batches: Training data, of which ``num_steps`` batches are used.
        num_steps: Updates of the scores.
        report: Called after each update.
        lr: Learning rate. None: the rate at which scores can travel the distance in ``LEARNING``.
        seed: Seed of the scorer and the schedule.

    Returns:
        Scores (U,); the highest that fit the budget are the choice.

    Raises:
        ValueError: ``method`` does not exist, or all units fit ``budget``.
    """
    learning = _learning(recognizer, method, budget, num_steps)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = learning.scorer().to(recognizer.device, recognizer.dtype)
    memory = _Memory.of(recognizer, scorer)
    schedule = Schedule(learning, memory, seed)
    optimizer = torch.optim.Adam(scorer.parameters(), eps=1e-12)
    travels = [(phase.num_steps, LEARNING[method].travel) for phase in learning.phases()]
    with frozen(recognizer):
        for step in range(num_steps):
            optimizer.param_groups[0]["lr"] = lr or travel_rate(travels, step)
            optimizer.zero_grad()
            loss = _loss(recognizer, next(batches), schedule, step, memory.context, budget.typical_size)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            report(f"learning scores, {method}", step + 1, num_steps)
    return tuple(scorer.importance().tolist())


def _learning(recognizer: SupernetCTC, method: str, budget: Budget, num_steps: int) -> Method[Any]:
    """The method, configured to spend all of its updates on score learning for one budget."""
    if method not in LEARNING:
        raise ValueError(f"`method` must be one of {', '.join(LEARNING)}, but is '{method}' instead.")
    config, num_units, size = recognizer.config, len(recognizer.table), budget.typical_size
    if size == num_units:
        raise ValueError(f"`budget` must be below {num_units} units, but is {budget.name} instead.")
    train = config.train.model_copy(update={"num_steps": num_steps})
    config = config.model_copy(update={"sizes": (size, num_units), "budgets": None, "train": train})
    how = LEARNING[method]
    learning = how.method(how.method.Options.model_validate({"score_learning": 1.0, **how.options}), config)
    if learning.learns_costs:
        learning.budgets = (budget,)
    return learning


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


def _loss(
    recognizer: SupernetCTC, batch: Batch, schedule: Schedule, step: int, context: Context, size: int
) -> Tensor:
    """CTC loss per stream frame of the gated passes on all rows, read by the head for ``size``, and the
    method's penalties.

    The plain pass is left out: its loss has no gradient with respect to the scores.
    """
    schedule.begin(step)
    plan = schedule.plan(step)
    gated = [one for one in plan.passes if one.gate is not None]
    penalties = {} if plan.penalties is None else plan.penalties(context)
    return _gated_loss(recognizer, batch, gated, context, size) + sum(penalties.values())


def _gated_loss(
    recognizer: SupernetCTC, batch: Batch, gated: Sequence[Pass], context: Context, size: int
) -> Tensor:
    batch.to(recognizer.device)
    lengths, parts = batch.stream_lengths, assign_rows(gated, len(batch))
    lanes = [
        Lane(rows, one.kept, Gates(one.gate, one.gate(context)))
        for one, rows in zip(gated, parts, strict=True)
        if one.gate is not None and rows
    ]
    readings = recognizer.walk(batch, lanes, LaneWalk).readings
    x_BSD = torch.cat([reading[FINAL] for reading in readings])
    rows = [row for lane in lanes for row in lane.rows]
    return recognizer.losses(x_BSD, size, lengths, batch, rows).sum() / sum(lengths[row] for row in rows)
