"""Shell completion of commands and options."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from supernet.console.parser import OneOf, parsers_in
from supernet.errors import UserError

SHELLS = ("bash", "zsh", "fish")


def completion(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The completion script of the program ``supernet``, whose commands have ``parsers``."""
    try:
        import shtab
    except ImportError:
        raise UserError(
            "`--print-completion` must have shtab, but it is not installed: pip install shtab"
        ) from None
    whole = argparse.ArgumentParser(prog="supernet")
    whole.add_argument("--version", action="store_true", help="print the version, and end")
    commands = whole.add_subparsers()
    for name, parser in parsers.items():
        commands.add_parser(name, parents=[parser], add_help=False, help=parser.description)
    for one in parsers_in(whole):
        for action in one._actions:
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif isinstance(action.type, OneOf):
                action.choices = action.type.names
    script: str = shtab.complete(whole, shell)
    return script
