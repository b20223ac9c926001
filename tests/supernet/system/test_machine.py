"""The name of a machine, as Linux has it on servers and on boards."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.system.machine import processor

SERVER = "processor\t: 0\nmodel name\t: A Processor 9V74\n\nprocessor\t: 1\nmodel name\t: Another\n"
BOARD = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n"


@pytest.mark.parametrize(
    ("processors", "board", "name"),
    [
        (SERVER, None, "A Processor 9V74"),
        (SERVER, "A Board\0", "A Processor 9V74"),
        (BOARD, "Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4 Model B Rev 1.4"),
    ],
)
def test_the_processor_has_a_name_or_else_the_board(
    processors: str, board: str | None, name: str, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(processors)
    if board is not None:
        (tmp_path / "model").write_text(board)
    assert processor(tmp_path / "cpuinfo", tmp_path / "model") == name


def test_a_system_without_these_files_has_a_name(tmp_path: Path) -> None:
    assert processor(tmp_path / "none", tmp_path / "none")
