"""Read layers of settings, from presets, YAML files and ``name=value`` texts, and merge them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from supernet.errors import ConfigError, UserError
from supernet.settings.names import nearest, plugin_names, presets, shipped_text
from supernet.system.files import parse_yaml, read_yaml, refusal

Data = dict[str, Any]
"""Settings as nested mappings, not validated."""
PLUGINS = ("task", "method", "encoder", "head")
"""The settings that name a plug-in; its options are settings on the same level."""


_EITHER = (("sizes", "budgets"), ("budgets", "sizes"))


def load_preset(name: str) -> Data:
    """The settings of the preset ``name``. Raises ``ConfigError`` if there is none."""
    if name not in presets():
        known, near = ", ".join(presets()), nearest(name, presets())
        raise ConfigError([f"`preset` must be one of {known}, but is '{name}' instead.{near}"])
    return load_shipped(name)


def load_shipped(name: str) -> Data:
    """The contents of ``configs/NAME.yaml``: a preset or a study."""
    return parse_yaml(shipped_text(name), name)


def load_file(path: Path) -> Data:
    """A YAML file of settings. Raises ``ConfigError`` about ``config`` if it cannot be read."""
    if why := refusal(path):
        raise ConfigError([f"`config` must be a file of settings, but {why}."], ["config"])
    try:
        return read_yaml(path)
    except UserError as e:
        problem = f"`config` must be a file of settings, but cannot be read: {e}"
        raise ConfigError([problem], ["config"]) from None


def parse_set(text: str) -> Data:
    """``a.b=c`` as nested mappings; the value is YAML. Raises ``ConfigError`` about ``set``."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ConfigError([f"`set` must look like a.b=c, but is '{text}' instead."], ["set"])
    if not value.strip():  # as an unset shell variable leaves it
        problem = f"`set` must give a value, but '{text}' has none; null stands for nothing."
        raise ConfigError([problem], ["set"])
    try:
        data: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        problem = f"`set` must give a value in YAML, but is '{text}' instead."
        raise ConfigError([problem], ["set"]) from None
    for part in reversed(key.split(".")):
        data = {part: data}
    return dict(data)


def task_setting(text: str) -> Data:
    """The setting ``task`` for the name of a task or the path of a corpus."""
    if text not in plugin_names("task") and (os.sep in text or Path(text).exists()):
        return {"name": "manifest", "path": text}
    return {"name": text}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Data:
    """Merge ``over`` into ``base``, mapping by mapping.

    A plug-in of another name keeps none of the previous one's options, another `model.init` is looked up
    again, and of sizes and budgets those stand that were given last.
    """
    again = [name for name, other in _EITHER if over.get(other) and not over.get(name)]
    before = base.get("init")
    if before not in (None, over.get("init", before)):
        again += ["init_weights", "encoder"]
    result = {key: value for key, value in base.items() if key not in again}
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = key in PLUGINS and value.get("name", old.get("name")) != old.get("name")
            result[key] = dict(value) if renamed else merge(old, value)
        else:
            result[key] = value
    return result


def named(section: Mapping[str, Any]) -> Data:
    """``section`` with plug-ins given by name alone as mappings, and as it is written today."""
    result = dict(section)
    if (wav2vec2 := result.pop("wav2vec2", None)) is not None:  # before there were other encoders
        result["encoder"] = {"name": "wav2vec2", "configuration": wav2vec2}
    for key in PLUGINS:
        if isinstance(result.get(key), str):
            result[key] = {"name": result[key]}
    return result


def with_preset(layer: Mapping[str, Any]) -> Data:
    """``layer`` merged into the preset that it names; plug-ins given by name alone become mappings."""
    data = {key: value for key, value in layer.items() if key != "preset"}
    data = named(data)
    if isinstance(data.get("model"), Mapping):
        data["model"] = named(data["model"])
    preset = layer.get("preset")
    return data if preset is None else merge(with_preset(load_preset(str(preset))), data)
