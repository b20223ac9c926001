"""Make the libsndfile of the `soundfile` wheel visible, so that no system package is needed."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path


def load_libsndfile() -> None:
    """Load the wheel's libsndfile for the whole process; without one, the system's is found as usual."""
    spec = importlib.util.find_spec("_soundfile_data")
    if spec is None or spec.origin is None:
        return
    for library in Path(spec.origin).parent.glob("libsndfile*"):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
