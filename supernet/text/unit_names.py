"""Short names of the units of a subnet, for tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from supernet.units import MODULES

SHORT_NAMES = (
    "kept: numbers of whole layers; for others, the initials of the modules, · for a dropped one, and the "
    "number of its parts if these are units."
)


def short_names(kept: Sequence[str]) -> str:
    """``layers.0, layers.1, layers.5`` as ``0-1 5``; modules as ``0-3 4:f·cf``, components as ``0:f4s2c·``,
    see ``SHORT_NAMES``.
    """
    layers: dict[int, dict[str, int]] = {}
    for name in kept:
        _, number, *names = name.split(".")
        layer = layers.setdefault(int(number), {})
        for module, *part in filter(None, [names]):
            layer[module] = layer.get(module, 0) + len(part)
    # Of modules that are not the project's own, the order is that in which they come.
    found = list(dict.fromkeys(name for names in layers.values() for name in names))
    order = next((names for names in MODULES.values() if set(found) <= set(names)), found)
    patterns = {layer: _initials(layers[layer], order) for layer in sorted(layers)}
    runs = itertools.groupby(enumerate(patterns), key=lambda item: (item[1] - item[0], patterns[item[1]]))
    return " ".join(_run([layer for _, layer in run], pattern) for (_, pattern), run in runs)


def _initials(parts: Mapping[str, int], order: Sequence[str]) -> str:
    """The kept modules of a layer, given the number of kept parts of each, 0 if it is a unit as a whole."""
    if (parts.keys() == {*order} and not any(parts.values())) or not parts:
        return ""
    return ":" + "".join(name[0] + f"{parts[name] or ''}" if name in parts else "·" for name in order)


def _run(layers: Sequence[int], pattern: str) -> str:
    numbers = str(layers[0]) if len(layers) == 1 else f"{layers[0]}-{layers[-1]}"
    return numbers + pattern
