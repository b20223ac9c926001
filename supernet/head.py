"""The interface of an output head, which computes losses and decodes from readings of the encoder.

Shapes: N rows of readings, B utterances of a batch, S stream frames, D model dimension, E emitted values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel
from torch import Tensor, nn

from supernet.config import ModelConfig
from supernet.settings.plugins import find_plugin
from supernet.task import Batch


class Head(nn.Module, ABC):
    """An output head. Found through the entry-point group ``supernet.heads``.

    A network has one head for all sizes, or one per size. A head reads the encoder's output and, for
    intermediate losses, the stream after some of the layers. Its output for an utterance must depend neither
    on the other rows nor on padding.

    Args:
        options: The validated options of `model.head`.
        dim: The model dimension, D.
        num_tokens: The number of tokens; 0 is the blank, which no target contains.
    """

    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of the options of `model.head`."""
    is_framewise: ClassVar[bool] = False
    """Whether ``forward`` returns log-probabilities of the tokens in each frame, as CTC does. They are
    required for beam search, the transcription of recordings, exports, and self-conditioning.
    """

    def __init__(self, options: Any, dim: int, num_tokens: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x_NSD: Tensor) -> Tensor:
        """Compute the emissions, from which losses are computed and tokens are decoded.

        Args:
            x_NSD: Readings; the values of padding are arbitrary.

        Returns:
            Values for each frame (N, S, E), in float32 or higher precision.
        """

    @abstractmethod
    def losses(
        self, emissions_NSE: Tensor, lengths: Sequence[int], batch: Batch, rows: Sequence[int]
    ) -> Tensor:
        """Compute the losses of readings.

        Args:
            emissions_NSE: The output of ``forward``.
            lengths: The stream frames of each utterance of the batch.
            batch: The utterances, with their targets.
            rows: The index of each reading's utterance in the batch.

        Returns:
            A finite loss for each reading (N,): the total for its utterance, on the scale of its number of
            frames, by which the engine divides.
        """

    @abstractmethod
    def decode(self, emissions_NSE: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        """Decode greedily.

        Args:
            emissions_NSE: The output of ``forward``.
            lengths: The stream frames of each of the rows.

        Returns:
            The token ids of each row, without blanks.
        """


def new_head(config: ModelConfig, num_tokens: int) -> Head:
    """A head of the kind that `model.head` names, with random weights."""
    kls = find_plugin("head", config.head.name)
    found: Head = kls(kls.Options.model_validate(config.head.options), config.dim, num_tokens)
    return found
