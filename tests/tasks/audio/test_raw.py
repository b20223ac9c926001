"""Samples without a header, in either byte order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tasks.audio.raw import read_raw
from tests.tasks.corpora import real_corpus
from tests.tasks.folders import tone


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_the_byte_order_is_found(tmp_path: Path, order: str) -> None:
    samples = (tone(0.5) * 32767).astype(np.int16)
    (tmp_path / "a.raw").write_bytes(samples.astype(order).tobytes() + b"x")
    assert np.array_equal(read_raw(tmp_path / "a.raw"), samples)


def test_the_byte_order_of_all_real_speakers_is_found(tmp_path: Path) -> None:
    folders = sorted((real_corpus("an4") / "flac").iterdir())
    assert len(folders) == 84
    for folder in folders:
        samples, _ = soundfile.read(min(folder.glob("*.flac")), dtype="int16")
        for order in ("<i2", ">i2"):
            (tmp_path / "a.raw").write_bytes(samples.astype(order).tobytes())
            assert np.array_equal(read_raw(tmp_path / "a.raw"), samples), folder.name
