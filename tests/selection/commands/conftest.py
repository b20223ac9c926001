"""Working folders for commands on runs and studies."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.selection.commands.studies import BUDGETS, COMPARE, CONTROLS, CURVES, RATES, TUNE


@pytest.fixture(scope="session")
def desk(place: Path) -> Path:
    """The working folder with the definition files of studies."""
    studies = {"budgets": BUDGETS, "compare": COMPARE, "controls": CONTROLS, "curves": CURVES}
    studies |= {"rates": RATES, "tune": TUNE}
    for name, study in studies.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(study))
    return place


@pytest.fixture
def at_desk(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of studies as the current folder, with a wide console."""
    monkeypatch.chdir(desk)
    monkeypatch.setenv("COLUMNS", "160")
    return desk
