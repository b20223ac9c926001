"""A folder is complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cache import discard, make_once


def test_an_interrupted_folder_is_absent(tmp_path: Path) -> None:
    def interrupted(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_once(tmp_path / "made", interrupted)
    assert not list(tmp_path.iterdir())


def test_a_complete_folder_is_kept(tmp_path: Path) -> None:
    make_once(tmp_path / "made", lambda folder: (folder / "file").touch())
    make_once(tmp_path / "made", lambda folder: pytest.fail("made twice"))
    assert (tmp_path / "made" / "file").exists()


def test_the_first_of_two_processes_wins(tmp_path: Path) -> None:
    def slower(folder: Path) -> None:
        (folder / "slower").touch()
        make_once(tmp_path / "made", lambda other: (other / "faster").touch())

    make_once(tmp_path / "made", slower)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["faster"]
    assert [path.name for path in tmp_path.iterdir()] == ["made"], "nothing else may be left"


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]


def test_what_is_outdated_goes_and_what_is_not_stays(tmp_path: Path) -> None:
    for name in ("old", "new"):
        make_once(tmp_path / name, lambda folder: (folder / "file").touch())
        discard(tmp_path / name, lambda folder: "old" in folder.name)
    discard(tmp_path / "gone", lambda folder: True)
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "new",
        "new/file",
    ]


def test_what_another_process_has_just_made_stays(tmp_path: Path) -> None:
    make_once(tmp_path / "made", lambda folder: (folder / "file").touch())
    answers = iter((True, False))
    discard(tmp_path / "made", lambda folder: next(answers))
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "made",
        "made/file",
    ]
