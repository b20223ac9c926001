"""Plug-ins by their entry points; their options, and whatever is wrong with a model's data, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, get_args

from pydantic import ValidationError

from supernet.names import GROUPS, PluginKind, nearest, plugin_names
from supernet.settings import elsewhere, is_mapping, section_of

Names = Callable[[], Iterable[str]]
"""All settings that may have been meant, asked for where one is unknown."""


def find_plugin(kind: PluginKind, name: str) -> Any:
    """The class of a plug-in. Raises :class:`ValueError`, with the reason in words, where there is none."""
    names = plugin_names(kind)
    if name not in names:
        raise ValueError(
            f"`{kind}` must be one of {', '.join(names)}, but is '{name}' instead.{nearest(name, names)}"
        )
    entry = next(entry for entry in entry_points(group=GROUPS[kind]) if entry.name == name)
    try:
        return entry.load()
    except (ImportError, AttributeError) as e:
        raise ValueError(f"`{kind}` '{name}' must be importable, but is not: {e}.") from None


def load_plugin(
    kind: PluginKind, data: Any, problems: list[str], prefix: str | None = None, names: Names = tuple
) -> tuple[Any, Any]:
    """The plug-in's class and its validated options; what is wrong goes to ``problems``.

    ``data`` is its name, or a mapping of ``name`` and options; ``prefix`` stands before options in messages.
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
    """``data`` as a ``kls``, or None, and a line for each thing that is wrong with it in ``problems``.

    ``names`` are the settings that an unknown one may be meant for, beside those of its own section.
    """
    try:
        return kls.model_validate(data)
    except ValidationError as e:
        rules: dict[str, tuple[list[str], Any]] = {}
        for error in e.errors():
            loc = _named_part(kls, error["loc"])
            path = prefix + ".".join(str(part) for part in loc)
            if error["type"] == "extra_forbidden":
                problems.append(_unknown(kls, prefix, loc, names))
            elif error["type"] == "value_error":
                problems += [f"{problem}." for problem in str(error["ctx"]["error"]).split("; ")]
            else:  # of alternatives, each has something to say
                rules.setdefault(path, ([], error["input"]))[0].append(_rule(error["msg"]))
        problems += [_wrong(path, found, value) for path, (found, value) in rules.items()]
        return None


def _meant(found: Sequence[str]) -> str:
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _unknown(kls: Any, prefix: str, loc: Sequence[Any], names: Names) -> str:
    path = prefix + ".".join(str(part) for part in loc)
    known, siblings = list(names()), _siblings(kls, loc[:-1])
    hint = _meant(elsewhere(path, known, is_exact=True)) or nearest(str(loc[-1]), siblings)
    hint = hint or _meant(elsewhere(path, known))
    return f"`{path}` must be a setting that exists, but is not.{hint}"


_RULES = {
    "valid integer": "a whole number",
    "valid number": "a number",
    "valid boolean": "true or false",
    "valid string": "a text",
    "valid tuple": "a list",
    "valid list": "a list",
    "valid dictionary": "a mapping of settings",
    "valid path": "a path",
    "not a valid path": "a path",
    "instance of": "a mapping of settings",
}


def _rule(message: str) -> str:
    """What the validation library says of a value, as the end of a sentence with "must"."""
    if message == "Field required":
        return "be given"
    ours = next((f"be {rule}" for theirs, rule in _RULES.items() if theirs in message), None)
    return ours or message.replace("Input should be ", "be ").replace("Input should have ", "have ")


def _wrong(path: str, rules: Sequence[str], value: Any) -> str:
    rule = " or ".join([rules[0], *(rule.removeprefix("be ") for rule in rules[1:])])
    hint = " YAML takes yes, no, on and off for truth values: quote them." if isinstance(value, bool) else ""
    if rules == ["be given"]:
        return f"`{path}` must be given, but is not."
    return f"`{path}` must {rule}, but is {value!r} instead.{hint}"


def _named_part(kls: Any, loc: Sequence[Any]) -> list[Any]:
    """``loc`` without the validation library's names for the alternatives of a type."""
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
