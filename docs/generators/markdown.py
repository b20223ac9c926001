"""Markdown made of docstrings, types and tables."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_ARXIV = re.compile(r"(?<![\w/.\[])(\d{4}\.\d{5})(?![\w\]])")
_ROLE = re.compile(r":(?:class|meth|func|attr|mod|data|exc):`~?([^`]+)`")
_DOCTEST = re.compile(r"(?:^>>> .*\n?)+", re.MULTILINE)
_SIMPLE = {bool: "true or false", int: "whole number", float: "number", str: "text", Any: "anything"}


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: papers are links, references to code and examples are code."""
    text = _DOCTEST.sub(_fenced, inspect.cleandoc(docstring or ""))
    text = _ROLE.sub(lambda found: f"`{found[1].rpartition('.')[2]}`", text.replace("``", "`"))
    return _ARXIV.sub(r"[\1](https://arxiv.org/abs/\1)", text)


def _fenced(found: re.Match[str]) -> str:
    return "```python\n" + found[0].replace(">>> ", "").rstrip() + "\n```"


def first_line(docstring: str | None) -> str:
    """The first sentence or paragraph of a docstring, as Markdown."""
    return " ".join(prose((docstring or "").split("\n\n")[0]).split())


def papers(*texts: str | None) -> list[str]:
    """The arXiv ids in ``texts``, each once, as links."""
    found = dict.fromkeys(match for text in texts for match in _ARXIV.findall(text or ""))
    return [f"[{paper}](https://arxiv.org/abs/{paper})" for paper in found]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, with an empty line after it."""
    lines = [head, ["---"] * len(head), *([cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def cell(text: str) -> str:
    """Text that may stand in a cell of a table, where a bar ends a cell unless it is code."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"[ \n]+", " ", text).strip())
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)


def code(text: str) -> str:
    """Code in a line of text."""
    return f"`{text}`" if text else ""


def type_words(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    """A type of a setting in words, with its limits."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return type_words(inner, [*more, *constraints])
    if get_origin(annotation) in (Union, types.UnionType):  # limits are not those of null
        parts = [type_words(part, () if part is type(None) else constraints) for part in get_args(annotation)]
        return " or ".join(parts)
    return f"{_unlimited(annotation)} {_limits(constraints)}".rstrip()


def _unlimited(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return " or ".join(code(str(value)) for value in inner)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping of {_plural(type_words(inner[0]))} to {_plural(type_words(inner[1]))}"
    if origin in (tuple, list):
        if origin is list or inner[1:] == (Ellipsis,):
            return f"list of {_plural(type_words(inner[0]))}"
        return f"[{'; '.join(map(type_words, inner))}]"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "settings"
    return str(getattr(annotation, "__name__", annotation)).lower()


def _plural(words: str) -> str:
    return re.sub(r"^(whole number|number|text)\b", r"\1s", words)


def _limits(constraints: Sequence[Any]) -> str:
    flat = [part for found in constraints for part in _parts(found)]
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = ((sign, getattr(part, name, None)) for name, sign in signs.items() for part in flat)
    return ", ".join(f"{sign}\N{NO-BREAK SPACE}{value:g}" for sign, value in found if value is not None)


def _parts(constraint: Any) -> Sequence[Any]:
    return constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
