"""One training step: the division of a batch among the passes of a plan, and the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from supernet.method import Method
from supernet.network.outputs import StepLoss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Draw, Plan, Step
from supernet.task import Batch
from supernet.training.parallel import Parallel, Sums
from supernet.training.schedule import Schedule
from supernet.training.shares import RowAccount, assign_rows


def step_of(
    plan: Plan, batch_size: int, draw: Draw | None = None, owed: Mapping[str, float] | None = None
) -> Step:
    """Resolve ``plan`` for a batch; ``owed`` are the rows owed to its passes from earlier batches, from a
    ``RowAccount``.
    """
    return Step(plan, tuple(assign_rows(plan.passes, batch_size, owed)), draw or Draw())


def supernet_of(method: Method[Any], num_tokens: int) -> SupernetCTC:
    """A new network, to be trained by ``method``."""
    return SupernetCTC(method.config, num_tokens, scorer=method.scorer, prices=method.prices)


class StepLosses:
    """The losses of a training, step by step, independent of the engine."""

    def __init__(
        self,
        net: nn.Module,
        schedule: Schedule,
        rank: int = 0,
        rows: RowAccount | None = None,
        parallel: Parallel | None = None,
    ) -> None:
        """
        Args:
            net: The network, or a data-parallel wrapper around it.
            schedule: The schedule of the training, whose state is in the network.
            rank: The rank of this process, which seeds its random numbers.
            rows: The account of the rows owed to passes. None: a new one.
            parallel: The other processes that compute the training. None: there are none.
        """
        self._net, self._schedule, self._rank, self._parallel = net, schedule, rank, parallel
        self._rows = rows or RowAccount()
        self._step, self._micro_batch = 0, 0

    def begin(self, step: int) -> None:
        """Begin the 0-based ``step``. Idempotent."""
        self._step, self._micro_batch = step, 0
        self._schedule.begin(step)
        self._rows.begin(step, self._schedule.at(step)[0])

    def loss(self, batch: Batch, heard: Callable[[Sums], None] = lambda sums: None) -> StepLoss:
        """The loss of the step's next micro-batch; its gradients are those of the sum over frames.

        ``heard`` is called with the parts of ``by_pass`` of other processes, see ``Parallel.loss``.
        """
        draw = Draw(self._schedule.seed, self._step, self._rank, self._micro_batch)
        self._micro_batch += 1
        plan = self._schedule.plan(self._step)
        step = step_of(plan, len(batch), draw, self._rows.owed)
        self._rows.settle(plan.passes, len(batch))
        if self._parallel is not None:
            return self._parallel.loss(batch, step, heard)
        loss: StepLoss = self._net(batch, step)
        return loss

    def end(self, lr: float) -> None:
        """End the step, in which the optimizer updated the network with the learning rate ``lr``."""
        self._schedule.end(self._step, lr)
