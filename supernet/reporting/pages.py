"""Self-contained HTML pages."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from supernet.text.plain import plain


def page_environment(package: str) -> Environment:
    """The environment of templates named by their paths in ``package``, or else in ``supernet``.

    All values are escaped, and control characters in them, such as those that change the direction of a
    text, become visible escapes.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys((package, "supernet"))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: object) -> object:
    """A string with its control characters as visible escapes; other values, such as markup, unchanged."""
    return plain(value, lines=True) if type(value) is str else value
