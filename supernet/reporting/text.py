"""Text of files on its way into a page."""

from __future__ import annotations

from supernet.text.plain import plain


def shown(value: object) -> object:
    """A text with its control characters as visible escapes; anything else as it is, also finished markup."""
    return plain(value, lines=True) if type(value) is str else value
