"""Docstrings as mkdocstrings should see them: references to code are code, papers are links."""

from __future__ import annotations

from typing import Any

import griffe

from docs.generators.markdown import prose


class Roles(griffe.Extension):
    """Rewrites every docstring once it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = prose(obj.docstring.value)
