"""The units that the engine's trainer and validator call for each batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Protocol

import fairseq2.recipe.base  # noqa: F401  (first: the engine's own modules import each other in this order)
import torch
from fairseq2.evaluator import EvalUnit
from fairseq2.metrics import MetricBag
from fairseq2.trainer import TrainUnit
from torch import Tensor, nn
from torcheval.metrics import Mean

from supernet.engine.gradients import Gradients
from supernet.engine.readers import StepBudget
from supernet.errors import Divergence
from supernet.network.supernet_ctc import SupernetCTC
from supernet.scoring.error_rates import COLUMN, Measure, count_errors, count_words, measure_of
from supernet.task import Batch
from supernet.text.tokens import Tokens
from supernet.training.parallel import Output, Parallel, Scoring, Sums
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses

MAX_SKIPPED_IN_A_ROW = 10


class Observer(Protocol):
    """Receives the events of a training on rank 0."""

    def on_start(self, schedule: Schedule) -> None: ...

    def on_note(self, text: str) -> None:
        """Report something unexpected, such as a damaged checkpoint."""

    def on_step(self, step: int) -> None: ...

    def on_publish(
        self, step: int, scores: list[float], gates: list[float] | None, losses: Mapping[str, float]
    ) -> None:
        """Report scores, gates and losses; ``losses`` are means since the previous call."""

    def on_validated(self, step: int, measure: Measure, values: Mapping[str, object]) -> None:
        """Report ``values`` ``wer/BUDGET`` and ``cer/BUDGET``; ``measure`` is the main one of the two."""


class SupernetUnit(TrainUnit[Batch]):
    """Trains one step: the schedule plans its passes, and the (wrapped) model runs them."""

    def __init__(
        self,
        wrapped: nn.Module,
        model: SupernetCTC,
        schedule: Schedule,
        budget: StepBudget,
        rank: int,
        observer: Observer,
        restored: Callable[[], None] = lambda: None,
        gradients: Gradients | None = None,
        parallel: Parallel | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """``restored`` is called once the state of a resumed training is restored, before its first step;
        ``gradients`` divides the gradients by the frames of a step. None: the engine does. ``parallel`` are
        the other processes that compute the training; ``ended`` is called after the last step.
        """
        self._model, self._schedule, self._budget = model, schedule, budget
        self._rank, self._observer = rank, observer
        self._restored, self._gradients, self._ended = restored, gradients, ended
        self._step, self._losses = 0, StepLosses(wrapped, schedule, rank, budget.rows, parallel)
        self._fresh: set[str] = set()

    @property
    def step(self) -> int:
        """The 0-based step that began last."""
        return self._step

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for name in self._schedule.loss_names():
            metric_bag.add(name, Mean())

    def set_data_epoch_nr(self, data_epoch_nr: int) -> None:
        self._restored()
        if data_epoch_nr > 1:  # all steps are in the first
            self._ended()

    def set_step_nr(self, step_nr: int) -> None:
        self._step = step_nr - 1
        self._budget.begin(step_nr)
        self._losses.begin(self._step)
        if self._rank == 0:
            self._observer.on_step(step_nr)

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, int]:
        loss = self._losses.loss(batch, partial(self._count, metric_bag))
        self._count(metric_bag, loss.by_pass)
        for name, value in loss.penalties.items():
            self._update(metric_bag, f"penalty/{name}", value.detach(), 1)
        if self._gradients is None:
            return loss.total, loss.num_frames
        self._gradients.count(loss.num_frames)
        return loss.total, 0

    def _count(self, metric_bag: MetricBag, by_pass: Sums) -> None:
        for name, (total, num_frames) in by_pass.items():
            self._update(metric_bag, f"ctc/{name}", total / num_frames, num_frames)

    def after_step(self, lr: float) -> None:
        """End the step, in which the optimizer updated the network with the learning rate ``lr``."""
        self._losses.end(lr)

    def _update(self, metric_bag: MetricBag, name: str, value: Tensor, weight: float) -> None:
        metric_bag.get(name, Mean).update(value, weight=weight)
        self._fresh.add(name)

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        for name in self._schedule.loss_names() - self._fresh:
            values.pop(name, None)
        self._fresh.clear()
        losses = {name: float(v) for name, v in values.items() if isinstance(v, (float, Tensor))}
        skipped, in_a_row = int(self._model.skipped_updates), int(self._model.skipped_in_a_row)
        values["skipped_updates"] = skipped
        scores, gates = self._model.scorer.importance().tolist(), self._schedule.gates(self._step)
        gates_now = None if gates is None else gates.tolist()
        names = [unit.name for unit in self._model.table.units]
        values.update({f"score/{name}": score for name, score in zip(names, scores, strict=True)})
        values.update({f"gate/{name}": gate for name, gate in zip(names, gates_now or [], strict=False)})
        self._observer.on_publish(self._step + 1, scores, gates_now, losses)
        if in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise Divergence(
                f"The gradient must be finite, but was not in the last {in_a_row} updates, from step "
                f"{self._step + 2 - in_a_row} on. These updates were skipped, and the newest checkpoint "
                f"has the weights before them. Lower `train.lr` or `train.max_grad_norm`, or use float32."
            )


class Validation(EvalUnit[Batch]):
    """Computes the loss and greedy error rates of every subnet on the validation split in one walk."""

    def __init__(
        self,
        model: SupernetCTC,
        schedule: Schedule,
        tokens: Tokens,
        observer: Observer,
        parallel: Parallel | None = None,
    ) -> None:
        self._schedule, self._tokens, self._observer = schedule, tokens, observer
        self._scoring = Scoring(model, parallel)
        self._step, self._texts = 0, list[list[str]]()

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        self._texts.clear()
        self._subnets = self._schedule.subnets()
        for name in self._subnets:
            metric_bag.add(f"ctc/{name}", Mean())
            for measure in COLUMN:
                metric_bag.add(f"{measure}/{name}", Mean())

    def set_train_step_nr(self, step_nr: int) -> None:
        self._step = step_nr

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> None:
        self._texts.append(batch.texts)
        self._scoring.ask(batch, self._subnets.values())

    def finalize(self, metric_bag: MetricBag) -> None:
        for texts, found in zip(self._texts, self._scoring.outputs(), strict=True):
            for output in found:
                self._count(metric_bag, texts, output)

    def _count(self, metric_bag: MetricBag, texts: list[str], output: Output) -> None:
        hypotheses = [self._tokens.decode(ids) for ids in output.token_ids]
        errors, counts = count_errors(texts, hypotheses).sum(0), count_words(texts).sum(0)
        mean, weight = output.loss / output.num_frames, output.num_frames
        for name in (name for name, kept in self._subnets.items() if kept == output.kept):
            metric_bag.get(f"ctc/{name}", Mean).update(mean, weight=weight)
            for measure, i in COLUMN.items():
                rate = torch.tensor(errors[i] / counts[i])
                metric_bag.get(f"{measure}/{name}", Mean).update(rate, weight=int(counts[i]))

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        measure = measure_of([text for texts in self._texts for text in texts])
        self._observer.on_validated(self._step, measure, values)
