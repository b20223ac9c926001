"""The layers of ``tasks/``, determined from its import statements."""

from __future__ import annotations

from pathlib import Path

from tests.test_architecture import FILES, ROOT, imports

LAYERS = """
files synthesis
audio
store
listing reading
formats options
corpus
converted
an4 digits generated_speech librispeech manifest speechocean762 tedlium2
commands
prepare
"""
"""Folders and files directly under ``tasks/``; each imports from the lines above its own only."""


def part(file: Path) -> str:
    return file.relative_to(ROOT / "tasks").parts[0].removesuffix(".py")


def test_tasks_are_built_in_layers() -> None:
    """Files do not depend on audio, audio not on manifests, manifests neither on listings nor on batches."""
    height = {name: i for i, line in enumerate(LAYERS.split("\n")) for name in line.split()}
    for file in FILES["tasks"]:
        for name in imports(file):
            package, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if package == "tasks" and other in height and other != part(file):
                assert height[other] < height[part(file)], f"{file.relative_to(ROOT)} imports {name}"


def test_everything_is_in_a_layer() -> None:
    assert {part(file) for file in FILES["tasks"]} - {"__init__"} == set(LAYERS.split())
