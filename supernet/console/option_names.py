"""Translate the library's arguments and settings into a command's options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from supernet.errors import ArgumentError

RUN = {"folder": "RUN"}
"""Arguments that most commands take without an option."""


def option_names(text: str, names: Sequence[str], exceptions: Mapping[str, str] = RUN) -> str:
    """Replace `` `lm_weight` `` by `` `--lm-weight` `` for each of ``names``.

    Args:
        text: A message of the library.
        names: The arguments that it may mention in backticks.
        exceptions: What the user calls arguments whose options have other names.
    """
    if not names:
        return text
    known = "|".join(map(re.escape, names))

    def option(found: re.Match[str]) -> str:
        name = found[1]
        return "`{}`".format(exceptions.get(name, "--" + name.replace("_", "-")))

    return re.sub(f"`({known})`", option, text)


def option_problems(error: ArgumentError, exceptions: Mapping[str, str] = RUN) -> list[str]:
    """The problems of ``error``, in the words of a command line."""
    return [option_names(problem, error.names, exceptions) for problem in error.problems]


def setting_options(text: str) -> str:
    """Replace settings with values, such as `` `task.tokens=bpe` ``, by the options that set them."""
    return re.sub(r"`(?=[a-z]\w*(\.\w+)+=)", "`--set ", text)
