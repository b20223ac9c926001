"""Write the reference pages into the site that is being built; mkdocs-gen-files runs this file."""

from __future__ import annotations

import sys
from pathlib import Path

import mkdocs_gen_files

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.generators import commands, plugins, presets, python_api, run_files, settings

STRATEGIES = """\
A strategy chooses which units a subnet keeps, once a supernet is trained: `supernet select RUN`. Options are
given as `--set NAME.OPTION=VALUE`. [Choosing units](../tutorials/choosing-units.md) compares them,
[Write a strategy](../how-to/write-a-strategy.md) adds one."""
METHODS = """\
A method is a way to train a supernet: `supernet train --method NAME`. [Methods](../methods.md) has the
equations, and what differs from the papers. [Write a method](../how-to/write-a-method.md) adds one."""

OTHERS = """\
Everything else that a package can add, and what comes with the project: [tasks](../how-to/write-a-task.md)
turn corpora into batches, [granularities](../how-to/write-a-granularity.md) say what a unit is,
[encoders](../how-to/write-an-encoder.md) are frontends and layers, [heads](../how-to/write-a-head.md) compute
losses and tokens."""

PAGES = {
    "settings": settings.page(),
    "presets": presets.page(),
    "commands": commands.page(),
    "strategies": plugins.page("strategy", "Strategies", STRATEGIES),
    "methods": plugins.page("method", "Methods of training", METHODS),
    "plug-ins": plugins.page_of_kinds("Other plug-ins", OTHERS, leave=("strategy", "method")),
    "run-files": run_files.page(),
    "python": python_api.page(),
}
for name, text in PAGES.items():
    with mkdocs_gen_files.open(f"reference/{name}.md", "w") as file:
        file.write(text)
