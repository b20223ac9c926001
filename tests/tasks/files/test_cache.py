"""Folders of the cache are either complete or absent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supernet.errors import UserError
from supernet.system.cache_folder import default_folder
from supernet.task import SPLITS
from tasks.files.cache import discard, make_once
from tasks.manifest import Manifest
from tasks.options import CorpusOptions
from tests.supernet import processes
from tests.tasks.folders import prepared, quiet, tone, write_folder, write_wav


def test_an_interrupted_folder_does_not_exist(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "made", interrupted)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_removed_by_the_next(tmp_path: Path) -> None:
    """Even if the next one makes a different folder, because the corpus has changed."""
    killed, running = start(tmp_path / "killed"), start(tmp_path / "running")
    assert [next_line(process) for process in (killed, running)] == ["made"] * 2
    killed.kill()
    killed.wait()
    for name in (".mine.partial", ".mine.of-mine.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / ".mine.0123abcd.partial").touch()
    for path in tmp_path.iterdir():
        os.utime(path, (1, 1))
    make_once(tmp_path / "made", lambda folder: (folder / "file").touch())
    left = sorted(path.name.split(".")[1] for path in tmp_path.glob(".*.partial"))
    assert left == ["mine", "mine", "mine", "running"]
    assert running.communicate("\n")[0] == "there\n"


def test_leftovers_of_a_killed_preparation_are_gone_after_the_next(tmp_path: Path) -> None:
    """It is killed in the middle, while it waits to continue reporting its progress."""
    write_wav(tmp_path / "corpus" / "u.wav", tone(30.0))
    lines = (f"u.wav,{i / 10},{(i + 1) / 10},a,{split}" for split in SPLITS for i in range(90))
    (tmp_path / "corpus" / "all.csv").write_text("path,start,end,text,split\n" + "\n".join(lines))
    process = start(tmp_path / "made", HALTING)
    assert next_line(process) == "100 of 270"
    (partial,) = tmp_path.glob(".made.*.partial")
    process.kill()
    process.communicate()
    assert partial.is_dir()
    processes.run("tasks.prepare", "corpus/", "--out", "made", cwd=tmp_path)
    assert (tmp_path / "made" / "summary.json").is_file()
    assert list(tmp_path.glob(".made*partial")) == []


def test_a_complete_folder_is_kept(tmp_path: Path) -> None:
    make_once(tmp_path / "made", lambda folder: (folder / "file").touch())
    make_once(tmp_path / "made", lambda folder: pytest.fail("made twice"))
    assert (tmp_path / "made" / "file").exists()


SLOWLY = """
import sys
from pathlib import Path
from tasks.files.cache import make_once

def build(folder):
    print("made", flush=True)
    sys.stdin.readline()
    (folder / "file").touch()

make_once(Path(sys.argv[1]), build, lambda what, done, total: print(what, flush=True))
print("there" if (Path(sys.argv[1]) / "file").exists() else "gone", flush=True)
"""


HALTING = """
import sys
from pathlib import Path
from tasks.files.cache import make_once
from tasks.listing.conversion import convert
from tasks.manifest import Manifest

def report(what, done, total):
    print(done, "of", total, flush=True)
    sys.stdin.readline()

out = Path(sys.argv[1])
task = Manifest(Manifest.Options(path=out.with_name("corpus")))
make_once(out, lambda folder: convert(task.source, folder, report))
"""


def start(folder: Path, program: str = SLOWLY) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_several_processes_one_makes_the_folder_and_the_others_wait(tmp_path: Path) -> None:
    first = start(tmp_path / "made")
    assert next_line(first) == "made"
    others = [start(tmp_path / "made") for _ in range(2)]
    assert [next_line(other) for other in others] == ["waiting for another process"] * 2
    first.communicate("\n")
    assert [other.communicate()[0] for other in others] == ["there\n"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "nothing else may be left"


def test_a_killed_process_is_replaced_by_a_waiting_one(tmp_path: Path) -> None:
    first = start(tmp_path / "made")
    assert next_line(first) == "made"
    second = start(tmp_path / "made")
    assert next_line(second) == "waiting for another process"
    first.kill()
    first.communicate()
    assert next_line(second) == "made"
    assert second.communicate("\n")[0] == "there\n"
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "nothing else may be left"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SUPERNET_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"SUPERNET_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/supernet"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/jane/.cache/supernet"),  # to be ignored, by the standard
        ({}, "/home/jane/.cache/supernet"),
    ],
)
def test_the_default_cache_is_in_the_users_home(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPERNET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/jane")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(expected)
    assert CorpusOptions().cache_folder == Path(expected)
    assert CorpusOptions(cache=Path("here")).cache_folder == Path("here")


def test_a_corpus_is_made_once_for_all_working_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks of one corpus in two working folders, to which nothing is written."""
    monkeypatch.setenv("SUPERNET_CACHE", str(tmp_path / "cache"))
    folder = write_folder(tmp_path / "tones", 3, 1, 1)
    states = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Manifest(Manifest.Options.model_validate({"path": folder})).prepare(quiet)
        states.append({path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")})
        assert not list((tmp_path / name).iterdir())
    assert states[0] == states[1]
    assert any(path.name == "features.f32" for path in states[0])


def test_an_impossible_cache_folder_is_an_error_that_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(
        UserError, match=r"`task\.cache` must be a folder .*taken.*`task\.cache=.*SUPERNET_CACHE"
    ):
        prepared(write_folder(tmp_path / "tones", 3, 1, 1), cache=tmp_path / "taken" / "cache")


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]


def test_only_outdated_folders_are_discarded(tmp_path: Path) -> None:
    for name in ("old", "new"):
        make_once(tmp_path / name, lambda folder: (folder / "file").touch())
        discard(tmp_path / name, lambda folder: "old" in folder.name)
    discard(tmp_path / "gone", lambda folder: True)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "new",
        "new/file",
    ]


def test_a_folder_just_renewed_by_another_process_is_kept(tmp_path: Path) -> None:
    make_once(tmp_path / "made", lambda folder: (folder / "file").touch())
    answers = iter((True, False))
    discard(tmp_path / "made", lambda folder: next(answers))
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "made",
        "made/file",
    ]
