"""Short names of the units of a subnet, for tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from supernet.units import MODULES

SHORT_NAMES = "kept: numbers of whole layers; for others, the initials of the modules, · for a dropped one."


def short_names(kept: Sequence[str]) -> str:
    """``layers.0, layers.1, layers.5`` as ``0-1 5``; modules as ``0-3 4:f·cf``, see ``SHORT_NAMES``."""
    layers: dict[int, set[str]] = {}
    for name in kept:
        _, layer, *module = name.split(".")
        layers.setdefault(int(layer), set()).update(module)
    modules = set().union(*layers.values())
    order = next((names for names in MODULES.values() if modules <= set(names)), ())
    patterns = {layer: _initials(layers[layer], order) for layer in sorted(layers)}
    runs = itertools.groupby(enumerate(patterns), key=lambda item: (item[1] - item[0], patterns[item[1]]))
    return " ".join(_run([layer for _, layer in run], pattern) for (_, pattern), run in runs)


def _initials(modules: set[str], order: Sequence[str]) -> str:
    if modules in (set(), set(order)):
        return ""
    return ":" + "".join(name[0] if name in modules else "·" for name in order)


def _run(layers: Sequence[int], pattern: str) -> str:
    numbers = str(layers[0]) if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
    return numbers + pattern
