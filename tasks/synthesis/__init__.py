"""What generated speech says, and with which voices."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Those of ``text``."""
    return tuple(text.split())
