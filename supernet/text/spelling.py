"""Unicode normalization, since texts are compared by code points. Imports nothing heavy."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

_UNSEEN = re.compile(
    "[\u00ad"  # soft hyphen
    "\u200b\u2060\ufeff\u180e"  # zero-width spaces and marks
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # directions, which letters imply
)
_JOINING = (
    "\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1b00-\u1cff\ua840-\ua9df\uaa60-\uaaff\uabc0-\uabff"
    "\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010aff\U00011000-\U00011fff"
    "\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
)
"""Arabic, Indic and related scripts, and emoji, in which joiners and non-joiners are meaningful."""
_MEANS_NOTHING = re.compile(f"(?<![{_JOINING}])[\u200c\u200d]+|[\u200c\u200d]+(?=\\s|$)")


def unified(text: str) -> str:
    """Normalize ``text`` to NFC (UAX #15) and remove invisible characters. Idempotent.

    Joiners and non-joiners are kept in scripts that need them, such as Persian.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MEANS_NOTHING.sub("", _UNSEEN.sub("", text)))


Case = Literal["as-is", "lower", "upper"]
"""The case of texts: as they are, or one case for all letters."""


def in_case(text: str, case: Case) -> str:
    """``text`` with all letters in ``case``."""
    return text if case == "as-is" else text.lower() if case == "lower" else text.upper()


def control_characters(text: str, spaces: bool = False) -> list[str]:
    """The distinct control characters (category Cc) of ``text``, as Python literals.

    Transcripts contain none except white space, which is included only with ``spaces``.
    """
    found = {
        character
        for character in text
        if unicodedata.category(character) == "Cc" and (spaces or not character.isspace())
    }
    return [repr(character) for character in sorted(found)]


def normal(text: str | None) -> str:
    """As ``unified``, with single spaces between words: a line break or tab would become a token."""
    return " ".join(unified(text or "").split())
