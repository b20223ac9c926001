"""Dependencies between packages, determined from their import statements."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {package: sorted((ROOT / package).rglob("*.py")) for package in ("supernet", "selection", "tasks")}
PARTS = "recipe trainer evaluator validator task gang gangs checkpoint composition runtime"
ENGINE = tuple(f"fairseq2.{part}" for part in PARTS.split())
"""Parts of fairseq2 that run the training, as opposed to its layers."""


def imports(file: Path) -> Iterator[str]:
    """Yield every name that ``file`` imports, also inside functions, with its module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name} must import by full names"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def users(package: str, *modules: str) -> set[str]:
    """The files of ``package`` that import one of ``modules``."""
    return {
        file.relative_to(ROOT).as_posix()
        for file in FILES[package]
        for name in imports(file)
        if any(f"{name}.".startswith(f"{module}.") for module in modules)
    }


def test_imports_are_found() -> None:
    assert len(FILES["supernet"]) > 20
    assert len(FILES["tasks"]) > 5
    assert users("supernet", "torch")


@pytest.mark.parametrize("other", ["selection", "tasks", "tests"])
def test_supernet_imports_no_other_package(other: str) -> None:
    assert users("supernet", other) == set()


@pytest.mark.parametrize("other", ["tasks", "tests"])
def test_selection_imports_supernet_only(other: str) -> None:
    assert users("selection", other) == set()


def test_tasks_import_only_the_interface_and_packages_for_data() -> None:
    interface = tuple(f"supernet.{part}" for part in ["audio", "config", "errors", "system", "task", "text"])
    for file in FILES["tasks"]:
        # Commands share messages, errors and options with those of the other packages.
        more = ("console", "commands.options", "settings")
        command = (*interface, *(f"supernet.{part}" for part in more))
        allowed = command if file.stem == "prepare" else interface
        for name in imports(file):
            if name.split(".")[0] in ("supernet", "selection", "tests"):
                assert name.startswith(tuple(f"{module}." for module in allowed)), (
                    f"{file.name} imports {name}"
                )


def test_plotting_does_not_use_matplotlibs_global_state() -> None:
    """No pyplot, which has global figures, and no backend chosen on import, which breaks notebooks."""
    for package, files in FILES.items():
        assert users(package, "matplotlib.pyplot", "matplotlib.use") == set()
        assert [file.name for file in files if "matplotlib.use(" in file.read_text(encoding="utf-8")] == []


def test_configs_contain_no_code() -> None:
    assert {file.suffix for file in (ROOT / "configs").iterdir()} == {".yaml"}


def test_only_one_package_uses_the_engines_trainer() -> None:
    found = users("supernet", *ENGINE)
    assert found
    # Layers are created for a single process, which `create_fake_gangs` stands for.
    found -= users("supernet", "fairseq2.gang.create_fake_gangs")
    assert [name for name in found if not name.startswith("supernet/engine")] == []
    for package in ("selection", "tasks"):
        assert users(package, "fairseq2") == set()


def test_units_are_plain_data() -> None:
    for name in imports(ROOT / "supernet" / "units.py"):
        assert name.split(".")[0] in sys.stdlib_module_names or name.startswith(
            ("supernet.errors.", "supernet.system.files.")
        )


LAYERS = """
errors
system
text units
audio budget scoring settings runtime
model_config passes_config
config task
scorer
plan
pretrained
granularity encoder_family head method network
training
recognition
methods engine
runs
reporting
evaluation
recognizer trainer export latency demo
console
commands
train evaluate transcribe cut push pareto __main__
"""
"""Folders and files directly under ``supernet/``; each imports only from its own line and those above."""


def _part(file: Path) -> str:
    return file.relative_to(ROOT / "supernet").parts[0].removesuffix(".py")


def test_the_library_is_built_in_layers() -> None:
    """The network does not depend on runs, training on recognition, or the library on the console."""
    height = {name: i for i, line in enumerate(LAYERS.split("\n")) for name in line.split()}
    for file in FILES["supernet"]:
        part = _part(file)
        if part == "__init__" or file.name == "__main__.py":
            continue
        for name in imports(file):
            package, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if package == "supernet" and other in height and other != part:
                assert height[other] <= height[part], f"{file.relative_to(ROOT)} imports {name}"


def test_everything_is_in_a_layer() -> None:
    parts = {_part(file) for file in FILES["supernet"]}
    assert parts - {"__init__"} == set(LAYERS.split())


DIRECTLY = {
    "supernet": "__init__ __main__ train evaluate transcribe cut push pareto "
    "budget config encoder_family errors granularity head method model_config passes_config plan recognizer "
    "scorer task trainer units",
    "selection": "__init__ __main__ worth contract evidence strategy",
    "tasks": "__init__ prepare "
    "converted corpus options an4 digits generated_speech librispeech manifest speechocean762 tedlium2",
}
"""Commands, plug-in interfaces and plug-ins, and plain data; everything else is in a folder."""


@pytest.mark.parametrize("package", list(DIRECTLY))
def test_only_commands_interfaces_and_data_are_directly_under_a_package(package: str) -> None:
    assert {file.stem for file in FILES[package] if file.parent.name == package} == set(
        DIRECTLY[package].split()
    )


def test_paths_on_the_architecture_page_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = set(re.findall(r"`((?:supernet|selection|tasks|configs|tests)/[\w/.]*)`", page))
    assert len(places) > 20
    assert {place for place in places if not (ROOT / place).exists()} == set()


INTERFACE = "budget config method plan scorer units"


def test_methods_do_not_depend_on_the_network() -> None:
    for file in FILES["supernet"]:
        if file.parent.name == "methods":
            known = {name for name in imports(file) if name.startswith("supernet.")}
            assert {name.split(".")[1] for name in known} <= {*INTERFACE.split(), "training"}, file.name


COMMANDS = {
    "train",
    "evaluate",
    "transcribe",
    "cut",
    "push",
    "pareto",
    "__main__",
    "worth",
    "work",
    "compare_runner",
    "named_runner",
    "trial_runner",
    "tune_runner",
}
"""Files that write to a terminal; those of ``reporting``, and of a study's reports, print tables."""


def test_only_one_package_prints_to_the_terminal() -> None:
    """It makes control characters visible, and treats no text as markup."""
    for file in (file for files in FILES.values() for file in files):
        if file.parent.name == "console" or file.stem == "worker":  # which is read by a program
            continue
        calls = (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call))
        assert all(ast.unparse(call.func) != "print" for call in calls), file.name
        assert not any(name.startswith("rich.") for name in imports(file)), file.name


def test_the_library_does_not_depend_on_the_command_line() -> None:
    talking = users("supernet", "supernet.console") | users("selection", "supernet.console")
    library = {name for name in talking if not name.startswith(("supernet/console/", "supernet/commands/"))}
    library -= {name for name in talking if name.startswith("selection/commands/") or "report" in name}
    assert library
    assert {name for name in library if Path(name).stem not in COMMANDS} == set()


def strings(file: Path) -> Iterator[str]:
    """Every string in ``file``, including docstrings and parts of f-strings."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


OTHER_PROGRAMS = {"tasks/files/members.py", "tasks/formats/pipes.py", "tasks/synthesis/espeak.py"}
"""Files that mention options of tar, flac, pip and the like."""


def test_the_library_never_mentions_a_command_line_option() -> None:
    """It names arguments and settings, which commands translate. Pages, which list commands, are exempt."""
    found = {
        file.relative_to(ROOT).as_posix()
        for files in FILES.values()
        for file in files
        if any(re.search(r"(?<!-)--[a-z]", text) for text in strings(file))
    }
    commands = {name for name in found if "argparse" in (ROOT / name).read_text(encoding="utf-8")}
    assert commands, "commands must mention options"
    exempt = {name for name in found if {"console", "commands", "reporting"} & set(Path(name).parts)}
    assert found - commands - exempt == OTHER_PROGRAMS
