"""What a format is: how a cut model is written, and how what was written runs."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor

from supernet.errors import ArgumentError
from supernet.runs.cut_model import Cut


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' advice, which is not for users."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Runtime(Protocol):
    """An opened file."""

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Log-probabilities (B, S, V), float32, and how many of the S frames of each utterance count."""
        ...


@dataclass(frozen=True)
class Written:
    """A file that computes."""

    file: Path
    exact: bool = True
    """Whether it must give the cut model's numbers; one with rounded weights cannot."""


class Format(ABC):
    """One kind of export."""

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    """The optional dependencies that ``packages`` belong to."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What must be importable."""
    has_int8: ClassVar[bool] = False

    @abstractmethod
    def write(self, cut: Cut, folder: Path, int8: bool) -> list[Written]:
        """Write everything a user needs into the existing ``folder``; returns the files that compute."""

    @abstractmethod
    def open(self, file: Path) -> Runtime:
        """Run what ``write`` wrote."""

    def check(self, int8: bool) -> None:
        """Raise ``ArgumentError`` where this format cannot be written here."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise ArgumentError(
                ["format"],
                f"`format` {self.name} must find {', '.join(self.packages)}, but {', '.join(missing)} "
                f"cannot be imported. Install: pip install -e '.[{self.extra}]'",
            )
        if int8 and not self.has_int8:
            raise ArgumentError(
                ["int8", "format"],
                f"`int8` must go with `format` sherpa-onnx, but goes with {self.name} instead.",
            )
