"""The interface of a task: a corpus that yields batches, and the batches themselves.

Tasks implement it; ``supernet`` imports no task.

Shapes: B utterances, T frames (of 10 ms, or samples), F mel bands (or 1), L tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from fairseq2.device import SupportsDeviceTransfer
from pydantic import BaseModel
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input
from supernet.audio.lengths import Lengths
from supernet.errors import UserError
from supernet.system.devices import sent
from supernet.text.tokens import Tokens

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``report(what, done, total)`` while slow work runs; ``total`` is 0 if it is unknown."""


@dataclass
class Batch(SupportsDeviceTransfer):
    """Utterances padded to the same length.

    Lengths stay on the host, so that reading them never synchronizes with the device.
    """

    features_BTF: Tensor
    """The input of the recognizer, float32, zero where padded."""
    num_frames: list[int]
    targets_BL: Tensor
    """Token ids, int64, zero where padded."""
    num_targets: list[int]
    ids: list[str]
    texts: list[str]
    input: Input = LOG_MEL
    hidden_BTF: Tensor | None = None
    """Mask of SpecAugment (arXiv 1904.08779): normalized features are set to 0, their mean, where True."""

    @property
    def stream_lengths(self) -> list[int]:
        """Frames of each utterance after the frontend."""
        return [self.input.num_stream_frames(n) for n in self.num_frames]

    @property
    def seconds(self) -> list[float]:
        """Duration of each utterance."""
        return [n / self.input.rate for n in self.num_frames]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any, *, non_blocking: bool = False) -> None:
        """Move the tensors to ``device`` in place, as the training engine requires; never waits for a GPU."""
        self.features_BTF = sent(self.features_BTF, torch.device(device))
        self.targets_BL = sent(self.targets_BL, torch.device(device))
        if self.hidden_BTF is not None:
            self.hidden_BTF = sent(self.hidden_BTF, torch.device(device))


@dataclass(frozen=True, slots=True)
class Skipped:
    """An utterance that was skipped, and the reason."""

    id: str
    split: str
    reason: str


class TaskError(UserError):
    """A corpus that cannot be used; the message says what is wrong and what to do."""


class NotPrepared(TaskError):
    """A corpus that has not been prepared yet, and may be usable."""


class BatchReader(Protocol):
    """An endless, resumable stream of training batches.

    ``state_dict`` is plain data. It describes the position after the last batch *returned*, regardless of
    prefetching; a reader that loads it returns a bit-identical next batch.
    """

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...

    def state_dict(self) -> dict[str, object]: ...

    def load_state_dict(self, state: dict[str, object]) -> None: ...


class Task(ABC):
    """The base class of tasks, which are found through the entry-point group ``supernet.tasks``.

    One process calls ``prepare`` once, before anything else; every rank then opens the same prepared corpus.

    Args:
        options: The validated ``Options`` of the task.
    """

    name: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of the settings ``task.*``."""

    def __init__(self, options: Any) -> None:
        """Create the task.

        Args:
            options: An instance of ``Options``. Annotate the attribute ``options`` in your class with your
                own model, so that type checkers know the fields.
        """
        self.options: Any = options

    @abstractmethod
    def prepare(self, report: ProgressCallback) -> None:
        """Find or create the corpus. Idempotent.

        Args:
            report: Called as the work progresses.

        Raises:
            TaskError: The corpus cannot be found, created or used.
        """

    def prepare_for(self, splits: Sequence[str], tokens: Tokens, report: ProgressCallback) -> None:
        """Prepare the corpus for an evaluation on some of its splits; the others may be unusable.

        Args:
            splits: Splits, or parts of splits.
            tokens: The output tokens of the model.
            report: Called as the work progresses.

        Raises:
            TaskError: As ``prepare``.
        """
        self.prepare(report)

    def remarks(self, splits: Sequence[str], tokens: Tokens) -> list[str]:
        """Caveats about error rates on ``splits``, one sentence each."""
        return []

    @abstractmethod
    def tokens(self) -> Tokens:
        """The tokens of the training texts."""

    @abstractmethod
    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        """Read this rank's share of the training data.

        Args:
            tokens: The output tokens of the model.
            seed: Determines the order of the utterances.
            rank: This process.
            num_ranks: All processes of the training.

        Returns:
            An endless, resumable stream of batches.
        """

    @abstractmethod
    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        """Every usable utterance of a split exactly once, in a fixed order.

        Args:
            split: A split, or one of ``parts``.
            tokens: The output tokens of the model.
            rank: This process.
            num_ranks: All processes among which the utterances are divided.

        Returns:
            Batches; the iterable can be iterated repeatedly.
        """

    @property
    def max_seconds(self) -> float | None:
        """An upper bound on the duration of an utterance; None if it is unknown."""
        return None

    def train_size(self) -> tuple[int, float] | None:
        """Number of utterances in an epoch and their total seconds; None before ``prepare``."""
        return None

    def train_lengths(self, tokens: Tokens) -> Lengths | None:
        """Statistics of the durations of the training utterances; None if they are unknown.

        Recordings that are much longer are split at pauses when they are transcribed.
        """
        return None

    def parts(self) -> dict[str, Split]:
        """Parts of splits that can be scored separately, and the split of each."""
        return {}

    def speakers(self, split: str) -> Mapping[str, str]:
        """The speaker of each utterance whose speaker is known, by utterance id."""
        return {}

    def notes(self) -> list[str]:
        """Remarks about the prepared corpus for the user, one sentence each."""
        return []

    @abstractmethod
    def skipped(self) -> list[Skipped]:
        """The utterances skipped so far."""
