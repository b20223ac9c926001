"""The engine's data readers: training batches up to the last step, and one pass of validation batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fairseq2.datasets import DataReader
from fairseq2.gang import Gang, all_sum

from supernet.task import Batch, BatchReader
from supernet.training.held_out import Side, next_batch
from supernet.training.shares import RowAccount

SideOf = Callable[[int], Side | None]
"""The utterances that a 0-based step may see."""


class StepBudget(DataReader[Batch]):
    """The endless training reader, ended after ``num_steps`` updates; all later epochs are empty.

    ``side`` is asked before each step for the utterances that it may see.
    """

    def __init__(
        self, reader: BatchReader, num_steps: int, num_accumulate: int, side: SideOf = lambda step: None
    ) -> None:
        self._reader, self._num_steps, self._num_accumulate = reader, num_steps, num_accumulate
        self._side = side
        self._num_begun = 0
        self.rows = RowAccount()
        """Kept here because the engine saves one reader per rank, and each rank has different batches."""

    def begin(self, step_nr: int) -> None:
        """Record the 1-based update that begins; one that overflows and is repeated counts once."""
        self._num_begun = step_nr

    def __iter__(self) -> StepBudget:
        return self

    def __next__(self) -> list[Batch]:
        if self._num_begun >= self._num_steps:
            raise StopIteration
        side = self._side(self._num_begun)
        return [next_batch(self._reader, side) for _ in range(self._num_accumulate)]

    def reset(self) -> None:
        """Keep the position, as there is only one pass."""

    def state_dict(self) -> dict[str, object]:
        return {
            "num_begun": self._num_begun,
            "rows": self.rows.state_dict(),
            "reader": self._reader.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._num_begun = int(state_dict["num_begun"])  # type: ignore[call-overload]
        if "rows" in state_dict:  # older checkpoints have no account
            self.rows.load_state_dict(state_dict["rows"])  # type: ignore[arg-type]
        self._reader.load_state_dict(state_dict["reader"])  # type: ignore[arg-type]

    @property
    def num_accumulate(self) -> int:
        return self._num_accumulate


class Once(DataReader[Batch]):
    """Validation batches, from the first at every reset, in the same number of rounds on every rank.

    The engine communicates between ranks in every round. A rank without further batches takes part with none.
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
