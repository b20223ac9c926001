"""Fixtures for all tests: a corpus, and runs on it. Every process uses a single thread."""

from __future__ import annotations

import os
import shutil
import signal

# Before torch is imported anywhere; processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("COLUMNS", None)  # which tests set

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

import supernet.console.screen  # noqa: F401  # if first imported while COLUMNS is set, its width stays
from supernet.runs.run import Run
from supernet.system.cache_folder import VARIABLE
from tests.supernet.processes import LEARNING, ZEROING, run, settings
from tests.tasks.folders import write_folder

torch.set_num_threads(1)

# Background jobs of a shell ignore Ctrl-C, and processes that they start inherit this.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadlines: they are timing assertions, which fail on a busy machine.
# The same examples everywhere: what a random search finds comes and goes with the run that it breaks.
# SUPERNET_RANDOM_EXAMPLES=500 draws so many new ones for each test, and prints how to repeat one that fails.
RANDOM_EXAMPLES = int(os.environ.get("SUPERNET_RANDOM_EXAMPLES", "0"))
hypothesis.settings.register_profile(
    "here",
    deadline=None,
    max_examples=RANDOM_EXAMPLES or 25,
    database=None,
    derandomize=not RANDOM_EXAMPLES,
    print_blob=bool(RANDOM_EXAMPLES),
)
hypothesis.settings.load_profile("here")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker per core, at most four, because each one trains the shared runs; none for benchmarks."""
    if any("benchmarks" in argument for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, cores or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, so that no worker is left alone with one of them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of corpora and features, also in processes that tests start, instead of the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest folder of 24 training, 6 validation and 8 test utterances, about a second each."""
    return write_folder(tmp_path_factory.mktemp("corpus") / "tones", train=24, valid=6, test=8)


@pytest.fixture(scope="session")
def place(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that contains the corpus."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "tones").symlink_to(tones)
    return folder


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder as the current folder, with a wide console."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")
    return place


def train(place: Path, out: str, *more: str) -> tuple[Run, str]:
    printed, _ = run("supernet.train", *settings(), "--out", f"runs/{out}", *more, cwd=place)
    return Run(place / "runs" / out), printed


@pytest.fixture(scope="session")
def finished(place: Path) -> tuple[Run, str]:
    return train(place, "finished", *LEARNING)


@pytest.fixture(scope="session")
def exported(finished: tuple[Run, str], place: Path) -> tuple[Run, str]:
    """A copy of the finished run with size 2 exported to ONNX in float32 and int8, and the output of the
    export.
    """
    pytest.importorskip("onnxscript", reason="needs the export extra")
    shutil.copytree(finished[0].folder, place / "runs" / "exported")
    out, _ = run(
        "supernet.export", "runs/exported", "--size", "2", "--int8", "--int8-margin", "100", cwd=place
    )
    return Run(place / "runs" / "exported"), out


@pytest.fixture(scope="session")
def zeroed(place: Path) -> tuple[Run, str]:
    """A run of Iterative-Zero-Out, whose scores jump."""
    return train(place, "zeroed", *ZEROING)
