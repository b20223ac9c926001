"""Missing permissions: errors name a way out before anything is computed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from selection import __main__ as select
from selection.commands.study import complete
from selection.study import __main__ as study
from selection.study.definition import checked
from selection.study.storage import create, open_storage
from selection.study.tune_definition import TuneDefinition
from supernet import evaluate, train
from supernet.latency import __main__ as latency
from supernet.runs.run import Run
from tests.supernet.processes import LEARNING, settings

_ROOT_ACCESS = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, which let root read and write everything."""
_VERSION_3 = 0x20080522


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Make permissions apply to root as well, with capset(2)."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    before = data[0]
    data[0] = before & ~_ROOT_ACCESS
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = before
        assert libc.capset(header, data) == 0


@pytest.fixture
def locked(finished: tuple[Run, str], tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A read-only run, next to a writable cache."""
    shutil.copytree(finished[0].folder, tmp_path / "run")
    shutil.copytree(tones, tmp_path / "tones")
    (tmp_path / "cache").mkdir()
    for folder in (path for path in (tmp_path / "run").rglob("*") if path.is_dir()):
        folder.chmod(0o555)
    monkeypatch.setenv("SUPERNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_read_only_run_must_be_copied(locked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = ["--set", f"task.path={locked.parent / 'tones'}"]
    with unprivileged(), pytest.raises(SystemExit) as end:
        evaluate.main([str(locked), *corpus, "--name", "here"])
    assert end.value.code == 2
    said = complaint(capsys)
    assert f"'{locked / 'transcripts'}' must be writable" in said
    assert "Copy the run" in said
    assert "--out" not in said


@pytest.mark.parametrize("name", ["", "pictures", "selections"])
def test_a_selection_that_cannot_be_saved_is_not_computed(
    locked: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.rmtree(locked / "selections", ignore_errors=True)  # from tests that select in the original run
    (locked / name).mkdir(exist_ok=True)
    (locked / name).chmod(0o555)
    (locked / "pictures").chmod(0o555 if name == "pictures" else 0o755)
    corpus = ["--set", f"task.path={locked.parent / 'tones'}"]
    with unprivileged(), pytest.raises(SystemExit) as end:
        select.main([str(locked), *corpus, "--strategies", "tail", "--sizes", "2"])
    assert end.value.code == 2
    said = complaint(capsys)
    assert f"'{locked / name}' must be writable" in said
    assert "Copy the run" in said
    assert "--out" not in said
    assert list(locked.glob("selections/*")) == []


@pytest.mark.parametrize("out", [[], ["--out", "nowhere/latency.json"]])
def test_a_latency_that_cannot_be_saved_is_not_measured(
    locked: Path, capsys: pytest.CaptureFixture[str], out: list[str]
) -> None:
    locked.chmod(0o555)
    with unprivileged(), pytest.raises(SystemExit) as end:
        latency.main([str(locked), *out])
    assert end.value.code == 2
    said = complaint(capsys)
    assert ("`--out` must lie in a folder" if out else f"'{locked}' must be writable") in said
    assert "--out" in said


def test_the_error_on_a_read_only_folder_of_studies_names_its_option(
    locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (locked.parent / "studies").mkdir(mode=0o555)
    with unprivileged(), pytest.raises(SystemExit) as end:
        study.main(["compare", "--task", "tones", "--sizes", "2,4", "--out", "studies/new"])
    assert end.value.code == 2
    said = complaint(capsys)
    assert "'studies/new' must be writable" in said
    assert "--out" in said


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_read_only_study_must_be_copied(
    locked: Path, capsys: pytest.CaptureFixture[str], mode: int
) -> None:
    folder = locked.parent / "study"
    folder.mkdir()
    settings = {"task": "generated-speech", "sizes": [2, 4]}
    space = {"train.lr": {"low": 0.0005, "high": 0.02}}
    definition = complete("tune", checked(TuneDefinition, {"settings": settings, "space": space}))
    create(open_storage(None, folder, 60), "study", ["minimize"], [], definition)
    (folder / "study.db").chmod(mode)
    folder.chmod(0o555)
    with unprivileged(), pytest.raises(SystemExit) as end:
        study.main(["report", str(folder)])
    assert end.value.code == 2
    said = complaint(capsys)
    assert str(folder) in said
    assert ("study.db" in said) if mode == 0 else ("Copy the study" in said)
    assert "--out" not in said


def test_the_error_on_a_read_only_cache_names_its_setting(
    locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (locked.parent / "cache").chmod(0o555)
    with unprivileged(), pytest.raises(SystemExit) as end:
        train.main([*settings(), *LEARNING, "--out", str(locked.parent / "new")])
    assert end.value.code == 2
    said = complaint(capsys)
    assert "task.cache" in said
    assert "--out" not in said


def test_the_error_on_a_read_only_folder_of_runs_names_its_option(
    locked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (locked.parent / "runs").mkdir(mode=0o555)
    with unprivileged(), pytest.raises(SystemExit) as end:
        train.main([*settings(), *LEARNING, "--out", "runs/new"])
    assert end.value.code == 2
    said = complaint(capsys)
    assert "'runs/new' must be writable" in said
    assert "--out" in said


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "config.yaml"])
def test_unreadable_files_of_a_run_are_errors(
    locked: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (locked / name).chmod(0o000)
    with unprivileged(), pytest.raises(SystemExit) as end:
        evaluate.main([str(locked)])
    assert end.value.code == 2
    said = complaint(capsys)
    assert f"{name}' must be readable, but is not: Permission denied." in said
    assert "--out" not in said
