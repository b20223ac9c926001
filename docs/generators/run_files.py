"""The page of a run folder's files, from the class that knows them and the records that check them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from docs.generators.markdown import code, first_line, prose, table, type_words
from supernet.runs import records
from supernet.runs.places import RunPlaces

INTRODUCTION = """\
# Files of a run

[A run folder](../run-folder.md) explains what each file is for. This page lists the places that the program
writes to, and the fields that it checks when it reads its JSON files: all other fields are for people.

"""


def page() -> str:
    """The page in Markdown."""
    rows = [(code(name), text) for name, text in sorted(places())]
    fields = "".join(_record(record) for record in _records())
    return f"{INTRODUCTION}## Places\n\n{table(('path', 'content'), rows)}## Fields\n\n{fields}"


def places() -> Iterator[tuple[str, str]]:
    """Every path that a run knows, relative to its folder, and what is there."""
    run = RunPlaces(Path("RUN"))
    for name, member in inspect.getmembers(RunPlaces):
        found = member.fget if isinstance(member, property) else member
        if name.startswith("_") or not inspect.isfunction(found):
            continue
        if inspect.signature(found).return_annotation != "Path":
            continue
        names = list(inspect.signature(found).parameters)[1:]
        path = getattr(run, name) if isinstance(member, property) else member(run, *map(str.upper, names))
        if path.is_relative_to(run.folder):
            yield path.relative_to(run.folder).as_posix(), first_line(found.__doc__)


def _records() -> list[type[BaseModel]]:
    found = [
        kls for kls in vars(records).values() if inspect.isclass(kls) and issubclass(kls, records.Record)
    ]
    return [kls for kls in found if kls is not records.Record]


def _record(kls: type[BaseModel]) -> str:
    rows = [(code(name), _type(field), prose(field.description)) for name, field in kls.model_fields.items()]
    return f"### `{kls.__name__}`\n\n{prose(kls.__doc__)}\n\n{table(('field', 'type', 'content'), rows)}"


def _type(field: Any) -> str:
    return type_words(field.annotation, field.metadata)
