"""Pages of plug-ins, found through their entry points: the description, papers and options of each."""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib.metadata import entry_points
from typing import Any

from docs.generators.markdown import code, first_line, papers, prose, table
from docs.generators.options import PREFIX, options_table
from supernet.settings.names import GROUPS, PluginKind

DISTRIBUTION = "supernet-asr"


def plugins(kind: PluginKind) -> dict[str, Any]:
    """The plug-ins of this project, by name, in the order in which it lists them."""
    found = entry_points(group=GROUPS[kind])
    return {entry.name: entry.load() for entry in found if entry.dist and entry.dist.name == DISTRIBUTION}


def page(kind: PluginKind, title: str, introduction: str) -> str:
    """A page of all plug-ins of a kind, in Markdown."""
    sections = [_section(kind, name, kls) for name, kls in plugins(kind).items()]
    return f"# {title}\n\n{introduction}\n\n" + "".join(sections)


def page_of_kinds(title: str, introduction: str, leave: Collection[PluginKind]) -> str:
    """A page of the plug-ins of all kinds but some, without their options."""
    parts = [f"# {title}\n\n{introduction}\n\n"]
    for kind in (kind for kind in GROUPS if kind not in leave):
        parts.append(f"## {GROUPS[kind].rpartition('.')[2].capitalize()}\n\n")
        parts.append(f"Entry points: `{GROUPS[kind]}`.\n\n")
        found = plugins(kind).items()
        parts.append(
            table(
                ("name", "description", "code"),
                ((code(n), first_line(k.__doc__), code(k.__module__)) for n, k in found),
            )
        )
    return "".join(parts)


def _section(kind: PluginKind, name: str, kls: Any) -> str:
    module = sys.modules[kls.__module__]
    cited = papers(kls.__doc__, module.__doc__)
    facts = [f"Code: `{kls.__module__}`."] + ([f"Paper: {', '.join(cited)}."] if cited else [])
    options = getattr(kls, "Options", None)
    parts = [f"## `{name}`", prose(kls.__doc__), " ".join(facts)]
    return (
        "\n\n".join(parts)
        + "\n\n"
        + (options_table(options, PREFIX.get(kind, f"{name}.")) if options else "")
    )
