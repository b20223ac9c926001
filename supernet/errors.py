"""Errors that a user can cause and can mend, and checks whose problems are said together.

Python names the argument that is wrong; a command line names the option that it came from.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from types import TracebackType

_POSITIONAL = {"folder": "RUN"}
"""Arguments that command lines take without an option."""


class UserError(ValueError):
    """Wrong input: an option, a setting or a file. The message is for the user, a line for each problem.

    The base of every such error; a command prints the message and ends with status 2.
    """


class ArgumentError(UserError):
    """Arguments that cannot be used: a line for each problem, in which ``names`` stand in backticks."""

    def __init__(self, names: Collection[str], *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.names, self.problems = tuple(names), list(problems)

    def about_options(self) -> list[str]:
        """The same problems, in the words of a command line."""
        return [option_names(problem, self.names) for problem in self.problems]


class Checks:
    """Checks whose problems are said together: each in a ``with`` block of its own, then ``end``."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._problems: list[str] = []

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        if not isinstance(error, UserError):
            return False
        self._names += error.names if isinstance(error, ArgumentError) else ()
        self._problems += str(error).splitlines()
        return True

    def end(self) -> None:
        """Raise an ``ArgumentError`` of all problems, if there are any."""
        if self._problems:
            raise ArgumentError(self._names, *self._problems)


def option_names(text: str, names: Sequence[str]) -> str:
    """``text`` with `` `lm_weight` `` as `` `--lm-weight` ``, for each of ``names``."""
    if not names:
        return text
    known = "|".join(map(re.escape, names))
    return re.sub(f"`({known})`", lambda found: f"`{_option(found[1])}`", text)


def _option(name: str) -> str:
    return _POSITIONAL.get(name, f"--{name.replace('_', '-')}")
