"""One CTC speech recogniser from which smaller ones are cut without fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supernet._native import load_libsndfile

if TYPE_CHECKING:
    from supernet.recognizer import Recognizer

__all__ = ["Recognizer"]

# Before anything imports fairseq2, whose native half asks for the library by its plain name.
load_libsndfile()


def __getattr__(name: str) -> object:
    """The Python API, imported when it is asked for: PyTorch takes seconds."""
    if name != "Recognizer":
        raise AttributeError(f"module 'supernet' has no attribute '{name}'")
    from supernet.recognizer import Recognizer

    return Recognizer
