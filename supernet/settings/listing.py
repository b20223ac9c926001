"""List all settings, from the pydantic models that validate them: names, defaults and descriptions."""

from __future__ import annotations

import difflib
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from supernet.errors import ArgumentError
from supernet.settings.names import did_you_mean

REQUIRED = "must be given"


@dataclass(frozen=True)
class Setting:
    """A setting."""

    name: str
    """The name including its sections, such as ``train.lr``."""
    default: str
    doc: str
    field: FieldInfo
    """Its type and limits."""

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        first, dot, _ = self.doc.partition(". ")
        return first + dot.strip()


def settings_of(kls: type[BaseModel], prefix: str = "") -> Iterator[Setting]:
    """All settings of a model, including those of its sections."""
    for name, field in kls.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None or (not field.is_required() and field.default is None):
            yield Setting(prefix + name, _default(field), " ".join((field.description or "").split()), field)
        if inner is not None:
            yield from settings_of(inner, f"{prefix}{name}.")


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model in a type (or in the values of a mapping type), if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    is_union = get_origin(annotation) in (Union, types.UnionType)
    inner = get_args(annotation) if is_union else get_args(annotation)[-1:] if is_mapping(annotation) else ()
    return next((found for part in inner if (found := section_of(part)) is not None), None)


def is_mapping(annotation: Any) -> bool:
    """Whether a type is a mapping with arbitrary keys."""
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    return _as_yaml(field.get_default(call_default_factory=True))


def _as_yaml(value: Any) -> str:
    """A value as it is written in YAML."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_as_yaml(item)}' for key, item in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def listing(settings: Sequence[Setting], part: str = "", width: int = 80) -> str:
    """A listing of names, defaults and descriptions.

    Args:
        settings: All settings.
        part: List only settings whose names contain it, with full descriptions instead of first sentences.
        width: Columns of the console.

    Raises:
        ArgumentError: No name contains ``part``.
    """
    found = [setting for setting in settings if part in setting.name]
    if not found:
        hint = did_you_mean(elsewhere(part, [setting.name for setting in settings]))
        raise ArgumentError(
            ["part"], f"`part` must be a part of a setting's name, but is '{part}' instead.{hint}"
        )
    return "\n".join(line for setting in found for line in _lines(setting, bool(part), width))


def _lines(setting: Setting, is_whole: bool, width: int) -> list[str]:
    text = setting.doc if is_whole else setting.summary
    options: dict[str, Any] = {"initial_indent": "    ", "subsequent_indent": "    ", "width": width}
    value = f" = {setting.default}" if setting.default != REQUIRED else f" ({REQUIRED})"
    head = textwrap.wrap(setting.name + value, width, subsequent_indent="        ")
    return [*head, *textwrap.wrap(text.replace("``", "`"), **options)]


def elsewhere(path: str, names: Iterable[str], is_exact: bool = False) -> list[str]:
    """Settings and sections of the same or a similar name as ``path`` in other sections."""
    leaf, by_leaf = path.rpartition(".")[2], dict[str, list[str]]()
    for name in _with_sections(names):
        by_leaf.setdefault(name.rpartition(".")[2], []).append(name)
    near = [leaf] if leaf in by_leaf else []
    if not near and not is_exact:
        near = difflib.get_close_matches(leaf, by_leaf, n=2, cutoff=0.75)
    return [name for found in near for name in by_leaf[found] if name != path][:3]


def _with_sections(names: Iterable[str]) -> list[str]:
    parts = [name.split(".") for name in names]
    return list(dict.fromkeys(".".join(part[:i]) for part in parts for i in range(1, len(part) + 1)))
