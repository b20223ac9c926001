"""Parse options before anything heavy is imported, and report all their problems together."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from supernet.console.front import program
from supernet.console.siblings import find_siblings
from supernet.console.text import be_quiet, encodable, fail, put
from supernet.settings.names import nearest
from supernet.text.durations import chunk_and_ahead

DISTRIBUTION = "supernet-asr"


@dataclass(frozen=True)
class Wrong:
    """A value that cannot be used; ``rule`` reads ``must …, but is … instead``."""

    rule: str


Type = Callable[[str], Any]


def whole(least: int | None = None) -> Type:
    """The type of whole numbers that are at least ``least``."""

    def parse(text: str) -> int | Wrong:
        if re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text) is None:
            return Wrong(f"must be a whole number, but is '{text}' instead.")
        if least is not None and int(text) < least:
            return Wrong(f"must be at least {least}, but is {int(text)} instead.")
        return int(text)

    return parse


def number(text: str) -> float | Wrong:
    """The type of numbers."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else Wrong(f"must be a number, but is '{text}' instead.")


def chunk(text: str) -> str | Wrong:
    """The type of chunks, such as ``320ms`` or ``480ms+160ms``, which stay as they are written."""
    try:
        chunk_and_ahead(text)
    except ValueError as e:
        return Wrong(str(e))
    return text.strip()


def window(text: str) -> tuple[int, int] | Wrong:
    """The type of windows of updates, such as ``2000-3000``."""
    found = re.fullmatch(r"\s*(\d{1,18})\s*-\s*(\d{1,18})\s*", text)
    if found is None or int(found[1]) > int(found[2]):
        return Wrong(f"must be two numbers of updates such as 2000-3000, but is '{text}' instead.")
    return int(found[1]), int(found[2])


class OneOf:
    """The type of a fixed set of names, which shell completion offers."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, text: str) -> str | Wrong:
        if text in self.names:
            return text
        rule = f"must be one of {', '.join(self.names)}, but is '{text}' instead."
        return Wrong(rule + nearest(text, self.names))


class Parser(argparse.ArgumentParser):
    """An argument parser with this project's messages and the options that every command has."""

    def __init__(self, *, name: str | None = None, **options: Any) -> None:
        if name is not None:
            options["prog"] = program(name)
        options.setdefault("allow_abbrev", False)  # a typo must not abbreviate another option
        super().__init__(**options)
        self.add_argument("--version", action=_Version, help="print the version and exit")
        self.add_argument(
            "--quiet",
            action="store_true",
            default=argparse.SUPPRESS,  # a subcommand's parser must not reset what precedes it
            help="print results and errors only, without bars and notes",
        )

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Reject an empty word, as an unset shell variable leaves it: it is not the current folder."""
        if not arg_string.strip() and arg_string != action.const and action.choices is None:
            return Wrong("must not be empty, but is.")
        return super()._get_value(action, arg_string)

    def _print_message(self, message: str, file: Any = None) -> None:
        stream = file or sys.stdout
        put(encodable(message, stream.encoding or "utf-8"), stream)

    def error(self, message: str) -> NoReturn:
        fail(f"{_reworded(message, self._option_string_actions)} See {self.prog} --help.")


class _Version(argparse._VersionAction):
    """Print the version, which is looked up only now."""

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        from importlib.metadata import version

        put(f"supernet {version(DISTRIBUTION)}\n")
        raise SystemExit(0)


def parse(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    check: Callable[[argparse.Namespace], Iterable[str]] = lambda args: (),
) -> argparse.Namespace:
    """Parse a command line. Exits with status 2 and one line per problem if there are any.

    Args:
        parser: The options.
        arguments: The words of the command line; those of the process if None.
        check: Yields further problems; it sees only arguments that are valid by themselves.

    Returns:
        The arguments, and in ``words`` the unparsed command line.
    """
    args = parser.parse_args(arguments)
    args.words = sys.argv[1:] if arguments is None else list(arguments)
    be_quiet(getattr(args, "quiet", False))
    find_siblings()
    problems = [f"`{_label(parser, name)}` {wrong.rule}" for name, wrong in _wrong(args)]
    problems += check(_without_wrong(args))
    if problems:
        fail("\n".join(problems))
    return args


def _wrong(args: argparse.Namespace) -> Iterable[tuple[str, Wrong]]:
    for name, value in vars(args).items():
        for item in value if isinstance(value, list) and name != "words" else [value]:
            if isinstance(item, Wrong):
                yield name, item


def _without_wrong(args: argparse.Namespace) -> argparse.Namespace:
    def usable(value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in value if not isinstance(item, Wrong)]
        return None if isinstance(value, Wrong) else value

    return argparse.Namespace(**{name: usable(value) for name, value in vars(args).items()})


def _label(parser: argparse.ArgumentParser, name: str) -> str:
    """The name by which the user knows an argument."""
    for one in parsers_in(parser):
        for action in one._actions:
            if action.dest == name:
                return action.option_strings[0] if action.option_strings else str(action.metavar or name)
    return name


def parsers_in(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser and the parsers of its subcommands, recursively."""
    inner = [
        sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for sub in action.choices.values()
    ]
    return [parser, *(each for sub in inner for each in parsers_in(sub))]


def _reworded(message: str, options: Iterable[str]) -> str:
    """A message of argparse in the wording of this project."""
    if found := re.fullmatch(r"the following arguments are required: (.*)", message):
        return " ".join(f"`{name}` must be given, but is not." for name in found[1].split(", "))
    if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
        name = found[1].split(" ")[0].partition("=")[0]
        if name.startswith("-"):
            return f"`{name}` must be an option that exists, but is not.{nearest(name, options)}"
        return f"'{found[1]}' must be omitted or follow an option."
    if found := re.fullmatch(r"argument ([^:]+): invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
        known = found[3].replace("'", "")
        return f"`{_first(found[1])}` must be one of {known}, but is '{found[2]}' instead."
    if found := re.fullmatch(r"argument ([^:]+): expected (.*?) arguments?", message):
        count = "a value" if found[2] == "one" else f"{found[2]} value" + "s" * ("one" not in found[2])
        return f"`{_first(found[1])}` must have {count}, but has none."
    if found := re.fullmatch(r"argument ([^:]+): (?:ignored explicit argument (.*))", message):
        return f"`{_first(found[1])}` must not have a value, but has {found[2]}."
    if found := re.fullmatch(r"argument ([^:]+): (.*)", message):
        return f"`{_first(found[1])}`: {found[2]}."
    return f"{message}."


def _first(name: str) -> str:
    """``--size`` of ``--size/--budget``."""
    return name.split("/")[0]
