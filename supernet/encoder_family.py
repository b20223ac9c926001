"""The interface of a family of encoders: frontend, layers, and checkpoints to start from.

Shapes: B utterances, T input frames, F values per frame, S stream frames, D model dimension.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional

from supernet.audio.features import INPUTS, InputName
from supernet.config import ModelConfig
from supernet.errors import UserError
from supernet.network.branches import Branches, rows_of
from supernet.network.tracing import mask, traced_rows
from supernet.text.tokens import Tokens
from supernet.units import Module

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class PretrainedError(UserError):
    """`model.init` cannot be used; the message says why."""


class Frontend(Protocol):
    """Turns input frames into the encoder's stream: a module of PyTorch."""

    def embed(
        self, features_BTF: Tensor, num_frames: Sequence[int], hidden_BTF: Tensor | None = None
    ) -> Tensor:
        """Compute the stream.

        Args:
            features_BTF: The family's input; padding may hold anything, and must not affect the output.
            num_frames: The number of input frames of each utterance.
            hidden_BTF: A boolean mask of the normalized features that training hides. None: none.

        Returns:
            The stream (B, S, D); the number of frames per utterance follows from the family's ``input``.
        """


@dataclass(frozen=True)
class Decided:
    """The settings that a checkpoint decides."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """The options of `model.encoder`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `model` that must be those of the checkpoint."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `model` that are those of the checkpoint unless they are set explicitly."""


class EncoderFamily(ABC, Generic[OptionsT]):
    """A family of encoders. Found through the entry-point group ``supernet.encoders``.

    A family has no weights itself; it builds the modules that have them. Modules that draw random numbers are
    built in the order frontend, layers, final norm.

    Args:
        options: The validated options of `model.encoder`.
        config: The settings of the network. A family uses those that it needs.
    """

    Options: ClassVar[type[BaseModel]]
    """A pydantic model (``extra="forbid"``) of the options of `model.encoder`."""
    input: ClassVar[InputName] = "log-mel"
    """The input of the frontend. It also determines the subsampling, see ``supernet.audio.features``."""
    pretrains: ClassVar[bool] = False
    """Whether `model.init` may be a checkpoint of this family."""
    streams: ClassVar[bool] = False
    """Whether `model.streaming` may be set: modules comply with the ``chunks`` of ``branches.Rows``, and the
    frontend is a ``streaming.frontend.StreamingFrontend``.
    """
    adapts: ClassVar[bool] = False
    """Whether the linear layers can have adapters, see `model.lora_rank`."""
    exports: ClassVar[bool] = False
    """Whether a network can be traced as one graph, see ``trace``."""

    def __init__(self, options: OptionsT, config: ModelConfig) -> None:
        self.options, self.config = options, config

    @property
    @abstractmethod
    def modules(self) -> tuple[Module, ...]:
        """The residual branches of a layer, in execution order; the same in every layer."""

    @property
    def drops_modules(self) -> bool:
        """Whether a layer still works without some of its branches. Not so if it normalizes the stream after
        each branch.
        """
        return True

    @property
    def max_frames(self) -> int | None:
        """The length of the longest stream in frames. None: unlimited."""
        return None

    def problems(self) -> list[str]:
        """Check options and settings against each other; returns one sentence per problem, for the user."""
        return []

    @abstractmethod
    def frontend(self) -> nn.Module:
        """Build the ``Frontend``, with random weights.

        If the family ``exports``, its ``forward`` computes the stream (B, S, D) from features (B, T, F) and a
        mask (B, T), which is false in padding.
        """

    def positions(self) -> nn.Module | None:
        """Build the module that adds positions to the stream before the first layer, if there is one."""
        return None

    def shared(self) -> Any:
        """Build an object that all layers of one encoder share, such as a table of positions."""
        return None

    @abstractmethod
    def layer(self, number: int, shared: Any) -> nn.Module:
        """Build a layer, with random weights.

        Args:
            number: Its 0-based number.
            shared: The object that ``shared`` has built for this encoder.
        """

    @abstractmethod
    def branches(self, layer: nn.Module) -> Branches:
        """List the residual branches that a layer of this family still has."""

    def norm(self) -> nn.Module:
        """Build the norm of every reading after the layers."""
        return nn.Identity()

    def rows(self, lengths: Sequence[int], width: int, device: torch.device, dtype: torch.dtype) -> Any:
        """Make the context of some rows, an argument of every call of a branch: masks, attention biases,
        caches of one walk. By default, a layout and an attention-bias cache for fairseq2 modules.

        Args:
            lengths: The number of valid frames of each row, on the host; `system.devices.sent` copies data to
                a GPU without waiting for it.
            width: The number of frames of the padded streams, S.
            device: The device of the streams.
            dtype: The data type in which attention is computed.
        """
        return rows_of(lengths, width, device, dtype)

    def traced_stream(self, frontend: nn.Module, x: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        """Run ``frontend`` in a graph, for any number of rows and frames, without branches on values.

        Args:
            frontend: What ``frontend`` has built, in evaluation mode.
            x: The input of the graph: features (B, T, F), whose padding may hold anything; for families that
                read samples, what their export describes.
            lengths_B: The valid frames of each row, at least 1.

        Returns:
            The stream (B, S, D) and its valid frames (B,), at least 1.
        """
        input = INPUTS[self.input]
        x_BTF = functional.pad(x, (0, 0, 0, input.shortest + 1))  # so that the frontend reads any input
        x_BSD = frontend(x_BTF, mask(x_BTF, lengths_B))
        for _ in input.convolutions:  # of width 3 and stride 2, see Input.num_stream_frames
            lengths_B = (lengths_B - 1) // 2
        return x_BSD, lengths_B.clamp(min=1)

    def trace(self, encoder: nn.Module) -> None:
        """Replace in place modules with fixed sizes by modules that compute sizes from their input."""

    def traced_rows(self, x_BSD: Tensor, lengths_B: Tensor) -> Any:
        """Make the context of rows, see ``rows``, from tensors: for a graph with any number of rows and
        frames.
        """
        return traced_rows(x_BSD, lengths_B)

    @classmethod
    def reads(cls, path: Path) -> bool:
        """Whether ``path`` is a checkpoint of this family, according to a few of its bytes. If so, commands
        take it in place of a run. Called for files and folders that nothing built in recognizes.
        """
        return False

    @classmethod
    def decide(cls, init: str, known: Mapping[str, Any] | None) -> Decided:
        """Read the settings that a checkpoint decides.

        Args:
            init: The value of `model.init`.
            known: The options in a saved configuration, which are used if the checkpoint is gone.

        Raises:
            PretrainedError: The checkpoint cannot be used.
        """
        raise PretrainedError(
            "`model.init` must be the folder of a finished run or of a cut model with this `model.encoder`, "
            f"but '{init}' is not."
        )

    @classmethod
    def weights(cls, init: str) -> Mapping[str, Tensor]:
        """Read the weights of a checkpoint, by their names in the network: ``frontend.*``,
        ``encoder.layers.0.*``, ``encoder.norm.*``, and ``heads.shared.*`` in the order of ``tokens`` if it
        has a head. Never runs code from the checkpoint.

        Raises:
            PretrainedError: The checkpoint cannot be used.
        """
        raise PretrainedError(
            f"`model.init` must be a checkpoint of this `model.encoder`, but '{init}' is not."
        )

    @classmethod
    def tokens(cls, init: str) -> Tokens | None:
        """Read the tokens of a checkpoint, in the order of the outputs of its CTC head. None: it has no head.

        Raises:
            PretrainedError: The checkpoint cannot be used.
        """
        return None


def family_of(config: ModelConfig) -> EncoderFamily[Any]:
    """The family that `model.encoder` names, with its options."""
    found: EncoderFamily[Any] = config.family
    return found
