"""``supernet COMMAND``, also ``python -m supernet COMMAND``: the commands of the project and of plug-ins."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from supernet.console.completion import SHELLS, completion
from supernet.console.front import GROUP, called_through
from supernet.console.guard import main_guard
from supernet.console.parser import OneOf, Parser, parse
from supernet.console.siblings import find_siblings
from supernet.console.text import fail, put
from supernet.settings.names import nearest

ORDER = (
    "prepare", "train", "evaluate", "transcribe", "select", "cut", "export", "latency", "demo", "push",
    "pareto", "study", "worth",
)  # fmt: skip
"""The project's own commands as they are used one after the other; those of plug-ins follow."""


def main(arguments: list[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else arguments
    front = "python -m supernet" if Path(sys.argv[0]).name == "__main__.py" else "supernet"
    find_siblings()
    called_through(front)
    try:
        if words and not words[0].startswith("-"):
            _run(words[0], words[1:])
        else:
            _about_all(front, words)
    finally:
        called_through(None)


def _run(name: str, words: list[str]) -> None:
    found = _commands()
    if name not in found:
        fail(f"`COMMAND` must be one of {', '.join(found)}, but is '{name}' instead.{nearest(name, found)}")
    with main_guard():
        found[name].load()(words)


def _about_all(front: str, words: list[str]) -> None:
    parser = Parser(
        prog=front,
        usage=f"{front} COMMAND …",
        description="Train one speech recognizer; cut smaller ones out of it without fine-tuning.",
        epilog=f"Options of a command: {front} COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--print-completion",
        metavar="|".join(SHELLS),
        type=OneOf(*SHELLS),
        help="a script that completes options, e.g. for ~/.local/share/bash-completion/completions/supernet",
    )
    commands = parser.add_argument_group("commands")
    args = parse(parser, [word for word in words if word not in ("-h", "--help")])
    with main_guard():
        parsers = dict(_parsers())
        if args.print_completion:
            put(completion(args.print_completion, parsers))
            return
        for name, one in parsers.items():
            commands.add_argument(name, help=one.description, nargs="?")
        parser.print_help()


def _commands() -> dict[str, EntryPoint]:
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    known = [name for name in ORDER if name in found]
    return {name: found[name] for name in [*known, *sorted(set(found) - set(known))]}


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The options of each command; its module has them in ``build_parser``."""
    for name, entry in _commands().items():
        yield name, import_module(entry.module).build_parser()


if __name__ == "__main__":
    main()
