"""The project's files agree on versions, Pythons and extras, and name existing paths."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GUIDES = ["CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md"]
PYTHONS = ["3.10", "3.11", "3.12"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def workflow(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text(f".github/workflows/{name}.yml"))["jobs"])


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    if sys.version_info < (3, 11):
        pytest.skip("reads pyproject.toml with tomllib, which Python 3.10 lacks")
    import tomllib

    return dict(tomllib.loads(text("pyproject.toml"))["project"])


def test_all_supported_pythons_are_tested(project: dict[str, Any]) -> None:
    assert project["requires-python"] == ">=3.10,<3.13"
    prefix = "Programming Language :: Python :: 3."
    assert [c.removeprefix(prefix) for c in project["classifiers"] if c.startswith(prefix)] == [
        python.removeprefix("3.") for python in PYTHONS
    ]
    checks = workflow("checks")["checks"]
    assert checks["strategy"]["matrix"]["python"] == PYTHONS
    assert checks["steps"][-1] == {"run": ".ci/run"}


def test_every_extra_is_tested_every_night(project: dict[str, Any]) -> None:
    commands = [step.get("run", "") for step in workflow("nightly")["everything"]["steps"]]
    (extras,) = re.findall(r"pip install -e '\.\[(.*)\]'", "\n".join(commands))
    needed = set(project["optional-dependencies"]) - {
        "export",
        "docs",
    }  # part of test; documents are checked by .ci/run
    assert set(extras.split(",")) == needed
    for extra in needed - {"test"}:
        assert extra in text(".ci/run"), extra


def test_the_version_is_the_same_in_all_files(project: dict[str, Any]) -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    releases = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == (citation["version"], citation["date-released"])
    assert project["version"] == citation["version"]
    assert project["license"] == citation["license"]


def test_entries_of_the_changelog_are_short() -> None:
    lines = text("CHANGELOG.md").splitlines()
    assert [line for line in lines if len(line) > 200] == []
    assert "## Unreleased" in lines


@pytest.mark.parametrize("guide", GUIDES)
def test_paths_named_in_a_guide_exist(guide: str) -> None:
    """Paths are words in backquotes that look like one; capital letters are placeholders."""
    named = [word for word in re.findall(r"`([\w./-]+)`", text(guide)) if "/" in word or word.startswith(".")]
    paths = [word for word in named if not re.search(r"[A-Z]{4}-", word)]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert paths or guide == "SECURITY.md"


def test_checks_before_a_commit_only_need_the_test_extra() -> None:
    """Other hooks would be downloaded, in versions of their own."""
    repositories = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert {hook["entry"].split()[0] for hook in hooks} <= {"ruff", "mypy", "check-yaml", "end-of-file-fixer"}
    assert "pre-commit run --all-files" in text(".ci/run")
