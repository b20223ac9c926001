"""Evidence measured on a trained supernet, with the cost of each answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from selection.evidence import Evidence, Floats, Measure
from selection.measuring.evidence_store import EvidenceStore
from selection.measuring.frozen import learn_scores, limit_of
from selection.measuring.gradients import gate_gradients, weight_saliency
from selection.measuring.oracle import Oracle
from selection.measuring.similarity import stream_similarities
from supernet.budget import Budget, Prices, Quantity
from supernet.network.supernet_ctc import SupernetCTC
from supernet.task import Batch, ProgressCallback
from supernet.units import Kept


@dataclass
class Account:
    """The cost of the evidence that a strategy asked for. A cached answer costs what measuring it took."""

    losses: dict[Kept, float] = field(default_factory=dict)
    """Loss of every subnet asked for."""
    seconds_by_name: dict[str, float] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """Number of subnets scored."""
        return len(self.losses)

    @property
    def seconds(self) -> float:
        """Computing time."""
        return sum(self.seconds_by_name.values())


class MeasuredEvidence(Evidence):
    """Evidence about a run's supernet on a sample of its validation split; answers are kept in the store."""

    def __init__(
        self,
        recognizer: SupernetCTC,
        oracle: Oracle,
        store: EvidenceStore,
        train_batches: Callable[[], Iterator[Batch]],
        frozen_steps: int,
        prices: Callable[[Quantity], Prices],
        report: ProgressCallback,
    ) -> None:
        """``train_batches`` starts an endless stream of training data for score learning."""
        self.table = recognizer.table
        self._recognizer, self._oracle, self._store, self._report = recognizer, oracle, store, report
        self._train_batches, self._frozen_steps, self._prices = train_batches, frozen_steps, prices
        self.account = Account()

    def open_account(self) -> Account:
        """Start a new account for all further evidence."""
        self.account = Account()
        return self.account

    @property
    def scores(self) -> tuple[float, ...] | None:
        scores = self._recognizer.scorer.importance().tolist()
        return tuple(scores) if len(set(scores)) > 1 else None

    def losses(self, subnets: Sequence[Kept]) -> list[float]:
        judged = self._oracle.judge(subnets)
        losses = [self._oracle.loss(j) for j in judged]
        for kept, j, loss in zip(subnets, judged, losses, strict=True):
            self.account.losses[kept] = loss
            self.account.seconds_by_name[self._oracle.name(kept)] = j.seconds
        return losses

    def similarity(self, measure: Measure) -> Floats:
        return self._fact(
            f"similarity/{measure}",
            (len(self.table) + 1, len(self.table) + 1),
            lambda: stream_similarities(self._recognizer, self._oracle.sample.batches, measure, self._report),
        )

    def gate_gradients(self) -> Floats:
        return self._fact(
            "gate-gradients",
            (None, len(self.table)),
            lambda: gate_gradients(self._recognizer, self._oracle.sample.batches, self._report),
        )

    def weight_saliency(self) -> Floats:
        return self._fact(
            "weight-saliency",
            (len(self.table),),
            lambda: weight_saliency(self._recognizer, self._oracle.sample.batches, self._report),
        )

    def scores_on_frozen_weights(self, method: str, budget: Budget) -> tuple[float, ...]:
        steps = self._frozen_steps

        def learn() -> Floats:
            batches = self._train_batches()
            return np.array(learn_scores(self._recognizer, method, budget, batches, steps, self._report))

        if limit_of(method, budget) == str(len(self.table)):  # all units are kept: nothing to learn
            return (0.0,) * len(self.table)
        name = f"frozen-by-travel/{method}/{limit_of(method, budget)}/{steps}"
        return tuple(float(x) for x in self._fact(name, (len(self.table),), learn))

    def prices(self, quantity: Quantity) -> Prices:
        return self._prices(quantity)

    def _fact(self, name: str, shape: tuple[int | None, ...], measure: Callable[[], Floats]) -> Floats:
        known = self._store.fact(self._oracle.context, name, shape)
        if known is None:
            start = time.perf_counter()
            value = measure()
            known = value, time.perf_counter() - start
            self._store.add_fact(self._oracle.context, name, *known)
        self.account.seconds_by_name[name] = known[1]
        return known[0]
