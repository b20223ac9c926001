"""The documents: their headers, tables, figures and commands."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
BUILD = RESULTS / "build.py"
ARCHIVE = sorted((RESULTS / "archive").glob("*.md"))
CURRENT = sorted(RESULTS.glob("????-??-??-*.md"))
DAYS = sorted((ROOT / "docs" / "log").glob("????-??-??.md"))
HEADER = ["Date", "Status", "Commit", "Preset", "Task", "Hardware", "Seeds", "Command"]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
PROGRAM = {
    entry.name: entry.module.removesuffix(".__main__") for entry in entry_points(group="supernet.commands")
}
"""The module of each command of the program ``supernet``."""
WITH_SETTINGS = {"supernet.train", "selection.study"}


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def header(page: Path) -> dict[str, str]:
    """The rows of the table below the title."""
    title, blank, first, rule, *rest = read(page).splitlines()
    assert (title[:2], blank, rule) == ("# ", "", "|---|---|")
    rows = [line.strip("| ").split(" | ", 1) for line in (first, *rest[: rest.index("")])]
    return {key: value for key, value in rows}


def test_the_summary_of_results_is_short() -> None:
    text = read(ROOT / "RESULTS.md")
    assert len(text.split()) <= 900
    assert "## Known faults of these figures" in text
    assert "## What is not shown" in text


@pytest.mark.parametrize("page", CURRENT + ARCHIVE, ids=name)
def test_a_study_has_its_header_and_a_summary(page: Path) -> None:
    found = header(page)
    assert list(found) == HEADER
    assert all(found.values())
    assert page.stem[:10] in found["Date"]
    summary = read(page).split("\n\n")[2]
    assert summary[0].isalpha()
    assert 30 <= len(summary.split()) <= 100


@pytest.mark.parametrize("page", CURRENT + ARCHIVE, ids=name)
def test_superseded_studies_are_in_the_archive(page: Path) -> None:
    status = header(page)["Status"]
    assert (status == "current") == (page in CURRENT)
    assert re.match(r"current$|void: |superseded by \[[^]]+\]\(\.\./[\w-]+\.md\)$", status)


def test_the_indexes_list_every_page() -> None:
    listed = LINK.findall(read(RESULTS / "index.md"))
    assert {RESULTS / target for target in listed} >= {*CURRENT, *ARCHIVE}
    days = re.findall(r"^\| \[[-\d]+\]\((.*?)\)", read(ROOT / "docs" / "log" / "index.md"), re.MULTILINE)
    assert days == [day.name for day in reversed(DAYS)]


def test_tables_match_their_data() -> None:
    done = subprocess.run([sys.executable, BUILD, "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_table_has_data_and_all_data_have_a_table() -> None:
    used = [table for page in CURRENT + ARCHIVE for table in re.findall(r"<!-- table: (.*?) -->", read(page))]
    assert sorted(used) == sorted(file.stem for file in (RESULTS / "data").iterdir())


def test_a_table_that_differs_from_its_data_is_detected() -> None:
    spec = importlib.util.spec_from_file_location("build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    text = "before\n<!-- table: control-grown-alone -->\n| 9.99 |\n<!-- end of table -->\nafter\n"
    filled = build.filled(text)
    assert filled.startswith("before\n<!-- table: control-grown-alone -->\n| training, seed 0 | 12 layers |")
    assert "| 12 layers grown alone, then cut | 1.78 | 1.81 | 1.59 | 21,128 |\n" in filled
    assert filled.endswith("<!-- end of table -->\nafter\n")
    assert "9.99" not in filled
    assert build.markdown([["a|b", ""], ["1\n2", "3"]]) == "| a\\|b |  |\n|---|---|\n| 1<br>2 | 3 |"
    assert (
        build.markdown([["1 (1–2)"], ["+3 [2, 4]"]]) == "| 1 (1\u2060–\u20602) |\n|---|\n| +3 [2,\u00a04] |"
    )


def test_the_figure_shows_the_means_of_its_tables() -> None:
    shown = set(re.findall(r">(\d\.\d\d)<", read(RESULTS / "equal-compute.svg")))
    rows = read(RESULTS / "data" / "equal-compute.csv").splitlines()[1:-1]
    means = {mean for row in rows for mean in re.findall(r"\((\d\.\d\d)\)", row)}
    assert len(means) == 9
    assert means <= shown
    assert {"1.78", "1.81", "1.59"} <= shown


def test_every_rate_in_the_summary_is_in_a_study() -> None:
    studies = "".join(read(page) for page in CURRENT + ARCHIVE)
    rates = re.findall(r"(?<![\d.])\d+\.\d\d(?!\d)", read(ROOT / "RESULTS.md"))
    assert len(rates) > 20
    assert [rate for rate in rates if rate not in studies] == []


@pytest.mark.parametrize("page", [ROOT / "RESULTS.md", *CURRENT, *ARCHIVE, *DAYS], ids=name)
def test_links_lead_to_existing_files(page: Path) -> None:
    targets = [target for target in LINK.findall(read(page)) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).is_file()] == []


def test_the_methods_page_names_every_paper_that_the_code_cites() -> None:
    paper = re.compile(r"(?<![\w.])\d{4}\.\d{5}(?!\d)")
    files = [file for folder in ("supernet", "selection", "tasks") for file in (ROOT / folder).rglob("*.py")]
    cited = {found for file in files for found in paper.findall(read(file))}
    assert len(cited) > 15
    assert cited - {*paper.findall(read(ROOT / "docs" / "methods.md"))} == set()


def commands(page: Path) -> Iterator[list[str]]:
    """The module and arguments of each of the project's commands on a page, in blocks and lines of text."""
    text = read(page)
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    yield from filter(None, (command(part) for line in lines for part in line.split(" && ")))
    outside = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    for words in filter(None, map(command, re.findall(r"`([^`\n]+)`", outside))):
        if set(words[1:]) - {"compare", "tune", "report"}:  # otherwise the name of a command
            yield words


def command(line: str) -> list[str]:
    """The module and arguments of a line, if it is a complete command."""
    line = re.sub(r"^(\w+=\S+ )+|^torchrun .*?(?=-m )", "", line)
    line = f"python {line}" if line.startswith("-m ") else line
    if not re.match(r"python -m |supernet \w", line) or "…" in line:
        return []
    words = shlex.split(line, comments=True)
    return words[2:] if words[0] == "python" else [PROGRAM[words[1]], *words[2:]]


def shown(*pages: Path) -> list[Any]:
    return [
        pytest.param(words, id=f"{page.stem}: {' '.join(words)}")
        for page in pages
        for words in commands(page)
    ]


STUDIES = shown(ROOT / "RESULTS.md", *CURRENT)


def test_there_are_commands_to_check() -> None:
    assert len(STUDIES) > 20


@pytest.mark.parametrize("words", STUDIES)
def test_commands_have_valid_options(words: list[str]) -> None:
    module, *arguments = words
    if module == "pytest":
        assert [word for word in arguments if word.startswith("tests") and not (ROOT / word).exists()] == []
    elif module in PROGRAM.values():
        parsed(module, arguments)
    else:
        assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("words", [one for one in STUDIES if one.values[0][0] in WITH_SETTINGS])
def test_the_settings_of_a_study_exist(words: list[str]) -> None:
    module, *arguments = words
    assert problems(module, parsed(module, arguments)) == []


def test_an_invalid_command_is_detected(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`supernet train --set train.lrr=1`\n```bash\nsupernet study compare --out F --setp 1  # x\n```\n"
    )
    (block, line) = commands(page)
    assert line == ["supernet.train", "--set", "train.lrr=1"]
    assert ["train.lrr" in problem for problem in problems(line[0], parsed(line[0], line[1:]))] == [True]
    assert block == ["selection.study", "compare", "--out", "F", "--setp", "1"]
    with pytest.raises(SystemExit):
        parsed(block[0], block[1:])


def parsed(module: str, arguments: list[str]) -> argparse.Namespace:
    from supernet.console.parser import parse

    found = importlib.import_module(module)
    if hasattr(found, "__path__"):
        found = importlib.import_module(f"{module}.__main__")
    return parse(found.build_parser(), arguments)


def problems(module: str, args: argparse.Namespace) -> list[str]:
    """The problems of the settings of a training or study, found without a corpus."""
    from selection.commands.study import KINDS, definition_data
    from selection.study.definition import checked
    from supernet.commands.train import layers
    from supernet.errors import ConfigError
    from supernet.runs.resolve import resolve

    try:
        if module == "supernet.train":
            found = list[str]()
            resolve(layers(args, found), problems=found)
        elif args.command != "report":
            checked(KINDS[args.command], definition_data(args))
    except ConfigError as e:
        return list(e.problems)
    return []
