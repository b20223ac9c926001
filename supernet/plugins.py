"""Plug-ins by their entry points; their options, and whatever is wrong with a model's data, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from pydantic import BaseModel, ValidationError

from supernet.names import GROUPS, PluginKind, nearest, plugin_names


def load_plugin(
    kind: PluginKind, data: Any, problems: list[str], prefix: str | None = None
) -> tuple[Any, Any]:
    """The plug-in's class and its validated options; what is wrong goes to ``problems``.

    ``data`` is its name, or a mapping of ``name`` and options; ``prefix`` stands before options in messages.
    """
    name = str(data.get("name") if isinstance(data, Mapping) else data)
    names = plugin_names(kind)
    if name not in names:
        problems.append(
            f"`{kind}` must be one of {', '.join(names)}, but is '{name}' instead.{nearest(name, names)}"
        )
        return None, None
    entry = next(entry for entry in entry_points(group=GROUPS[kind]) if entry.name == name)
    try:
        kls = entry.load()
    except (ImportError, AttributeError) as e:
        problems.append(f"`{kind}` '{name}' must be importable, but is not: {e}.")
        return None, None
    options = (
        {key: value for key, value in data.items() if key != "name"} if isinstance(data, Mapping) else {}
    )
    return kls, validated(kls.Options, options, f"{prefix or kind}.", problems)


def validated(kls: Any, data: Mapping[str, Any], prefix: str, problems: list[str]) -> Any:
    """``data`` as a ``kls``, or None, and a line for each thing that is wrong with it in ``problems``."""
    try:
        return kls.model_validate(data)
    except ValidationError as e:
        for error in e.errors():
            problems.extend(_explain(kls, prefix, error))
        return None


def _explain(kls: type[BaseModel], prefix: str, error: Any) -> list[str]:
    path = prefix + ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        names = _siblings(kls, error["loc"][:-1])
        return [f"`{path}` must be a setting that exists, but is not.{nearest(str(error['loc'][-1]), names)}"]
    if error["type"] == "value_error":
        return [f"{problem}." for problem in str(error["ctx"]["error"]).split("; ")]
    rule = error["msg"].replace("Input should be", "must be").replace("Field required", "must be given")
    return [f"`{path}` {rule}, but is {error['input']!r} instead."]


def _siblings(kls: Any, loc: Sequence[Any]) -> list[str]:
    for part in loc:
        field = kls.model_fields.get(part)
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            return []
        kls = field.annotation
    return list(kls.model_fields)
