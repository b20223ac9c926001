"""One CTC speech recognizer from which smaller ones are cut without fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supernet.system.native import load_libsndfile

if TYPE_CHECKING:
    from supernet.recognizer import Recognizer

    __version__: str

__all__ = ["Recognizer", "__version__"]

# Before any import of fairseq2, whose native half loads the library by name.
load_libsndfile()


def __getattr__(name: str) -> object:
    """Import lazily what is not always needed: PyTorch alone takes seconds to import."""
    if name == "__version__":
        return _version()
    if name != "Recognizer":
        raise AttributeError(f"module 'supernet' has no attribute '{name}'")
    from supernet.recognizer import Recognizer

    return Recognizer


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("supernet-asr")
    except PackageNotFoundError:  # a source folder on the path
        return "0+unknown"
