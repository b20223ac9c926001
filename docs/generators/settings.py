"""The page of all settings: those of a training, and the options of every task, method and strategy."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from pydantic import BaseModel

from docs.generators.markdown import code, prose
from docs.generators.options import PREFIX, settings_table
from docs.generators.plugins import plugins
from supernet.config import Config
from supernet.runs.resolve import settings as settings_of_training
from supernet.settings.listing import Setting, settings_of
from supernet.settings.names import GROUPS, PluginKind

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
        configurable = {name: kls for name, kls in plugins(kind).items() if hasattr(kls, "Options")}
        found = {name: _options(kind, name, kls.Options) for name, kls in configurable.items()}
        if found:
            yield f"## Options of each {kind}\n\n"
        common = _common(list(found.values()))
        if common:
            yield f"### Every {kind}\n\n{settings_table(common)}"
        usual = {_key(option) for option in common}
        for name, options in found.items():
            own = [option for option in options if _key(option) not in usual]
            if own:
                yield f"### {kind.capitalize()} `{name}`\n\n{settings_table(own)}"
        if without := [code(name) for name, options in found.items() if not options]:
            yield f"Without options: {', '.join(without)}.\n\n"


def _options(kind: PluginKind, name: str, options: type[BaseModel]) -> list[Setting]:
    return list(settings_of(options, PREFIX.get(kind, f"{name}.")))


def _common(found: list[list[Setting]]) -> list[Setting]:
    """Options that all plug-ins of a kind have, with the defaults of most of them."""
    variants: dict[str, list[Setting]] = {}
    for option in (option for options in found for option in options):
        variants.setdefault(option.name, []).append(option)
    shared = [same for same in variants.values() if len(same) == len(found) > 1]
    return [_most_usual(same) for same in shared]


def _most_usual(options: list[Setting]) -> Setting:
    keys = [_key(option) for option in options]
    return max(options, key=lambda option: keys.count(_key(option)))


def _key(option: Setting) -> tuple[str, str, str]:
    return option.name, option.default, option.doc
