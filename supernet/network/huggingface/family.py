"""The base of the families of `transformers`: the settings and the weights of a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from supernet.config import ModelConfig
from supernet.encoder_family import Decided, EncoderFamily, PretrainedError
from supernet.errors import UserError
from supernet.network.huggingface.library import CheckpointOptions, Library
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.reading import read_checkpoint
from supernet.text.tokens import Tokens

_MEANINGLESS = ("kernel", "convolution_bias", "positions", "frontend_channels", "start_scale")
"""Settings that apply only to networks with random initial weights."""

_HEAD = "heads.shared."
_WEIGHT_NORM = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
"""Names of the norms and directions of a weight, before and since PyTorch 2.0."""


class HuggingFaceFamily(EncoderFamily[CheckpointOptions]):
    """Encoders built from the modules of `transformers`, under the names that their weights have there."""

    Options = CheckpointOptions
    pretrains = True
    adapts = True
    layer_type: ClassVar[str]
    dropouts: ClassVar[Sequence[tuple[str, str]]]
    """Dropout rates: settings of `model`, and their names in the encoder's configuration."""

    @cached_property
    def library(self) -> Library:
        """The classes of this type of model."""
        return Library(str(self.options.configuration.get("model_type")))

    @classmethod
    def described(cls, configuration: Mapping[str, Any]) -> Any:
        """The encoder's configuration as an object of the library."""
        return Library(str(configuration.get("model_type"))).configuration(configuration)

    @cached_property
    def encoder(self) -> Any:
        """The configuration of the encoder, with the dropout of this run."""
        encoder = self.described(self.options.configuration)
        for setting, name in self.dropouts:
            setattr(encoder, name, getattr(self.config, setting))
        encoder._attn_implementation = "sdpa"
        return encoder

    def problems(self) -> list[str]:
        try:
            sizes = dimensions(self.encoder)
        # The library raises its own exceptions for invalid configurations.
        except Exception as e:
            reason = (" ".join(str(e).split()) or type(e).__name__)[:200]
            return [f"`model.encoder.configuration` must describe an encoder, but does not: {reason}"]
        return [
            f"`model.{name}` must be {value}, as in `model.encoder.configuration`, but is "
            f"{getattr(self.config, name)} instead"
            for name, value in sizes.items()
            if name != "num_layers" and getattr(self.config, name) != value
        ]

    def traced_stream(self, frontend: Any, x: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        return frontend.traced(x, lengths_B)  # type: ignore[no-any-return]

    @classmethod
    def settings(cls, checkpoint: Checkpoint) -> Decided:
        """The settings that ``checkpoint`` decides."""
        options = {"configuration": dict(checkpoint.configuration), "features": dict(checkpoint.features)}
        encoder = cls.described(checkpoint.configuration)
        settings = {name: ModelConfig.model_fields[name].default for name in _MEANINGLESS}
        settings |= {"layer_type": cls.layer_type, **dimensions(encoder)}
        rates = {name: getattr(encoder, original) for name, original in cls.dropouts}
        return Decided(options, settings, rates)

    @classmethod
    def decide(cls, init: str, known: Mapping[str, Any] | None) -> Decided:
        try:
            return cls.settings(_read(init))
        except PretrainedError:
            if not known or Path(init).exists():
                raise
            return Decided(known)
        # The library raises its own exceptions for invalid configurations.
        except Exception as e:
            reason = (" ".join(str(e).split()) or type(e).__name__)[:200].rstrip(".")
            raise PretrainedError(
                f"`model.init` must have a valid configuration, but '{init}' has not: {reason}."
            ) from None

    @classmethod
    def weights(cls, init: str) -> Mapping[str, Tensor]:
        found = cls.renamed(_read(init))
        return {name: x for name, x in found.items() if name.startswith(("frontend.", "encoder.", _HEAD))}

    @classmethod
    def tokens(cls, init: str) -> Tokens | None:
        checkpoint = _read(init)
        if checkpoint.problems:
            raise PretrainedError("\n".join(checkpoint.problems))
        return checkpoint.tokens

    @classmethod
    def renamed(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """The tensors of ``checkpoint`` by their names in the network, with a row of the head for each of its
        tokens; those that no recognizer has keep their names.
        """
        names = tuple(cls.names(checkpoint.configuration))
        found = {_replaced(name, names): x for name, x in _merged(checkpoint.tensors()).items()}
        if (head := found.get(f"{_HEAD}weight")) is not None and head.dim() == 3:  # a convolution
            found[f"{_HEAD}weight"] = head[..., 0]
        for name in (f"{_HEAD}weight", f"{_HEAD}bias"):
            if name in found and len(found[name]) == len(checkpoint.order):
                found[name] = found[name][list(checkpoint.order)]
        return {name: x for name, x in found.items() if name is not None}

    @classmethod
    def original(cls, name: str, configuration: Mapping[str, Any]) -> str:
        """The name in the library of the tensor ``name`` of a network."""
        for old, new in cls.names(configuration):
            if new is not None and name.startswith(new):
                return old + name.removeprefix(new)
        return name

    @classmethod
    @abstractmethod
    def names(cls, configuration: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
        """The beginnings of names of tensors in the library and in the network, or None if they are not
        needed; the first that matches counts.
        """


def dimensions(encoder: Any) -> dict[str, int]:
    """The dimensions of an encoder by the settings of `model`."""
    return {
        "num_layers": encoder.num_hidden_layers,
        "dim": encoder.hidden_size,
        "num_heads": encoder.num_attention_heads,
        "ffn_dim": encoder.intermediate_size,
    }


def _read(init: str) -> Checkpoint:
    try:
        return read_checkpoint(Path(init))
    except UserError as e:
        raise PretrainedError(str(e)) from None


def _replaced(name: str, names: Iterable[tuple[str, str | None]]) -> str | None:
    if name.endswith(".num_batches_tracked"):  # only training uses it
        return None
    for old, new in names:
        if name.startswith(old):
            return None if new is None else new + name.removeprefix(old)
    return name


def _merged(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` with normalized weights (arXiv 1602.07868) as one tensor each."""
    found = dict(tensors)
    for norm, direction in _WEIGHT_NORM:
        for name in [name for name in found if name.endswith(f".{norm}")]:
            stem = name.removesuffix(norm)
            if (v := found.get(stem + direction)) is not None and v.dim() == 3:
                g, _ = found.pop(name), found.pop(stem + direction)
                found[f"{stem}weight"] = g * v / v.norm(dim=(0, 1), keepdim=True)
    return found
