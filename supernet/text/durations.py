"""Durations as users write them."""

from __future__ import annotations

import re

_UNITS = {"ms": 1.0, "s": 1000.0}


def milliseconds(text: str) -> float:
    """The milliseconds of ``320ms`` or ``0.32s``.

    Raises:
        ValueError: It is no duration; the message is a rule.
    """
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s)\s*", text)
    if found is None:
        raise ValueError(f"must be a duration such as 320ms or 0.32s, but is '{text}' instead.")
    return float(found[1]) * _UNITS[found[2]]
