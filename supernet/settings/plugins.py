"""Load plug-ins and validate their options, with problems described in words."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import ValidationError

from supernet.settings.listing import elsewhere, is_mapping, section_of
from supernet.settings.names import GROUPS, PluginKind, did_you_mean, nearest, plugin_names, unknown

MOST_SHOWN = 80
"""Characters of a wrong value that messages show."""
Names = Callable[[], Iterable[str]]
"""Returns the settings that an unknown one may be meant for; called only if there is one."""


@lru_cache
def find_plugin(kind: PluginKind, name: str) -> Any:
    """The class of a plug-in. Raises ``ValueError``, with the reason in words, if there is none."""
    names = plugin_names(kind)
    if name not in names:
        raise ValueError(unknown(kind, name))
    entry = next(entry for entry in entry_points(group=GROUPS[kind]) if entry.name == name)
    try:
        return entry.load()
    except (ImportError, AttributeError) as e:
        raise ValueError(f"`{kind}` '{name}' must be importable, but is not: {e}.") from None


def load_plugin(
    kind: PluginKind, data: Any, problems: list[str], prefix: str | None = None, names: Names = tuple
) -> tuple[Any, Any]:
    """Load a plug-in and validate its options.

    Args:
        kind: The kind of plug-in.
        data: Its name, or a mapping with ``name`` and options.
        problems: Gets a line for each problem.
        prefix: Precedes options in messages.
        names: As for ``validated``.

    Returns:
        The class and its options; each is None if there are problems with it.
    """
    try:
        kls = find_plugin(kind, str(data.get("name") if isinstance(data, Mapping) else data))
    except ValueError as e:
        problems.append(str(e))
        return None, None
    options = (
        {key: value for key, value in data.items() if key != "name"} if isinstance(data, Mapping) else {}
    )
    return kls, validated(kls.Options, options, f"{prefix or kind}.", problems, names)


def validated(
    kls: Any, data: Mapping[str, Any], prefix: str, problems: list[str], names: Names = tuple
) -> Any:
    """Validate ``data`` as a ``kls``.

    Args:
        kls: A pydantic model.
        data: The settings.
        prefix: Precedes settings in messages.
        problems: Gets a line for each problem.
        names: Returns all settings, of which unknown ones may be misspellings.

    Returns:
        The validated model, or None if there are problems.
    """
    try:
        return kls.model_validate(data)
    except ValidationError as e:
        rules: dict[str, tuple[list[str], Any]] = {}
        for error in e.errors():
            loc = _named_part(kls, error["loc"])
            path = prefix + ".".join(str(part) for part in loc)
            if error["type"] in ("extra_forbidden", "invalid_key"):
                problems.append(_unknown(kls, prefix, loc, names))
            elif error["type"] == "value_error":
                problems += map(_sentence, str(error["ctx"]["error"]).split("; "))
            else:  # each alternative of a union has its own rule
                rules.setdefault(path, ([], error["input"]))[0].append(_rule(error))
        problems += [_wrong(path, found, value) for path, (found, value) in rules.items()]
        return None


def _sentence(problem: str) -> str:
    return problem if problem.endswith((".", "?")) else f"{problem}."


def _unknown(kls: Any, prefix: str, loc: Sequence[Any], names: Names) -> str:
    path = prefix + ".".join(str(part) for part in loc)
    known, siblings = list(names()), _siblings(kls, loc[:-1])
    hint = did_you_mean(elsewhere(path, known, is_exact=True)) or nearest(str(loc[-1]), siblings)
    hint = hint or did_you_mean(elsewhere(path, known))
    return f"`{path}` must be a setting that exists, but is not.{hint}"


_RULES = {
    "missing": "be given",
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "int_parsing_size": "be a whole number of at most 4,300 digits",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "string_type": "be a text",
    "path_type": "be a path",
    "tuple_type": "be a list",
    "list_type": "be a list",
    "set_type": "be a list",
    "dict_type": "be a mapping of settings",
    "mapping_type": "be a mapping of settings",
    "model_type": "be a mapping of settings",
    "model_attributes_type": "be a mapping of settings",
    "union_tag_not_found": "be a mapping with {discriminator}",
    "union_tag_invalid": "have one of {expected_tags} as {discriminator}",
    "literal_error": "be {expected}",
    "too_short": "have at least {min_length} parts",
    "too_long": "have at most {max_length} parts",
}
"""The rule of each kind of validation error, as the continuation of "must"."""


def _rule(error: Any) -> str:
    if (rule := _RULES.get(error["type"])) is not None:
        return rule.format(**error.get("ctx", {}))
    return re.sub(r"^\w+ should ", "", str(error["msg"]))  # e.g. "be less than 1"


def _wrong(path: str, rules: Sequence[str], value: Any) -> str:
    if rules == ["be given"]:
        return f"`{path}` must be given, but is not."
    distinct = list(dict.fromkeys(rules))
    rule = " or ".join([distinct[0], *(rule.removeprefix("be ") for rule in distinct[1:])])
    hint = " YAML takes yes, no, on and off for truth values: quote them." if isinstance(value, bool) else ""
    shown = str(value) if isinstance(value, datetime.date) else repr(value)
    shown = shown if len(shown) <= MOST_SHOWN else shown[: MOST_SHOWN - 1] + "…"
    return f"`{path}` must {rule}, but is {shown} instead.{hint}"


def _named_part(kls: Any, loc: Sequence[Any]) -> list[Any]:
    """``loc`` without pydantic's names for the alternatives of a union."""
    kept: list[Any] = []
    here = kls
    for part in loc:
        if is_mapping(here) and part != "[key]":
            kept.append(part)
            here = get_args(here)[-1]
        elif (section := section_of(here)) is not None:
            kept.append(part)
            field = section.model_fields.get(part)
            here = None if field is None else field.annotation
        elif isinstance(part, int):
            kept.append(part)
    return kept


def _siblings(kls: Any, loc: Sequence[Any]) -> list[str]:
    for part in loc:
        field = kls.model_fields.get(part)
        if field is None:  # a key of a mapping
            continue
        if (kls := section_of(field.annotation)) is None:
            return []
    return list(kls.model_fields)
