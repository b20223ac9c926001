"""Training in several processes on one machine, each of which computes its part of every batch.

The batches, the plans and all random choices but dropout's are those of a training in one process, and so is
the result up to rounding, whatever the number of processes. The first process does all that is done once: it
reads the data, updates the parameters, saves and reports. Parameters and gradients are in shared memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from supernet.config import Config
from supernet.method import Method
from supernet.network.outputs import StepLoss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Draw, Step
from supernet.system.devices import chosen_device
from supernet.system.processes import ONE, Processes, processes_for
from supernet.system.workers import Spread, Workers, shared_like
from supernet.task import Batch
from supernet.training.division import divide_rows, part_of, row_costs
from supernet.training.schedule import Schedule
from supernet.units import Kept

Sums = Mapping[str, tuple[Tensor, int]]
"""By pass, a sum of losses and of frames, as in ``StepLoss.by_pass``."""


@dataclass(frozen=True)
class _Part:
    """The part of a step that a process computes."""

    number: int
    batch: Batch
    rows: tuple[range, ...]
    """The rows of each pass in the whole batch."""
    part: tuple[int, ...]
    draw: Draw


@dataclass(frozen=True)
class _Batch:
    """A batch to be scored by several subnets."""

    batch: Batch
    subnets: tuple[Kept, ...]


@dataclass(frozen=True)
class Output:
    """The outputs of one subnet for a batch, without tensors of the size of its emissions."""

    kept: Kept
    loss: Tensor
    """Summed over utterances."""
    num_frames: int
    token_ids: list[list[int]]


def processes_of(config: Config) -> Processes:
    """The processes among which a training is divided. Raises ``UserError`` if it cannot be divided."""
    is_on_cpu = chosen_device(config.device).type == "cpu"
    return processes_for(config.train.processes, config.train.num_threads, is_on_cpu)


class Parallel:
    """The other processes of a training.

    While it is open, the parameters and buffers of ``net`` are in shared memory: change them in place only.

    Args:
        net: The network, on the CPU.
        method: The method that trains it.
        seed: The seed of the schedule.
        processes: The processes, this one included.
    """

    def __init__(self, net: SupernetCTC, method: Method[Any], seed: int, processes: Processes) -> None:
        self._net, self._method, self._seed = net, method, seed
        self._parameters = list(net.parameters())
        self._state = [*self._parameters, *net.buffers()]
        self._move(shared_like(self._state))
        self._grads = [shared_like(self._parameters) for _ in range(processes.count - 1)]
        self.workers = Workers(processes, self._answer)

    def _move(self, places: Iterable[Tensor]) -> None:
        for tensor, place in zip(self._state, places, strict=True):
            tensor.data = place.copy_(tensor.data)

    def close(self) -> None:
        """End the other processes."""
        self.workers.close()
        self._move([torch.empty_like(tensor) for tensor in self._state])

    def loss(self, batch: Batch, step: Step, heard: Callable[[Sums], None]) -> StepLoss:
        """The loss of a step on the whole of ``batch``.

        Its ``by_pass`` is that of this process's part.

        Args:
            batch: The whole batch.
            step: The step, resolved for it.
            heard: Called with ``by_pass`` of each other part while gradients are computed.
        """
        costs = row_costs(step, batch.num_frames)
        mine, *others = (part for part in divide_rows(costs, len(self.workers) + 1) if part)
        for worker, rows in enumerate(others):
            part = _Part(worker, part_of(batch, rows), step.rows, rows, step.draw)
            self.workers.ask(worker, part)
        # Before its parameters are told which of them get gradients.
        self._net.encoder.freeze(self._net.config.model.frozen_layers(step.draw.step))
        # First, so that its gradient, which is waited for, is computed last.
        rest = _Rest.apply(lambda: self._hear(len(others), heard), *self._parameters)  # type: ignore[no-untyped-call]
        loss: StepLoss = self._net(part_of(batch, mine), replace(step, part=mine))
        return replace(loss, total=loss.total + rest, num_frames=sum(batch.stream_lengths))

    def _hear(self, count: int, heard: Callable[[Sums], None]) -> list[Tensor | None]:
        """The sum of the gradients of the first ``count`` other parts."""
        total: list[Tensor | None] = [None] * len(self._parameters)
        for worker in range(count):
            learned, by_pass = self.workers.hear(worker)
            heard(by_pass)
            for i in learned:
                grad, known = self._grads[worker][i], total[i]
                total[i] = grad.clone() if known is None else known.add_(grad)
        return total

    def _answer(self, question: _Part | _Batch) -> Any:
        if isinstance(question, _Part):
            self._net.train()
            return self._learn(question)
        self._net.eval()
        with torch.inference_mode():
            return _outputs(self._net, question)

    def _learn(self, question: _Part) -> tuple[list[int], Sums]:
        """Compute the gradients of a part into shared memory; return which parameters have some."""
        draw = question.draw
        dropout = f"{draw.seed}/{draw.step}/{draw.micro_batch}/{question.number}"
        torch.manual_seed(random.Random(dropout).getrandbits(63))
        plan = Schedule(self._method, self._net, self._seed).plan(draw.step)
        step = Step(plan, question.rows, draw, question.part)
        loss = self._net(question.batch, step)
        loss.total.backward()
        grads = {i: one.grad for i, one in enumerate(self._parameters) if one.grad is not None}
        shared = self._grads[question.number]
        torch._foreach_copy_([shared[i] for i in grads], list(grads.values()))
        for i in grads:
            self._parameters[i].grad = None
        return list(grads), loss.by_pass


class Scoring:
    """The outputs of subnets for many batches, each computed by one of the processes.

    Args:
        net: The network, in evaluation mode.
        parallel: The other processes of its training. None: there are none.
    """

    def __init__(self, net: SupernetCTC, parallel: Parallel | None) -> None:
        workers = Workers(ONE, lambda question: None) if parallel is None else parallel.workers
        self._spread = Spread(workers, lambda batch: _outputs(net, batch))

    def ask(self, batch: Batch, subnets: Iterable[Kept]) -> None:
        """Have ``batch`` scored."""
        self._spread.ask(_Batch(batch, tuple(subnets)))

    def outputs(self) -> Iterator[list[Output]]:
        """For each batch in order, the outputs of each of its subnets, in any order."""
        return self._spread.answers()


def _outputs(net: SupernetCTC, question: _Batch) -> list[Output]:
    return [
        Output(scored.kept, scored.losses_B.sum(), sum(scored.lengths), scored.decode())
        for scored in net.score_all(question.batch, question.subnets)
    ]


class _Rest(torch.autograd.Function):
    """The loss of the parts that other processes compute: 0 here, with their gradients."""

    @staticmethod
    def forward(ctx: Any, hear: Callable[[], list[Tensor | None]], *parameters: Tensor) -> Tensor:
        ctx.hear = hear
        return parameters[0].new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found, factor = ctx.hear(), float(grad)
        return None, *((one if factor == 1 or one is None else one.mul_(factor)) for one in found)
