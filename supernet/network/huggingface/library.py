"""The classes of `transformers` from which networks are built, imported when they are needed."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

NAMES = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "wavlm": "WavLM",
    "wav2vec2-conformer": "Wav2Vec2Conformer",
    "wav2vec2-bert": "Wav2Vec2Bert",
    "parakeet_ctc": "Parakeet",
}
"""By model type, the prefix of the class names."""


class CheckpointOptions(BaseModel):
    """An encoder described as in the ``config.json`` of a Hugging Face checkpoint."""

    model_config = ConfigDict(extra="forbid")
    configuration: dict[str, Any] = Field(
        default_factory=dict,
        description="The configuration of the encoder as in `config.json`; filled in from the checkpoint.",
    )
    features: dict[str, Any] = Field(
        default_factory=dict,
        description="The configuration of the features as in `preprocessor_config.json`; filled in likewise.",
    )


@dataclass(frozen=True)
class Library:
    """The classes of one type of model."""

    model_type: str

    def _module(self, kind: str) -> Any:
        folder = self.model_type.replace("-", "_").removesuffix("_ctc")
        with contextlib.redirect_stdout(io.StringIO()):  # it prints remarks about its own documentation
            return importlib.import_module(f"transformers.models.{folder}.{kind}_{folder}")

    def make(self, name: str, *arguments: Any, **more: Any) -> Any:
        """Build the class ``name``, without its prefix."""
        return getattr(self._module("modeling"), NAMES[self.model_type] + name)(*arguments, **more)

    def configuration(self, data: Mapping[str, Any], name: str = "Config") -> Any:
        """The configuration ``data`` with the library's defaults."""
        return getattr(self._module("configuration"), NAMES[self.model_type] + name)(**data)

    def with_head(self, data: Mapping[str, Any], num_layers: int, num_tokens: int) -> Any:
        """Build a model with a CTC head and random weights, whose encoder is described by ``data``, but has
        ``num_layers``. The blank is token 0.
        """
        encoder = {**data, "num_hidden_layers": num_layers}
        del encoder["model_type"]
        head = {"vocab_size": num_tokens, "pad_token_id": 0}
        if self.model_type == "parakeet_ctc":
            return self.make("ForCTC", self.configuration({"encoder_config": encoder, **head}, "CTCConfig"))
        return self.make("ForCTC", self.configuration({**encoder, **head}))
