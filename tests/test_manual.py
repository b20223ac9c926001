"""The manual: README.md, the pages written by hand, and those generated from the code."""

from __future__ import annotations

import importlib
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

from docs.generators import commands as commands_page
from docs.generators import plugins, python_api, run_files, settings
from docs.generators import presets as presets_page
from supernet.config import Config
from supernet.runs.run import Run
from supernet.settings.listing import settings_of
from supernet.settings.names import GROUPS, plugin_names, presets
from tests.supernet.processes import NET
from tests.test_documents import PROGRAM, ROOT, name, parsed, problems, read, shown

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
README = ROOT / "README.md"
WRITTEN_ELSEWHERE = (DOCS / "results", DOCS / "log")
PAGES = [
    README,
    *(page for page in sorted(DOCS.rglob("*.md")) if not set(page.parents) & set(WRITTEN_ELSEWHERE)),
]


def blocks(page: Path, language: str) -> Iterator[tuple[str | None, str]]:
    """The title and content of each code block in a language."""
    fence = re.compile(rf'^```{language}(?: title="(.*?)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)
    for title, text in fence.findall(read(page)):
        yield title or None, text


def test_the_readme_is_short_and_has_the_sections_for_newcomers() -> None:
    text = read(README)
    assert len(text.split()) <= 900
    assert "pip install -e . && python -m supernet.train --sizes 6,9,12" in text
    assert "pip install -e '.[test]' && python -m pytest" in text


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_existing_pages_and_headings(page: Path) -> None:
    generated = {DOCS / "reference" / f"{stem}.md" for stem in generated_pages()}
    for target, heading in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", read(page)):
        file = (page.parent / target).resolve() if target else page
        if "://" in target or file in generated:
            continue
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.*)$", read(file), re.MULTILINE) if heading else []
        assert heading in ["", *(anchor(text) for text in headings)]


def anchor(heading: str) -> str:
    """The anchor of a heading, as on the site."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_named_on_a_page_exist(page: Path) -> None:
    named = re.findall(r"`((?:supernet|selection|tasks|tests|configs)/[\w./-]+)`", read(page))
    assert [file for file in named if not (ROOT / file).exists()] == []


def generated_pages() -> list[str]:
    return re.findall(r'^    "([\w-]+)": ', read(DOCS / "generators" / "write.py"), re.MULTILINE)


SHOWN = shown(*PAGES)


@pytest.fixture
def placeholders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files to which the manual gives names."""
    for folder in ("my_corpus", "other", "manifests", "musan", "rirs", "RECORDINGS"):
        (tmp_path / folder).mkdir()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", SHOWN)
def test_commands_of_the_manual_are_valid(words: list[str], placeholders: Path) -> None:
    module, *arguments = words
    if module == "pytest":
        return  # the whole suite, or a file of the reader's own
    assert module in PROGRAM.values()
    args = parsed(module, arguments)
    named = {part for word in arguments for part in word.split("=")}
    of_plugins = named & {entry for entries in example_plugins().values() for entry in entries}
    if module in ("supernet.train", "selection.study") and not of_plugins and not needs_a_run(arguments):
        assert problems(module, args) == []
    for setting in getattr(args, "settings", None) or []:
        assert any(setting.partition("=")[0].startswith(known) for known in known_settings(module)), setting
    for strategy in (getattr(args, "strategies", None) or "").split(","):
        assert strategy in ["", *plugin_names("strategy"), *example_plugins()["supernet.strategies"]]


def needs_a_run(arguments: list[str]) -> bool:
    return any("RUN" in word or word.startswith("model.init=") for word in arguments)


def example_plugins() -> dict[str, list[str]]:
    """The plug-ins of the packages that tests install, by group."""
    found: dict[str, list[str]] = {group: [] for group in GROUPS.values()}
    section = re.compile(r'^\[project\.entry-points\."(.*?)"\]\n((?:\w.*\n?)*)', re.MULTILINE)
    for file in (ROOT / "tests" / "plugins").glob("*/pyproject.toml"):
        for group, entries in section.findall(read(file)):
            found.setdefault(group, []).extend(re.findall(r"^[\w-]+", entries, re.MULTILINE))
    return found


def known_settings(module: str) -> set[str]:
    """The first parts of the names of a command's settings."""
    task = {s.name for kls in plugins.plugins("task").values() for s in settings_of(kls.Options)}
    if module == "tasks.prepare":
        return task
    strategies = {*plugin_names("strategy"), *example_plugins()["supernet.strategies"]}
    own = {"selection": {f"{strategy}." for strategy in strategies}, "selection.study": {""}}
    training = {*Config.model_fields} if module == "supernet.train" else set[str]()
    return {f"task.{option}" for option in task} | own.get(module, set()) | training


def test_extras_installed_on_pages_exist() -> None:
    known = metadata("supernet-asr").get_all("Provides-Extra") or []
    named = {extra for page in PAGES for extra in re.findall(r"install -e '\.\[([\w,]+)\]'", read(page))}
    assert named
    assert {extra for extras in named for extra in extras.split(",")} <= {*known}


TINY = {
    "RUN": "run",
    "--size 6": "--size 2",
    "--size 9": "--size 2",
    "--sizes 6": "--sizes 2",
    "--sizes 4,6,8": "--sizes 2,3",
    "macs=0.6G": "macs=70%",
    "latency=20ms": "latency=90%",
    "recordings/": "speech.wav",
}
"""The values of the tests' small run in place of the manual's."""
RUN_HERE = re.compile(r"supernet (transcribe|cut|evaluate|select run --strategies) ")
"""Commands of the tutorials that only take seconds."""


@pytest.mark.parametrize("stem", ["first-run", "choosing-units"])
def test_the_tutorials_work(
    stem: str, finished: tuple[Run, str], tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished[0].folder, tmp_path / "run")
    shutil.copy(next(tones.rglob("*.flac")), tmp_path / "speech.wav")
    (tmp_path / "tones").symlink_to(tones)
    monkeypatch.chdir(tmp_path)
    shown = [text for _, text in blocks(DOCS / "tutorials" / f"{stem}.md", "bash")]
    lines = [smaller(line) for text in shown for line in text.splitlines()]
    chosen = [line.split() for line in lines if RUN_HERE.match(line)]
    assert len(chosen) >= 4
    for _, command, *arguments in chosen:
        program(command).main(arguments)
    assert (tmp_path / "model6" / "model.safetensors").is_file()


def smaller(line: str) -> str:
    for given, ours in TINY.items():
        line = line.replace(given, ours)
    return line.partition("  #")[0]


def program(command: str) -> Any:
    module, _ = commands_page.parsers()[command]
    found = importlib.import_module(module)
    return importlib.import_module(f"{module}.__main__") if hasattr(found, "__path__") else found


@pytest.mark.parametrize("page", [README, DOCS / "tutorials" / "first-run.md"], ids=name)
def test_python_code_on_a_page_runs(
    page: Path, finished: tuple[Run, str], tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "NAME").symlink_to(finished[0].folder.absolute())
    shutil.copy(next(tones.rglob("*.flac")), tmp_path / "speech.flac")
    monkeypatch.chdir(tmp_path)
    _, code = next(blocks(page, "python"))
    scope: dict[str, Any] = {}
    exec(code.replace("use(6)", "use(2)").replace("latency_ms=20", "latency_ms=60_000"), scope)
    assert scope["small"].size == 2
    assert scope["fast_enough"].size == 4


def test_training_from_python_works_as_shown(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, (_, code) = blocks(DOCS / "tutorials" / "first-run.md", "python")
    train = {"num_steps": 4, "publish_every": 2, "checkpoint_every": 4, "validate_every": 4}
    task = {"name": "manifest", "path": str(tones), "batch_seconds": 8}
    tiny = {"sizes": [1, 2], "model": NET, "train": train, "task": task, "device": "cpu"}
    scope: dict[str, Any] = {}
    exec(code.replace("resolve([settings])", f"resolve([settings, {tiny!r}])"), scope)
    assert list(scope["results"]["sizes"]) == ["1", "2"]
    assert (tmp_path / "runs" / "mine" / "results.json").is_file()


def test_a_run_folder_contains_the_files_on_its_page(finished: tuple[Run, str]) -> None:
    page = read(DOCS / "run-folder.md")
    listing = page.split("```")[1]
    for path in finished[0].folder.iterdir():
        if not path.name.startswith(".") and path.name != "cache":
            assert path.name in listing
    described = dict(run_files.places())
    assert all(described.values())
    for place in {place.split("/")[0] for place in described}:
        assert place in listing


def test_the_page_of_settings_contains_every_setting() -> None:
    page = settings.page()
    for kind, prefix in (("task", "task."), ("method", "method."), ("strategy", None)):
        for plugin, kls in plugins.plugins(kind).items():  # type: ignore[arg-type]
            for option in settings_of(kls.Options, f"{plugin}." if prefix is None else prefix):
                assert option.doc
                assert f"| `{option.name}` |" in page
    for setting in settings_of(Config):
        assert f"| `{setting.name.removesuffix('.name')}` |" in page  # a plug-in is set by its name
    assert (
        "| `train.lr` | number >\N{NO-BREAK SPACE}0 | `0.004` | Learning rate at the peak of the schedule. |"
        in page
    )
    assert "| `passes.sharing` | `rows` or `batch` | `rows` |" in page


def test_defaults_of_a_plugin_that_differ_are_on_its_page() -> None:
    page = settings.page()
    sections = dict(re.findall(r"^### (.*)\n\n((?:\|.*\n)+)", page, re.MULTILINE))
    assert "| `task.tokens` | `characters` or `words`" in sections["Every task"]
    assert "| `characters` | Output tokens" in sections["Every task"]
    assert "| `words` | Output tokens" in sections["Task `digits`"]
    assert "`task.tokens`" not in sections["Task `manifest`"]
    assert "`task.vocab_size`" not in sections["Task `digits`"]


def test_the_page_of_presets_contains_each_preset_with_its_settings() -> None:
    page = presets_page.page()
    assert re.findall(r"^## `(.*)`$", page, re.MULTILINE) == presets()
    section = page.split("## `early-peak`")[1].split("## `")[0]
    assert "lower learning rate" in section
    assert "smallest_first: 0" in section


def test_the_page_of_commands_contains_every_option() -> None:
    page = commands_page.page()
    for command, (_, parser) in commands_page.parsers().items():
        assert f"## `supernet {command}`" in page
        for option in parser._option_string_actions:
            if option not in ("-h", "--help", "--version", "--quiet"):
                assert f"`{option}" in page


@pytest.mark.parametrize("kind", ["strategy", "method"])
def test_the_page_of_plugins_describes_each_one_with_its_source(kind: Any) -> None:
    page = plugins.page(kind, "Title", "Introduction.")
    for plugin, kls in plugins.plugins(kind).items():
        section = page.split(f"## `{plugin}`\n")[1].split("\n## ")[0]
        assert kls.__doc__.strip().split()[0] in section
        assert f"Code: `{kls.__module__}`." in section
    assert "https://arxiv.org/abs/2407.18930" in page


def test_the_public_interface_is_documented() -> None:
    page = python_api.page()
    for places in python_api.PUBLIC.values():
        for place in places:
            module, _, kls = place.partition(":")
            found = getattr(importlib.import_module(module), kls)
            assert found.__doc__
            assert f"::: {module}.{kls}\n" in page
