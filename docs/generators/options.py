"""Tables of settings and of options of plug-ins."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from docs.generators.markdown import code, prose, table, type_words
from supernet.settings.listing import Setting, settings_of
from supernet.settings.names import PluginKind

PREFIX: dict[PluginKind, str] = {"task": "task.", "method": "method."}
"""The prefix of a plug-in's options; a strategy's options follow its name."""


def settings_table(settings: Iterable[Setting]) -> str:
    """Names, types, defaults and descriptions."""
    return table(
        ("setting", "type", "default", "description"),
        (
            (
                code(setting.name),
                type_words(setting.field.annotation, setting.field.metadata),
                code(setting.default),
                prose(setting.doc.replace("None:", "``null``:")),
            )
            for setting in settings
        ),
    )


def options_table(options: type[BaseModel], prefix: str) -> str:
    """The options of a plug-in, or a sentence where there are none."""
    settings = list(settings_of(options, prefix))
    return settings_table(settings) if settings else "No options.\n\n"
