"""The page of all commands, written from their parsers."""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from docs.generators.markdown import code, table
from docs.generators.plugins import DISTRIBUTION
from supernet.__main__ import ORDER
from supernet.console.front import GROUP

INTRODUCTION = """\
# Commands

Each command can be run as `supernet NAME` and as the module that stands beside it. All of them take
`--version`, and `--quiet`, which prints results and errors only. Wrong options end in one line for each
problem and exit status 2. `supernet --print-completion bash` (zsh, fish) writes a script that completes
commands, options and names.

"""
COMMON = {"help", "version", "quiet"}
"""Options that every command has."""


def parsers() -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Module and parser of each command of this project, in the order of their use."""
    found = {e.name: e for e in entry_points(group=GROUP) if e.dist and e.dist.name == DISTRIBUTION}
    names = sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return {name: (module(found[name]), _parser(found[name])) for name in names}


def module(entry: EntryPoint) -> str:
    """The module to run with ``python -m``."""
    return entry.module.removesuffix(".__main__")


def _parser(entry: EntryPoint) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = import_module(entry.module).build_parser()
    return parser


def page() -> str:
    """The page in Markdown."""
    sections = [_section(name, place, parser) for name, (place, parser) in parsers().items()]
    return INTRODUCTION + "".join(sections)


def _section(name: str, place: str, parser: argparse.ArgumentParser) -> str:
    title = f"## `supernet {name}`\n\n{_text(parser.description, parser)}\n\nModule: `python -m {place}`.\n\n"
    inner = "".join(
        f"### `supernet {name} {sub}`\n\n{_text(_help(action, sub), parser)}.\n\n{_options(one)}"
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for sub, one in action.choices.items()
    )
    epilog = f"{_text(parser.epilog, parser)}\n\n" if parser.epilog else ""
    return title + _options(parser) + inner + epilog


def _subcommands(
    parser: argparse.ArgumentParser,
) -> list[argparse._SubParsersAction[argparse.ArgumentParser]]:
    return [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]


def _help(action: argparse.Action, name: str) -> str:
    return next((str(choice.help) for choice in action._choices_actions if choice.dest == name), "")  # type: ignore[attr-defined]


def _options(parser: argparse.ArgumentParser) -> str:
    rows = [
        (_usage(action), _text(action.help, parser))
        for action in parser._actions
        if action.dest not in COMMON and not isinstance(action, argparse._SubParsersAction)
    ]
    return table(("argument", "description"), rows) if rows else ""


def _usage(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return code(f"[{value}]" if action.nargs == "?" else f"{value} …" if action.nargs == "+" else value)
    value = {"?": f"[{value}]", "+": f"{value} …"}.get(str(action.nargs), value)
    names = ", ".join(code(f"{name} {value}".strip()) for name in action.option_strings)
    return f"{names} (required)" if action.required else names


def _text(text: str | None, parser: argparse.ArgumentParser) -> str:
    """Help as it is printed, with percent signs that argparse asks for written once."""
    return (text or "").replace("%%", "%").replace("<", "&lt;").replace("*", "\\*")
