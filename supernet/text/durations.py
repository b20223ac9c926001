"""Durations as users write them."""

from __future__ import annotations

import re

_UNITS = {"ms": 1.0, "s": 1000.0}


def chunk_and_ahead(text: str) -> tuple[float, float]:
    """The milliseconds of a chunk and of its look-ahead: ``320ms``, or ``480ms+160ms``.

    Raises:
        ValueError: It is neither; the message is a rule.
    """
    chunk, plus, ahead = text.partition("+")
    try:
        return milliseconds(chunk), milliseconds(ahead) if plus else 0.0
    except ValueError:
        raise ValueError(
            f"must be a duration such as 320ms, or two such as 480ms+160ms, but is '{text}' instead."
        ) from None


def chunk_and_ahead_in_frames(text: str, frame: float) -> tuple[int, int]:
    """The frames of a chunk and of its look-ahead.

    Args:
        text: Durations as ``chunk_and_ahead`` reads them.
        frame: The milliseconds of a frame.

    Raises:
        ValueError: They are no durations, or not of whole frames; the message is a rule.
    """
    durations = chunk_and_ahead(text)
    chunk, ahead = (round(each / frame) for each in durations)
    if chunk < 1 or abs(chunk * frame - durations[0]) > 1e-6 or abs(ahead * frame - durations[1]) > 1e-6:
        raise ValueError(
            f"must be a multiple of {frame:g}ms, a frame after the frontend, but is {text} instead."
        )
    return chunk, ahead


def milliseconds(text: str) -> float:
    """The milliseconds of ``320ms`` or ``0.32s``.

    Raises:
        ValueError: It is no duration; the message is a rule.
    """
    found = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s)\s*", text)
    if found is None:
        raise ValueError(f"must be a duration such as 320ms or 0.32s, but is '{text}' instead.")
    return float(found[1]) * _UNITS[found[2]]
