"""Sentences and voices of generated speech, and their synthesis."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """Split ``text`` into words."""
    return tuple(text.split())
