"""The page of presets: the comment at the beginning of each file, and the settings in it."""

from __future__ import annotations

from itertools import takewhile

from supernet.settings.names import presets, shipped_text

INTRODUCTION = """\
# Presets

`supernet train --preset NAME` starts from the settings of a preset; options and `--set` go over them. A
preset holds the differences from the defaults, or from the preset that it names itself. The files are in
`configs/`.

"""


def page() -> str:
    """The page in Markdown."""
    return INTRODUCTION + "".join(_section(name, shipped_text(name)) for name in presets())


def _section(name: str, text: str) -> str:
    lines = text.splitlines()
    comment = list(takewhile(lambda line: line.startswith("#"), lines))
    settings = "\n".join(lines[len(comment) :])
    summary, *details = "\n".join(line.removeprefix("#").removeprefix(" ") for line in comment).split("\n\n")
    more = "".join(f"```text\n{detail}\n```\n\n" for detail in details)
    return f"## `{name}`\n\n{summary}\n\n{more}```yaml\n{settings}\n```\n\n"
