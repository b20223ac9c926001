"""What a corpus gives the recognizer, and what the recognizer asks of a task. Tasks implement it; supernet
imports no task.

Shapes: B utterances, T frames (of 10 ms, or samples), F mel bands (or 1), L tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from fairseq2.device import SupportsDeviceTransfer
from pydantic import BaseModel
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input
from supernet.audio.lengths import Lengths
from supernet.errors import UserError
from supernet.text.tokens import Tokens

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``report(what, done, total)`` while slow work runs; ``total`` is 0 where it is not known."""


@dataclass
class Batch(SupportsDeviceTransfer):
    """Utterances padded to one length.

    Lengths stay on the host, so that nobody has to ask the device for them.
    """

    features_BTF: Tensor
    """What the recognizer reads, float32, zero where padded."""
    num_frames: list[int]
    targets_BL: Tensor
    """Token ids, int64, zero where padded."""
    num_targets: list[int]
    ids: list[str]
    texts: list[str]
    input: Input = LOG_MEL
    hidden_BTF: Tensor | None = None
    """What training hides of the normalized features, boolean: it becomes 0, the mean (arXiv 1904.08779)."""

    @property
    def stream_lengths(self) -> list[int]:
        """Frames of each utterance behind the frontend."""
        return [self.input.num_stream_frames(n) for n in self.num_frames]

    @property
    def seconds(self) -> list[float]:
        """How long each utterance is."""
        return [n / self.input.rate for n in self.num_frames]

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: Any, *, non_blocking: bool = False) -> None:
        """Move the tensors in place (the engine's protocol)."""
        self.features_BTF = self.features_BTF.to(device, non_blocking=non_blocking)
        self.targets_BL = self.targets_BL.to(device, non_blocking=non_blocking)
        if self.hidden_BTF is not None:
            self.hidden_BTF = self.hidden_BTF.to(device, non_blocking=non_blocking)


@dataclass(frozen=True, slots=True)
class Skipped:
    """An utterance that was left out, and why."""

    id: str
    split: str
    reason: str


class TaskError(UserError):
    """A corpus cannot be used; the message says what is wrong and what to do."""


class NotPrepared(TaskError):
    """A corpus that may be fine has not been prepared yet."""


class BatchReader(Protocol):
    """An endless, resumable stream of training batches.

    ``state_dict`` describes the position after the last batch *returned*, whatever was prefetched; a reader
    that loads it returns the same next batch, bit by bit. Its content is plain data.
    """

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...

    def state_dict(self) -> dict[str, object]: ...

    def load_state_dict(self, state: dict[str, object]) -> None: ...


class Task(ABC):
    """A corpus turned into batches. Found through the entry-point group ``supernet.tasks``.

    The constructor gets its validated options. ``prepare`` is called once, by one process, before anything
    else; every rank then opens the same prepared corpus.
    """

    name: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of what ``task.*`` may be set to."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abstractmethod
    def prepare(self, report: ProgressCallback) -> None:
        """Find or make the corpus. Raises ``TaskError`` where that is impossible. Twice equals once."""

    def prepare_for(self, splits: Sequence[str], tokens: Tokens, report: ProgressCallback) -> None:
        """The same where a net that writes ``tokens`` will be scored on ``splits``, or parts of them, alone:
        the others may be unusable.
        """
        self.prepare(report)

    def remarks(self, splits: Sequence[str], tokens: Tokens) -> list[str]:
        """What is worth knowing of error rates on ``splits``, in sentences."""
        return []

    @abstractmethod
    def tokens(self) -> Tokens:
        """The tokens of the training texts."""

    @abstractmethod
    def train_reader(self, tokens: Tokens, *, seed: int, rank: int, num_ranks: int) -> BatchReader:
        """This rank's share of the training data, shuffled by ``seed``."""

    @abstractmethod
    def eval_batches(
        self, split: str, tokens: Tokens, *, rank: int = 0, num_ranks: int = 1
    ) -> Iterable[Batch]:
        """Every usable utterance of a split, or of one of ``parts``, once, in a fixed order; may be
        iterated again.
        """

    @property
    def max_seconds(self) -> float | None:
        """No utterance of a batch is longer; None where that is not known."""
        return None

    def train_size(self) -> tuple[int, float] | None:
        """Utterances of an epoch and their seconds; None as long as nothing is prepared."""
        return None

    def train_lengths(self, tokens: Tokens) -> Lengths | None:
        """How long the utterances are that a net writing ``tokens`` trains on; None where that is not known.

        Recordings much longer are cut at their pauses when they are transcribed.
        """
        return None

    def parts(self) -> dict[str, Split]:
        """Names of parts of splits that can be scored by themselves, and the split of each."""
        return {}

    def speakers(self, split: str) -> Mapping[str, str]:
        """Who speaks, by utterance, as far as the corpus knows."""
        return {}

    def notes(self) -> list[str]:
        """What the user should know of the prepared corpus before it is used."""
        return []

    @abstractmethod
    def skipped(self) -> list[Skipped]:
        """Utterances that could not be used, so far."""
