"""Messages on invalid values are for users: they contain no names of the validation library."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from selection.study.definition import CompareDefinition
from selection.study.tune_definition import TuneDefinition
from supernet.config import Config
from supernet.settings.names import GROUPS, plugin_names
from supernet.settings.plugins import find_plugin, validated

INTERNAL = re.compile(
    r"Input|should|tagged|union|function-|pydantic|\[type|_error|validation|NoneType|instance|dictionary"
    r"|constrained|parse|tuple|\b(str|int|float|bool|dict|list|none|model)\["
    r"|Extra|discriminator|\bkey(s|word)|attribute|\biteration\b|unhashable|Decimal|datetime|schema",
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**30),
    st.floats(),
    st.sampled_from(["", "no", "layers", "characters", "1.5", "nan", "0x10", "a b", "tail", "simple-top-k"]),
    st.just(datetime.date(2024, 1, 1)),  # YAML reads 2024-01-01 as a date
    st.just(b"bytes"),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "a", 1, "x.y"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def models() -> Iterator[tuple[str, Any]]:
    yield "", Config
    yield "study.", CompareDefinition
    yield "study.", TuneDefinition
    for kind in GROUPS:
        for name in plugin_names(kind):
            if (options := getattr(find_plugin(kind, name), "Options", None)) is not None:
                yield f"{name}.", options


def places(kls: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every setting of a model, including those in sections."""
    for name, field in kls.model_fields.items():
        yield (*before, name)
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from places(part, (*before, name))


ALL = [(prefix, kls, place) for prefix, kls in models() for place in places(kls)]


def complaints(prefix: str, kls: Any, place: tuple[str, ...], value: Any) -> list[str]:
    data: Any = value
    for name in reversed(place):
        data = {name: data}
    problems: list[str] = []
    validated(kls, data, prefix, problems)
    return problems


def test_there_are_settings_to_try() -> None:
    names = {".".join(place) for _, _, place in ALL}
    assert {"model.dim", "train.schedule", "passes.shares", "sizes", "noise.snr", "space", "methods"} <= names


@settings(max_examples=2000)
@given(st.sampled_from(ALL), VALUES)
def test_messages_are_for_users(where: tuple[str, Any, tuple[str, ...]], value: Any) -> None:
    prefix, kls, place = where
    for line in complaints(prefix, kls, place, value):
        said = line.partition(", but")[0]  # the value itself follows
        assert not INTERNAL.search(said), line
        assert line[0] != " "
        assert line.endswith((".", "?")), line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("seed",), "x", "`seed` must be a whole number, but is 'x' instead."),
        (("sizes",), 6, "`sizes` must be a list, but is 6 instead."),
        (
            ("granularity",),
            "head",
            "`granularity` must be one of component, layer, module, but is 'head' instead.",
        ),
        (("model", "self_conditioning"), "perhaps", "`model.self_conditioning` must be true or false"),
        (("model",), 3, "`model` must be a mapping of settings, but is 3 instead."),
    ],
)
def test_examples_of_messages(place: tuple[str, ...], value: Any, expected: str) -> None:
    (line,) = complaints("", Config, place, value)
    assert expected in line
