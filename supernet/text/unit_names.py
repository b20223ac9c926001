"""Short names of the units of a subnet, for tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from supernet.units import MODULES

SHORT_NAMES = "kept: numbers of whole layers; for others, the initials of the modules, · for a dropped one."


def short_names(kept: Sequence[str]) -> str:
    """``layers.0, layers.1, layers.5`` as ``0-1 5``; modules as ``0-3 4:f·cf``, see ``SHORT_NAMES``."""
    layers: dict[int, list[str]] = {}
    for name in kept:
        _, layer, *module = name.split(".", 2)
        layers.setdefault(int(layer), []).extend(module)
    # Of modules that are not the project's own, the order is that in which they come.
    found = list(dict.fromkeys(name for names in layers.values() for name in names))
    order = next((names for names in MODULES.values() if set(found) <= set(names)), found)
    patterns = {layer: _initials(layers[layer], order) for layer in sorted(layers)}
    runs = itertools.groupby(enumerate(patterns), key=lambda item: (item[1] - item[0], patterns[item[1]]))
    return " ".join(_run([layer for _, layer in run], pattern) for (_, pattern), run in runs)


def _initials(modules: Sequence[str], order: Sequence[str]) -> str:
    if not modules or set(modules) == set(order):
        return ""
    return ":" + "".join(name[0] if name in modules else "·" for name in order)


def _run(layers: Sequence[int], pattern: str) -> str:
    numbers = str(layers[0]) if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
    return numbers + pattern
