"""The guides to plug-ins show the complete code of packages that are installed and tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_documents import ROOT, name, read
from tests.test_manual import DOCS, PAGES, blocks

GUIDES = {
    "write-a-strategy": "shapley",
    "write-a-method": "uniform",
    "write-a-task": "beeps",
    "write-a-granularity": "halves",
    "write-an-encoder": "neighbors",
    "write-a-head": "slots",
}
"""The package that each guide shows."""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_code_with_a_title_equals_the_file(page: Path) -> None:
    """A title without a folder is a file of the reader's own."""
    for language in ("python", "toml"):
        for title, text in blocks(page, language):
            if title is not None and "/" in title:
                assert text.strip("\n") in read(ROOT / title)


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_shows_the_whole_package(guide: str) -> None:
    page, package = DOCS / "how-to" / f"{guide}.md", f"tests/plugins/{GUIDES[guide]}"
    for file in (f"{package}/{GUIDES[guide]}.py", f"{package}/pyproject.toml"):
        language = "python" if file.endswith(".py") else "toml"
        shown = "\n".join(text for title, text in blocks(page, language) if title == file)
        assert without_blank_lines(shown) == without_blank_lines(read(ROOT / file))


def test_every_guide_to_plug_ins_has_a_package() -> None:
    assert {*GUIDES} == {page.stem for page in (DOCS / "how-to").glob("write-*.md")}


def without_blank_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("# ")]
