"""The form in which the user called a command, and suggestions of commands in the same form."""

from __future__ import annotations

import shlex
import shutil
from importlib.metadata import entry_points

from supernet.console.text import is_quiet, say
from supernet.system.processes import is_main_process

GROUP = "supernet.commands"
"""Entry-point group of commands."""

_front: str | None = None


def called_through(front: str | None) -> None:
    """Remember the program, ``supernet`` or ``python -m supernet``; None for a command's own module."""
    global _front
    _front = front


def program(name: str) -> str:
    """The program of the command ``name``: ``supernet train`` or ``python -m supernet.train``."""
    if _front is not None:
        return f"{_front} {name}"
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return f"python -m {entry.value.partition(':')[0].removesuffix('.__main__')}"
    return f"supernet {name}"


def command(name: str, *arguments: object) -> str:
    """The command line of ``name`` with ``arguments``, quoted for a shell."""
    return " ".join([program(name), *(shlex.quote(str(argument)) for argument in arguments)])


def say_next(*suggestions: tuple[str, str]) -> None:
    """Suggest command lines, each with its purpose as a comment, unless ``--quiet`` is given.

    The purposes are printed above the lines if one does not fit beside its line.
    """
    if is_quiet() or not is_main_process():
        return
    width = max((len(line) for line, purpose in suggestions if purpose), default=0)
    longest = max((len(purpose) for _, purpose in suggestions), default=0)
    fits = 2 + width + 4 + longest <= shutil.get_terminal_size().columns
    say("next:")
    for line, purpose in suggestions:
        if purpose and not fits:
            say(f"  # {purpose}")
        say(f"  {line:<{width}}  # {purpose}" if purpose and fits else f"  {line}")
