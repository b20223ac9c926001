"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supernet.console.guard import main_guard
from supernet.console.progress import LINE_SECONDS, SHARE_SECONDS, Lines, progress
from supernet.console.screen import Screen
from supernet.console.text import be_quiet, note, remark


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    yield
    be_quiet(False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def written(seconds: float, capsys: pytest.CaptureFixture[str], total: int = 1000) -> list[str]:
    """The lines printed for 1000 steps of work that take ``seconds`` in total."""
    clock = Clock()
    lines = Lines(clock)
    for done in range(1001):
        clock.now = done * seconds / 1000
        lines("training", done, total)
    return capsys.readouterr().err.splitlines()


def test_short_work_prints_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert written(SHARE_SECONDS / 2, capsys) == []


def test_a_line_is_printed_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(100.0, capsys)
    assert len(lines) == 10
    assert lines[0] == "training: 100 of 1,000 (10%), 2 min left"
    assert lines[-1] == "training: 1,000 of 1,000 (100%)"


def test_slow_work_prints_lines_at_regular_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(3600.0, capsys)
    assert 3600 / LINE_SECONDS * 0.9 <= len(lines) <= 3600 / LINE_SECONDS
    assert "left" in lines[0]


def test_work_of_unknown_length_prints_some_lines(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(100.0, capsys, total=0)
    assert [line.partition(":")[0] for line in lines] == ["training"] * 3


def test_a_line_contains_the_latest_status(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Lines(clock)
    lines("training", 0, 1000)
    clock.now = 50.0
    lines.tell("joint, loss 1.234")
    lines("training", 500, 1000)
    assert capsys.readouterr().err == "training: 500 of 1,000 (50%), 50 s left, joint, loss 1.234\n"


def test_a_bar_contains_the_latest_status() -> None:
    file = io.StringIO()
    screen = Screen(file=file, force_terminal=True, width=80, color_system=None)
    with progress(screen) as shown:
        shown("training", 500, 1000)
        shown.tell("joint, loss 1.234, validation WER 6: 3.1%  9: 2.8%  12: 2.5%  [/b]")
    drawn = file.getvalue()
    assert "training" in drawn
    assert "500/1000" in drawn
    assert "joint, loss 1.234, validation WER 6: 3.1%  9: 2.8%  12: 2.5%  [/b]" in drawn


def test_quiet_suppresses_notes_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(True)
    note("a note")
    remark("a remark")
    with progress() as shown:
        shown("training", 1, 2)
        shown.tell("x")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_file_in_place_of_a_folder_is_a_clear_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(SystemExit), main_guard():
            folder.mkdir(parents=True, exist_ok=True)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: '{folder}' must be a folder, but it or one of its parents is a file.")


def test_a_closed_pipe_prints_no_error() -> None:
    script = "supernet.console.guard", "supernet.console.text"
    code = f"from {script[0]} import main_guard\nfrom {script[1]} import say\n"
    code += "with main_guard():\n    for _ in range(100_000): say('x' * 80)\n"
    writer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert writer.stdout.readline() == "x" * 80 + "\n"
    writer.stdout.close()
    assert writer.stderr.read() == ""
    assert writer.wait() == 141


def test_ctrl_c_prints_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, main_guard("What was done is kept in x."):
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "Stopped. What was done is kept in x.\n"
