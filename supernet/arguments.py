"""Errors in arguments: Python names the argument, a command line the option that it came from."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from supernet.errors import UserError

_POSITIONAL = {"folder": "RUN"}
"""Arguments that command lines take without an option."""


class ArgumentError(UserError):
    """Arguments that cannot be used: a line for each problem, in which ``names`` stand in backticks."""

    def __init__(self, names: Collection[str], *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.names, self.problems = tuple(names), list(problems)

    def about_options(self) -> list[str]:
        """The same problems, in the words of a command line."""
        return [option_names(problem, self.names) for problem in self.problems]


def option_names(text: str, names: Sequence[str]) -> str:
    """``text`` with `` `lm_weight` `` as `` `--lm-weight` ``, for each of ``names``."""
    known = "|".join(map(re.escape, names))
    return re.sub(f"`({known})`", lambda found: f"`{_option(found[1])}`", text)


def _option(name: str) -> str:
    return _POSITIONAL.get(name, f"--{name.replace('_', '-')}")
