"""Files and folders written atomically, names that become paths, and reading of text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.errors import UserError
from supernet.system.files import (
    MAX_BYTES,
    parse_yaml,
    read_json,
    read_text,
    safe_name,
    whole_file,
    whole_folder,
    write_whole,
)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    write_whole(tmp_path / "text", "ü")
    with whole_file(tmp_path / "other") as temporary:
        temporary.unlink()
        temporary.touch(0o600)  # like libraries that create their own temporary file
    for name in ("text", "other"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "text").read_bytes() == "ü".encode()


@pytest.mark.parametrize("writer", [whole_file, whole_folder])
def test_a_failed_write_changes_nothing(tmp_path: Path, writer: object) -> None:
    target = tmp_path / "made"
    target.write_text("old") if writer is whole_file else target.mkdir()
    with pytest.raises(RuntimeError), writer(target):  # type: ignore[operator]
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_errors_name_the_target_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "no" / "file", "x")
    assert caught.value.filename == str(tmp_path / "no" / "file")


def test_a_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    for replaces, expected in ((True, "new"), (False, "new"), (True, "newer")):
        with whole_folder(tmp_path / "made", replaces=replaces) as folder:
            (folder / "file").write_text(expected if replaces else "other")
        assert (tmp_path / "made" / "file").read_text() == expected
    assert len(list(tmp_path.iterdir())) == 1


KILLED = """
import os, signal
from pathlib import Path
from supernet.system.files import whole_file, whole_folder
with whole_folder(Path("made")) as folder, whole_file(Path("text[1]")) as file:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_leftovers_of_a_killed_process_are_removed_and_files_in_progress_kept(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    with whole_folder(tmp_path / "made") as ours, whole_file(tmp_path / "text[1]") as file:
        assert set(tmp_path.iterdir()) == {ours, file}
        write_whole(tmp_path / "text[1]", "quicker")
        assert ours.exists()
        assert file.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"made", "text[1]"}


@pytest.mark.parametrize(
    "name", ["noisy", "6", "params=50%", "macs=1.2G", "iterative-zero-out", "größe", "a,b"]
)
def test_valid_names_are_accepted(name: str) -> None:
    assert safe_name(name, "--name") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/x", ".hidden", "-rf", "a\\b", "a\0", "a\n", "[x]", "\x1b[2J", "x" * 201],
)
def test_invalid_names_are_errors(name: str) -> None:
    with pytest.raises(UserError, match="`--name` must be letters") as caught:
        safe_name(name, "--name")
    assert str(caught.value).isprintable()


@given(st.text())
def test_a_safe_name_is_a_single_part_of_a_path(name: str) -> None:
    try:
        safe_name(name, "--name")
    except UserError:
        return
    assert Path("folder", name).resolve() == Path.cwd() / "folder" / name


def test_a_byte_order_mark_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_text(file) == '{"a": 1}'
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be parsed"),
        (b'{"a": 1', "cannot be parsed"),
        (b"\xff\xfe", "must be text in UTF-8"),
        (b"[]", "must hold an object, but holds a list"),
        (b"1", "but holds a number"),
        (b"null", "but holds a value"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "cannot be parsed"),
    ],
)
def test_files_other_than_json_objects_are_errors(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=problem) as caught:
        read_json(tmp_path / "file")
    assert "file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_errors(tmp_path: Path) -> None:
    for path, problem in ((tmp_path / "no", "no such file"), (tmp_path, "but is a folder")):
        with pytest.raises(UserError, match=problem):
            read_text(path)
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", MAX_BYTES + 1)
    with pytest.raises(UserError, match="must be at most"):
        read_text(tmp_path / "large")


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- 1",
        "a: 2026-99-99",
        "a: !!python/object/apply:os.system [id]",
        "&a [*a]",
        "{[]: 1}",
        "\n".join(
            ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]
        ),
        "[" * 5000,
    ],
)
def test_invalid_unsafe_and_excessive_yaml_is_an_error(text: str) -> None:
    with pytest.raises(UserError, match=r"'x\.yaml' must"):
        parse_yaml(text, "x.yaml")


def test_yaml_with_references_is_read() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: *a", "x.yaml") == {"a": {"x": 1}, "b": {"x": 1}}
    assert parse_yaml("", "x.yaml") == {}
