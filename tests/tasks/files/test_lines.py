"""Random access to lines and numbers in files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.files.lines import Lines, open_numbers, write_lines


@given(st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.randoms())
def test_lines_are_read_in_any_order(texts: list[bytes], rng: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        write_lines(path, texts)
        lines = Lines(path)
        order = list(range(len(texts)))
        rng.shuffle(order)  # type: ignore[attr-defined]
        assert {i: lines[i] for i in order} == {i: texts[i] + b"\n" for i in order}
        assert list(lines) == [text + b"\n" for text in texts]
        assert len(lines) == len(texts)


def test_numbers_are_read_and_cannot_be_written(tmp_path: Path) -> None:
    np.array([3, 1, 2], np.int32).tofile(tmp_path / "numbers")
    numbers = open_numbers(tmp_path / "numbers", np.int32)
    assert numbers.tolist() == [3, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 7
    (tmp_path / "none").touch()
    assert open_numbers(tmp_path / "none", np.int32).tolist() == []
