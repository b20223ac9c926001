"""Names of plug-ins and presets, found without importing them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

PluginKind = Literal["task", "method", "strategy", "granularity", "encoder", "head"]

GROUPS: dict[PluginKind, str] = {
    "task": "supernet.tasks",
    "method": "supernet.methods",
    "strategy": "supernet.strategies",
    "granularity": "supernet.granularities",
    "encoder": "supernet.encoders",
    "head": "supernet.heads",
}
"""The entry-point group of each kind of plug-in."""


def plugin_names(kind: PluginKind) -> list[str]:
    return sorted({entry.name for entry in entry_points(group=GROUPS[kind])})


def unknown(kind: PluginKind, name: str) -> str:
    """The problem with ``name``, which is not a plug-in of this kind."""
    names = plugin_names(kind)
    if kind == "task":
        return (
            f"`task` must be one of {', '.join(names)}, or the path of a corpus, but there is no such task, "
            f"file or folder: '{name}'.{nearest(name, names)}"
        )
    setting = f"model.{kind}" if kind in ("encoder", "head") else kind
    return f"`{setting}` must be one of {', '.join(names)}, but is '{name}' instead.{nearest(name, names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """`` Did you mean ...?``, or an empty string if no name is similar."""
    return did_you_mean(difflib.get_close_matches(name, list(names), n=2, cutoff=0.5))


def did_you_mean(found: Sequence[str]) -> str:
    """The hint about ``found``, or an empty string if there is nothing."""
    return f" Did you mean {' or '.join(found)}?" if found else ""


def presets() -> list[str]:
    """The names of the presets that come with the project, without studies."""
    names = (f.name for f in _folder().iterdir() if f.name.endswith(".yaml"))
    return sorted(name.removesuffix(".yaml") for name in names if not name.startswith("study_"))


def shipped_text(name: str) -> str:
    """The YAML of a preset or a study that comes with the project."""
    return _folder().joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def _folder() -> Path:
    """The folder of presets: inside a package installed from a wheel, or ``configs/`` of a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "presets"
    return installed if installed.is_dir() else package.parent / "configs"
