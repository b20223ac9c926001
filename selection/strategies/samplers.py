"""Optuna's samplers and pruners, found by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler

from supernet.settings.names import nearest


def make_sampler(name: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """Create a sampler by name; ``seed`` applies unless the options set one."""
    kls = getattr(optuna.samplers, name)
    seeded = {"seed": seed} if "seed" in inspect.signature(kls).parameters else {}
    made: BaseSampler = kls(**{**seeded, **options})
    return made


def problems(kind: Literal["sampler", "pruner"], name: str, options: Mapping[str, Any]) -> list[str]:
    """Problems with a sampler or pruner and its options, as messages for the user."""
    module, ending = getattr(optuna, f"{kind}s"), kind.capitalize()
    names = [n for n in module.__all__ if n.endswith(ending) and not n.startswith("Base")]
    if name not in names:
        known = ", ".join(names)
        return [f"`{kind}` must be one of Optuna's {known}, but is '{name}' instead.{nearest(name, names)}"]
    taken = list(inspect.signature(getattr(module, name)).parameters)
    if unknown := [str(option) for option in options if option not in taken]:
        rule = f"`{kind}` {name} must be given options that it takes, but"
        return [f"{rule} '{option}' is none of them.{nearest(option, taken)}" for option in unknown]
    try:
        getattr(module, name)(**options)
    except (TypeError, ValueError, ImportError) as e:
        return [f"`{kind}` {name} must be given options that it takes, but: {' '.join(str(e).split())}."]
    return []
