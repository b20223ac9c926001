"""A trained supernet together with the evidence, samples and prices that a selection needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selection.comparing.measured_latency import WholeTimer
from selection.measuring.evidence_store import EvidenceStore
from selection.measuring.measured_evidence import MeasuredEvidence
from selection.measuring.oracle import Oracle, Sample, thinned
from selection.strategy import Strategy
from supernet.budget import SLACK, Budget, Prices, Quantity, SharedPrice, Wish
from supernet.network.model_costs import MACS_SECONDS
from supernet.network.unit_prices import unit_latencies, unit_macs, unit_parameters
from supernet.recognition.streaming.chunk_option import chunking_of
from supernet.runs.model_file import Model, fingerprint
from supernet.runs.run import Run
from supernet.system.devices import machine
from supernet.system.processes import processes_for
from supernet.task import Batch, ProgressCallback, Task


@dataclass(frozen=True)
class SelectionRequest:
    """The strategies and budgets of one selection, and how evidence is measured for it."""

    strategies: Mapping[str, Strategy]
    wishes: Sequence[Wish]
    must_fit: bool = False
    """Whether a strategy that cannot choose for any budget is an error, as where it was asked for by name."""
    seconds: float = MACS_SECONDS
    """Length of the utterance for which MACs are counted and latency is measured."""
    num_valid: int = 300
    """Most validation utterances to choose on, evenly spread over the split."""
    frozen_steps: int = 120
    """Updates of score learning on frozen weights."""
    retime: bool = False
    """Whether latency is measured again although it is known for this machine."""
    chunk: str | None = None
    """The duration of the chunks in which utterances are read, such as ``320ms``. None: they are whole."""


class Session:
    """One trained supernet, and the means to choose from it and to judge the choices."""

    def __init__(
        self, run: Run, model: Model, task: Task, request: SelectionRequest, report: ProgressCallback
    ) -> None:
        self.run, self.model, self.task, self.request, self.report = run, model, task, request, report
        self.network = fingerprint(run.model_stem)
        self.view = self.network if request.chunk is None else f"{self.network}/{request.chunk}"
        """The network and how it reads, to which all losses belong."""
        if request.chunk is not None:
            model.recognizer.encoder.chunking = chunking_of(model.recognizer, request.chunk)
        self.store = EvidenceStore(run.evidence_file)
        self._processes = processes_for("auto", None, model.recognizer.device.type == "cpu")
        valid = thinned(task.eval_batches("valid", model.tokens), request.num_valid)
        self.valid = self._oracle(Sample(valid))
        self.test = self._oracle(Sample(task.eval_batches("test", model.tokens)))
        self.evidence = MeasuredEvidence(
            model.recognizer,
            self.valid,
            self.store,
            self._train_batches,
            request.frozen_steps,
            self.prices,
            report,
        )
        self.whole = WholeTimer(
            model.recognizer, request.seconds, self.store, self.network, self._times, request.retime
        )

    def _oracle(self, sample: Sample) -> Oracle:
        return Oracle(self.model, sample, self.store, self.view, self.report, self._processes)

    def label(self, strategy: str) -> str:
        """The name of a strategy's selection."""
        return strategy if self.request.chunk is None else f"{strategy}-{self.request.chunk}"

    def selection_file(self, strategy: str) -> Path:
        """The file of a strategy's selection."""
        return self.run.selection_file(self.label(strategy))

    def _train_batches(self) -> Iterator[Batch]:
        return iter(self.task.train_reader(self.model.tokens, seed=0, rank=0, num_ranks=1))

    @cache  # noqa: B019 (a session lives as long as the program)
    def prices(self, quantity: Quantity) -> Prices:
        """The prices of units. Latency is measured once per machine, so that choices are reproducible."""
        recognizer, seconds = self.model.recognizer, self.request.seconds
        if quantity == "units":
            return Prices.counting(len(recognizer.table))
        if quantity == "params":
            return unit_parameters(recognizer)
        if quantity == "macs":
            return unit_macs(recognizer, seconds)
        known = self._known_times()
        if known is None:
            prices = unit_latencies(recognizer, seconds, report=self.report)
            together = [one.price for one in prices.shared]
            times = np.array([prices.base, *prices.units, *together])
            self.store.add_fact(self.network, self._times, times, 0.0)
            return prices
        (base, *units), divided = (float(x) for x in known[0]), recognizer.table.divided
        units, together = units[: len(recognizer.table)], units[len(recognizer.table) :]
        shared = tuple(map(SharedPrice, divided, together))
        return Prices("latency", base, tuple(units), shared)

    def is_timed(self) -> bool:
        """Whether latency is known for this machine."""
        return self._known_times() is not None

    def meets_whole(self, budget: Budget) -> bool:
        """Whether the full network meets the budget, for latency also as measured in one piece."""
        if not budget.fits(budget.full) or not budget.is_measured:
            return budget.fits(budget.full)
        limit: float = budget.limit * SLACK
        return self.whole(budget.full) <= limit

    @property
    def _times(self) -> str:
        return f"latency/{machine(self.model.recognizer.device)}/{self.request.seconds:g}"

    def _known_times(self) -> tuple[NDArray[np.float64], float] | None:
        table = self.model.recognizer.table
        shape = (1 + len(table) + len(table.divided),)
        return None if self.request.retime else self.store.fact(self.network, self._times, shape)
