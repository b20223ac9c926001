"""The modules that a process imports, which Python can list on standard error."""

from __future__ import annotations

import re

LISTED = {"PYTHONPROFILEIMPORTTIME": "1"}
"""The environment variables with which a process lists them."""


def imported(errors: str) -> set[str]:
    """The full names of imported modules, from the standard error of a process."""
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", errors, flags=re.MULTILINE))
