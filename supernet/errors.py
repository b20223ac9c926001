"""Errors that a user can cause and correct, and checks that report all their problems together.

The library names the argument or setting that is wrong; a command translates arguments into its options (see
``supernet.console.option_names``).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import TracebackType


class UserError(ValueError):
    """Wrong input: an argument, a setting or a file.

    The base class of all such errors. The message is written for the user, one line per problem. A command
    prints it and exits with status 2.
    """


class ArgumentError(UserError):
    """Arguments that cannot be used.

    Args:
        names: The arguments that ``problems`` mention in backticks, such as ``lm_weight``.
        problems: One line each.
    """

    def __init__(self, names: Collection[str], *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.names, self.problems = tuple(names), list(problems)


class ConfigError(ArgumentError):
    """All problems of a configuration, one line each."""

    def __init__(self, problems: Sequence[str], names: Collection[str] = ()) -> None:
        super().__init__(names, *problems)


class AudioError(UserError):
    """A recording that cannot be used; the message is the reason alone, without the recording's name."""


class NoSuchFile(AudioError):
    """A recording that does not exist."""


class Divergence(RuntimeError):
    """Gradients were not finite in too many consecutive updates: no wrong input."""


class Checks:
    """Collect the problems of several checks and report them together.

    >>> checks = Checks()
    >>> with checks:
    ...     first()
    >>> with checks:
    ...     second()
    >>> checks.end()
    """

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
        """Raise an ``ArgumentError`` with all problems, if there are any."""
        if self._problems:
            raise ArgumentError(self._names, *self._problems)
