"""Segments of recordings, whose listed times may be rounded."""

from __future__ import annotations

TOLERANCE = 0.1
"""Seconds by which a segment may exceed its recording; listings round."""


def is_inside(start: float, duration: float, whole: float) -> bool:
    """Whether a segment lies between 0 and ``whole``, up to rounding; all in seconds."""
    return start >= -TOLERANCE and start + duration <= whole + TOLERANCE
