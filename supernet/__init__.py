"""One CTC speech recognizer from which smaller ones are cut without fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supernet.system.native import load_libsndfile

if TYPE_CHECKING:
    from supernet.recognizer import Recognizer

    __version__: str

__all__ = ["Recognizer", "__version__"]

# Before anything imports fairseq2, whose native half asks for the library by its plain name.
load_libsndfile()


def __getattr__(name: str) -> object:
    """What is not always needed, made when it is asked for: PyTorch alone takes seconds."""
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
    except PackageNotFoundError:  # a folder of sources on the path
        return "0+unknown"
