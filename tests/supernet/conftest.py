"""Finished runs, trained once for all tests that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.run import Run
from tests.supernet.processes import run, settings


@pytest.fixture(scope="session")
def place(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the corpus in it."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "tones").symlink_to(tones)
    return folder


def train(place: Path, out: str, *more: str) -> tuple[Run, str]:
    printed, _ = run("supernet.train", *settings(), "--out", f"runs/{out}", *more, cwd=place)
    return Run(place / "runs" / out), printed


@pytest.fixture(scope="session")
def finished(place: Path) -> tuple[Run, str]:
    return train(place, "finished")


@pytest.fixture(scope="session")
def zeroed(place: Path) -> tuple[Run, str]:
    """Iterative-Zero-Out, whose scores jump."""
    return train(place, "zeroed", "--method", "iterative-zero-out")
