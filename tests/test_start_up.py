"""Every command of the project parses its options before heavy imports."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from supernet.console.front import GROUP
from tests.supernet.imports import LISTED, imported
from tests.supernet.processes import environment, run

OURS = ("selection.", "supernet.", "tasks.")
MODULES = {
    entry.name: entry.module.removesuffix(".__main__")
    for entry in entry_points(group=GROUP)
    if entry.module.startswith(OURS)
}
HEAVY = {"torch", "numpy", "fairseq2", "lhotse", "optuna", "matplotlib", "pydantic", "rich"}
WRONG = {
    "train": (["--method", "nope", "--sizes", "x"], "`method` must be one of"),
    "transcribe": (["RUN", "a.wav", "--format", "doc"], "`--format` must be one of"),
    "latency": (["RUN", "--threads", "0"], "`--threads` must be at least 1"),
    "select": (["RUN", "--strategies", "nope"], "but is 'nope' instead"),
}
"""Wrong values that are found without a run; other commands get an option that does not exist."""


def test_there_are_commands() -> None:
    assert len(MODULES) == 13


@pytest.mark.parametrize("name", MODULES)
def test_help_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    out, err = run(MODULES[name], "--help", cwd=tmp_path, extra=LISTED, fresh=True)
    assert out.startswith("usage:")
    assert "supernet.console.parser" in imported(err)
    assert imported(err) & HEAVY == set()


@pytest.mark.parametrize("name", MODULES)
def test_wrong_options_are_errors_before_heavy_imports(name: str, tmp_path: Path) -> None:
    words, message = WRONG.get(name, (["--no-such-option"], "error: "))
    _, err = run(MODULES[name], *words, cwd=tmp_path, status=2, extra=LISTED, fresh=True)
    assert message in err
    assert "supernet.console.parser" in imported(err)
    assert imported(err) & HEAVY == set()


@pytest.mark.parametrize(
    "name", ["evaluate", "transcribe", "cut", "export", "latency", "demo", "select", "worth", "pareto"]
)
def test_a_wrong_path_is_an_error_before_heavy_imports(name: str, tmp_path: Path) -> None:
    more = {"transcribe": ["a.wav"], "cut": ["--out", "x"]}.get(name, [])
    _, err = run(MODULES[name], "nowhere", *more, cwd=tmp_path, status=2, extra=LISTED, fresh=True)
    assert "error: `RUN` must be a run folder, but there is no such folder: 'nowhere'.\n" in err
    assert imported(err) & HEAVY == set()


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["nope"]])
def test_the_program_itself_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = shutil.which("supernet", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs the installed program `supernet`")
    done = subprocess.run(
        [program, *words], cwd=tmp_path, env=environment(tmp_path, LISTED), capture_output=True, text=True
    )
    assert done.returncode == (2 if "nope" in words else 0)
    assert "supernet.console.parser" in imported(done.stderr)
    assert imported(done.stderr) & HEAVY == set()
