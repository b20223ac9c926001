"""What the guides to recognition on a device name."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from supernet.runs.run import Run
from tests.supernet.talkative import recordings


@pytest.fixture
def guide_folder(bundled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a run and a recording of the names in the guides."""
    (tmp_path / "RUN").symlink_to(bundled.folder)
    soundfile.write(tmp_path / "speech.wav", recordings()[0].numpy(), 16_000)
    monkeypatch.chdir(tmp_path)
    return tmp_path
