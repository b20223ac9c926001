"""One spelling for what looks the same, as texts are compared sign by sign. Imports nothing heavy."""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = re.compile(
    "[\u00ad"  # where a word may be hyphenated
    "\u200b\u2060\ufeff\u180e"  # spaces and marks without a width
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # directions, which the letters have, too
)
_JOINING = (
    "\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1b00-\u1cff\ua840-\ua9df\uaa60-\uaaff\uabc0-\uabff"
    "\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010aff\U00011000-\U00011fff"
    "\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
)
"""Arabic, Indic and related scripts, and pictures: what joins two signs, or parts them, has a meaning there.
"""
_MEANS_NOTHING = re.compile(f"(?<![{_JOINING}])[\u200c\u200d]+|[\u200c\u200d]+(?=\\s|$)")


def unified(text: str) -> str:
    """``text`` in Unicode's composed form (NFC, UAX #15), without signs that nobody sees or says; those that
    join letters or keep them apart stay in the scripts that need them, such as Persian's. Idempotent.
    """
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MEANS_NOTHING.sub("", _UNSEEN.sub("", text)))


def control_characters(text: str, spaces: bool = False) -> list[str]:
    """The control characters (Unicode's Cc) in ``text``, once each, as Python writes them: no transcript has
    any but white space, which is among them with ``spaces`` alone.
    """
    found = {sign for sign in text if unicodedata.category(sign) == "Cc" and (spaces or not sign.isspace())}
    return [repr(sign) for sign in sorted(found)]


def normal(text: str | None) -> str:
    """The same with single spaces between words: a line break or a tab would become a token."""
    return " ".join(unified(text or "").split())
