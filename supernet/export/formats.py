"""The interface of export formats: writing cut models, and running the files."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor

from supernet.errors import ArgumentError
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import FULL, Precision


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporters' advice, which is not for users."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class Runtime(Protocol):
    """The interface of opened files."""

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        """Compute log-probabilities (B, S, V), float32, and the number of valid frames of each utterance."""
        ...


@dataclass(frozen=True)
class Written:
    """An exported network file."""

    file: Path
    precision: Precision = FULL
    """Of the weights."""

    @property
    def num_bytes(self) -> int:
        """Of the file, or of all files in it if it is a folder, as packages are."""
        return num_bytes(self.file)

    @property
    def exact(self) -> bool:
        """Whether it must reproduce the cut model, which rounded weights cannot."""
        return self.precision == FULL


def num_bytes(path: Path) -> int:
    """The size of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class Format(ABC):
    """The base class of export formats."""

    name: ClassVar[str]
    extra: ClassVar[str | None] = None
    """The extra of this project that installs ``packages``."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Required packages."""
    rounds: ClassVar[bool] = False
    """Whether it can round weights to integers."""

    @abstractmethod
    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        """Write all files into the existing ``folder``; returns those with the network.

        Args:
            cut: The cut model.
            folder: The folder.
            rounded: The precisions in which to write the network as well.
        """

    @abstractmethod
    def open(self, file: Path) -> Runtime:
        """Open a file written by ``write``."""

    def check(self, rounded: Collection[Precision] = ()) -> None:
        """Raise ``ArgumentError`` if this format cannot be written here."""
        problems = [
            f"`{p}` must go with `format` sherpa-onnx, but goes with {self.name} instead."
            for p in rounded
            if not self.rounds
        ]
        if missing := [name for name in self.packages if importlib.util.find_spec(name) is None]:
            problems.append(
                f"`format` {self.name} must find {', '.join(self.packages)}, but {', '.join(missing)} "
                f"cannot be imported. Install: pip install -e '.[{self.extra}]'"
            )
        if problems:
            raise ArgumentError([*rounded, "format"], *problems)
