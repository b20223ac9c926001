"""Checkpoints of pretrained encoders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.supernet import encoders
from tests.supernet.encoders import Kind


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """Checkpoints of each kind."""
    place = tmp_path_factory.mktemp("encoders")
    return {kind: encoders.write(place / kind, kind) for kind in ("base", "large_lv60k")}
