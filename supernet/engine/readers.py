"""What the engine reads: training batches until the budget is used up, and validation batches once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fairseq2.datasets import DataReader
from fairseq2.gang import Gang, all_sum

from supernet.task import Batch, BatchReader
from supernet.training.shares import RowAccount


class StepBudget(DataReader[Batch]):
    """The endless training reader, cut off after ``num_steps`` updates; then every further epoch is empty."""

    def __init__(self, reader: BatchReader, num_steps: int, num_accumulate: int) -> None:
        self._reader, self._num_steps, self._num_accumulate = reader, num_steps, num_accumulate
        self._num_begun = 0
        self.rows = RowAccount()
        """Here, because the engine saves a reader for each rank, and each rank has batches of its own."""

    def begin(self, step_nr: int) -> None:
        """Note the 1-based update that begins: one that overflows and is repeated counts once."""
        self._num_begun = step_nr

    def __iter__(self) -> StepBudget:
        return self

    def __next__(self) -> list[Batch]:
        if self._num_begun >= self._num_steps:
            raise StopIteration
        return [next(self._reader) for _ in range(self._num_accumulate)]

    def reset(self) -> None:
        """The position stays: there is one pass through the budget."""

    def state_dict(self) -> dict[str, object]:
        return {
            "num_begun": self._num_begun,
            "rows": self.rows.state_dict(),
            "reader": self._reader.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._num_begun = int(state_dict["num_begun"])  # type: ignore[call-overload]
        if "rows" in state_dict:  # checkpoints from before the account was kept have none
            self.rows.load_state_dict(state_dict["rows"])  # type: ignore[arg-type]
        self._reader.load_state_dict(state_dict["reader"])  # type: ignore[arg-type]

    @property
    def num_accumulate(self) -> int:
        return self._num_accumulate


class Once(DataReader[Batch]):
    """Validation batches from the start at every reset, in as many rounds on every rank.

    The engine talks between ranks in every round; a rank that has run out of batches takes part with none.
    """

    def __init__(self, start: Callable[[], Iterator[Batch]], ranks: Gang) -> None:
        self._start, self._batches, self._ranks = start, start(), ranks

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> list[Batch]:
        batch = next(self._batches, None)
        if int(all_sum(self._ranks, int(batch is not None))) == 0:
            raise StopIteration
        return [] if batch is None else [batch]

    def reset(self) -> None:
        self._batches = self._start()

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Nothing to restore."""

    @property
    def num_accumulate(self) -> int:
        return 1
