"""The error that a user can cause and can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Wrong input: an option, a setting or a file. The message is for the user, a line for each problem.

    The base of every such error; a command prints the message and ends with status 2.
    """
