"""The processor seconds of commands, from the start of Python to its end.

Run: ``python -m pytest tests/benchmarks/test_start_up.py``. Seconds depend on the machine; what a command
takes beyond ``import torch`` is the project's.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from supernet.runs.run import Run
from tests.benchmarks.conftest import Ratio
from tests.supernet.processes import run, settings
from tests.tasks.folders import tone
from tests.test_start_up import MODULES

ROUNDS = 3


@pytest.fixture
def processor_seconds(ratio: Ratio) -> Callable[[Path, str, int], float]:
    """Records the least processor seconds that ``python -m`` takes with ``words``, run in ``place``."""

    def measure(place: Path, words: str, status: int = 0) -> float:
        found = []

        def once() -> None:
            before = _children()
            run(*words.split(), cwd=place, status=status, fresh=True)
            found.append(_children() - before)

        ratio.benchmark.pedantic(once, rounds=ROUNDS)
        return ratio.note(min(found), "processor seconds")

    return measure


def _children() -> float:
    """The processor seconds of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


Measure = Callable[..., float]


@pytest.mark.parametrize("name", MODULES)
def test_help(name: str, processor_seconds: Measure, tmp_path: Path) -> None:
    assert processor_seconds(tmp_path, f"{MODULES[name]} --help") > 0


@pytest.mark.parametrize("name", MODULES)
def test_wrong_options(name: str, processor_seconds: Measure, tmp_path: Path) -> None:
    assert processor_seconds(tmp_path, f"{MODULES[name]} --no-such-option", 2) > 0


@pytest.mark.parametrize("name", ["evaluate", "transcribe", "cut", "export", "latency", "select", "worth"])
def test_no_such_run(name: str, processor_seconds: Measure, tmp_path: Path) -> None:
    more = {"transcribe": " a.wav", "cut": " --out x"}.get(name, "")
    assert processor_seconds(tmp_path, f"{MODULES[name]} nowhere{more}", 2) > 0


def test_transcribing_one_file(
    processor_seconds: Measure, finished: tuple[Run, str], place: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16_000)
    assert processor_seconds(place, f"{MODULES['transcribe']} {finished[0].folder} {tmp_path}/a.wav") > 0


@pytest.mark.parametrize("words", ["--settings", "--dry-run", ""], ids=["settings", "dry run", "finished"])
def test_training(words: str, processor_seconds: Measure, finished: tuple[Run, str], place: Path) -> None:
    """A finished run prints its results again."""
    where = f" --out {finished[0].folder} --set method.score_learning=0.25"
    options = " ".join(settings()) + (where if not words else "")
    assert processor_seconds(place, f"{MODULES['train']} {options} {words}") > 0


def test_dry_run_of_the_defaults(processor_seconds: Measure, tmp_path: Path) -> None:
    """With the steps of the default network."""
    assert processor_seconds(tmp_path, f"{MODULES['train']} --dry-run") > 0


def test_importing_torch(processor_seconds: Measure, tmp_path: Path) -> None:
    """The yardstick."""
    (tmp_path / "yardstick.py").write_text("import torch\n", encoding="utf-8")
    assert processor_seconds(tmp_path, "yardstick") > 0
