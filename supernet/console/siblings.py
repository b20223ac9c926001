"""Import the project's other packages regardless of the current folder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_BESIDE = Path(__file__).parents[2]
_NAMES = ("selection", "tasks")


class _Siblings(MetaPathFinder):
    """Finds ``selection`` and ``tasks`` beside ``supernet`` instead of a user's ``tasks.py``."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = _BESIDE / name
        if name not in _NAMES or not (folder / "__init__.py").is_file():
            return None
        return importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


def find_siblings() -> None:
    """Make a command import the project's packages from the folder of ``supernet``.

    ``python -m`` puts the current folder first on the path. Only commands do this: a program that uses the
    Python API may have modules of these names.
    """
    if not any(isinstance(finder, _Siblings) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Siblings())
