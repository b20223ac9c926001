"""The console for tables and bars, which prints every string literally."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from supernet.console.text import encodable
from supernet.text.plain import plain


class Screen(Console):
    """Rich's console without markup, emoji codes and highlighting.

    All strings in tables, titles and captions pass through ``render_str``: control characters become visible
    escapes, and brackets are kept. Sentences wrap between words on a terminal and not at all elsewhere, so
    that paths in them stay intact.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string to ``Text``; Rich calls this for every string."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(encodable(plain(text, lines=True), self.encoding), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        if objects and all(isinstance(o, str) for o in objects):
            objects = (self._wrapped(" ".join(objects)),)
            options.setdefault("soft_wrap", True)
        super().print(*objects, **options)

    def _wrapped(self, text: str) -> str:
        if not self.is_terminal:
            return text
        return "\n".join(
            textwrap.fill(line, self.width, break_long_words=False, break_on_hyphens=False)
            if not line.startswith(" ")  # a command to copy
            else line
            for line in text.split("\n")
        )


console = Screen()
