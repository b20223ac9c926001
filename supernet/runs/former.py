"""Configurations of runs that earlier versions have saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernet.config import Config
from supernet.runs.resolve import resolve_trained, saved_precision
from supernet.settings.presets import Data, merge
from supernet.system.devices import chosen_device, training_dtype

DEFAULTS: Data = {"passes": {"smallest_first": 0}}
"""Behavior of trainings before a setting existed, if it differs from the setting's default."""


def updated(data: Mapping[str, Any], now: Config | None = None) -> Data:
    """A saved configuration with the former behavior of settings that did not exist then.

    Args:
        data: The saved configuration.
        now: The configuration that the run is to be continued with, if any: it may name the precision in
            another way.
    """
    found = resolve_trained(merge(DEFAULTS, data)).config.model_dump(mode="json")
    if now is not None:
        for part, name in (("passes", "teacher_weights"), ("model", "init_checkpoint")):
            if found[part][name] is None:  # formerly, they were not recorded
                found[part][name] = getattr(getattr(now, part), name)
        place = chosen_device(now.device)
        precisions = saved_precision(found, place), now.train.precision
        if len({training_dtype(precision, place) for precision in precisions}) == 1:
            found["train"]["precision"] = now.train.precision
    return found
