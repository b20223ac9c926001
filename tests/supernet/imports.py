"""The modules that a process imports, as Python lists them on standard error."""

from __future__ import annotations

import re

LISTED = {"PYTHONPROFILEIMPORTTIME": "1"}
"""The environment in which a process lists them."""


def imported(errors: str) -> set[str]:
    """The full names of the modules that the process imported which wrote ``errors``."""
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", errors, flags=re.MULTILINE))
