"""The aim of a cascade's threshold: fewest errors, least cost, or a value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """The wanted threshold."""

    kind: Literal["auto", "macs", "errors", "threshold"]
    """``auto``: no more errors than the largest size, at the least cost. ``macs``: the fewest errors at a
    cost of at most a share of the largest size's. ``errors``: the least cost at an error rate of at most a
    share. ``threshold``: the threshold itself.
    """
    amount: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Target:
        """Parse ``auto``, ``macs=60%``, ``errors=2.5%`` or a number.

        Raises:
            ValueError: It is none of these; the message is a rule.
        """
        text = text.strip()
        if text == "auto":
            return cls("auto")
        if found := re.fullmatch(r"(macs|errors)=(\d{1,9}(?:\.\d{0,9})?)%", text):
            return cls("macs" if found[1] == "macs" else "errors", float(found[2]) / 100)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"must be auto, macs=60%, errors=2% or a number of at least 0, but is '{text}' instead."
            )
        return cls("threshold", value)

    def __str__(self) -> str:
        if self.kind == "auto":
            return "auto"
        return f"{self.amount:g}" if self.kind == "threshold" else f"{self.kind}={100 * self.amount:g}%"


def given_threshold(text: str) -> Target:
    """Parse ``auto``, which is the threshold that was fitted, or a number.

    Raises:
        ValueError: It is neither; the message is a rule.
    """
    try:
        target = Target.parse(text)
    except ValueError:
        target = None
    if target is None or target.kind not in ("auto", "threshold"):
        raise ValueError(f"must be auto or a number of at least 0, but is '{text}' instead.")
    return target
