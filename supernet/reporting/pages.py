"""Pages of HTML that need nothing else."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from supernet.reporting.text import shown


def page_environment(package: str) -> Environment:
    """For templates that go by their paths in ``package``, or else in this one. All values are escaped, and
    control characters in them, such as those that turn the direction of a text, are shown.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(name, ".") for name in dict.fromkeys((package, "supernet"))]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
