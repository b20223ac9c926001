"""The folder of trained runs as the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.console.screen import console


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.setattr(console, "width", 200)
    return place
