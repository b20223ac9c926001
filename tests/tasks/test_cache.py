"""A folder is complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.cache import make_once


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
