"""A checkpoint of another program as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from supernet.text.tokens import Tokens


@dataclass(frozen=True)
class Checkpoint:
    """A recognizer with a CTC head, read without running anything of it."""

    name: str
    """The name of its folder or file."""
    family: str
    """The family of encoders, a name of the entry-point group ``supernet.encoders``."""
    model_type: str
    configuration: Mapping[str, Any]
    """The architecture of the encoder."""
    features: Mapping[str, Any]
    """The settings of its feature extractor."""
    tokens: Tokens
    order: Sequence[int]
    """The row of its head for each of the tokens: its blank need not be the first."""
    problems: Sequence[str]
    """The problems found so far, one sentence each."""
    files: Sequence[Path]
    """The files with its tensors."""
    tensors: Callable[[], Mapping[str, Tensor]]
    """Read its tensors in single precision, by their names there."""
