"""The page of all settings: those of a training, and the options of every task, method and strategy."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from docs.generators.markdown import prose
from docs.generators.options import PREFIX, options_table, settings_table
from docs.generators.plugins import plugins
from supernet.config import Config
from supernet.runs.resolve import settings as settings_of_training
from supernet.settings.listing import Setting
from supernet.settings.names import GROUPS

INTRODUCTION = """\
# Settings

Every setting can be given as `--set a.b=c`, or in a YAML file for `--config`; a preset is such a file, and a
run keeps all of its settings in `config.yaml`. `supernet train --settings` prints this list in a terminal,
`supernet train --settings train.` a part of it. An unknown or wrong setting is an error that says which may
be meant, and all errors are said at once.

"""


def page() -> str:
    """The page in Markdown."""
    return INTRODUCTION + "".join([*_sections(), *_plugins()])


def _sections() -> Iterable[str]:
    """The settings of every training: those without a section first, then section by section."""
    found = sorted(settings_of_training({}), key=lambda setting: _section(setting) != "")
    for section, settings in groupby(found, key=_section):
        field = Config.model_fields.get(section)
        title = f"## `{section}`\n\n{prose(field.description)}\n\n" if field else "## General\n\n"
        yield title + settings_table(settings)


def _section(setting: Setting) -> str:
    section, dot, _ = setting.name.partition(".")
    return section if dot else ""


def _plugins() -> Iterable[str]:
    for kind in GROUPS:
        found = {name: kls.Options for name, kls in plugins(kind).items() if hasattr(kls, "Options")}
        if found:
            yield f"## Options of each {kind}\n\n"
        for name, options in found.items():
            yield f"### {kind.capitalize()} `{name}`\n\n"
            yield options_table(options, PREFIX.get(kind, f"{name}."))
