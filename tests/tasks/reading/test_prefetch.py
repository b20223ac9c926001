"""Prefetched batches equal those read without threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import pytest
from lhotse.audio.backend import get_current_audio_backend

from supernet.runs.run import Run
from tasks.audio.cuts import load_samples
from tasks.manifest import Manifest
from tasks.reading.prefetch import Prefetcher
from tests.conftest import train
from tests.supernet.processes import LEARNING
from tests.tasks.folders import prepared, write_folder
from tests.tasks.reading.test_train_reader import SPEEDS, assert_same, reader, take

FEW_THREADS, MANY_THREADS = 2, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("ahead") / "tones", train=30)


def task(folder: Path, num_workers: int) -> Manifest:
    return prepared(folder, batch_seconds=4.0, speed_perturb=SPEEDS, num_workers=num_workers)


@pytest.mark.parametrize("num_workers", [1, FEW_THREADS, MANY_THREADS])
def test_threads_change_nothing(folder: Path, num_workers: int) -> None:
    ours, theirs = reader(task(folder, num_workers)), reader(task(folder, 0))
    for _ in range(25):
        assert_same(next(ours), next(theirs))
        assert ours.state_dict() == theirs.state_dict()


@pytest.mark.parametrize("done", [0, 1, 7])
@pytest.mark.parametrize("num_workers", [0, MANY_THREADS])
def test_a_reader_may_resume_with_another_number_of_threads(
    folder: Path, done: int, num_workers: int
) -> None:
    straight = reader(task(folder, FEW_THREADS))
    take(straight, done)
    resumed = reader(task(folder, num_workers))
    take(resumed, 3)  # pending batches are discarded
    resumed.load_state_dict(straight.state_dict())
    assert resumed.state_dict() == straight.state_dict()
    for ours, theirs in zip(take(resumed, 10), take(straight, 10), strict=True):
        assert_same(ours, theirs)


def test_an_error_is_raised_with_its_batch(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=12)
    order = [batch.ids for batch in take(reader(task(folder, 0)), 3)]
    threaded = reader(task(folder, FEW_THREADS))
    (folder / "audio" / "train" / f"{order[2][0]}.flac").write_bytes(b"fLaC")
    assert [batch.ids for batch in take(threaded, 2)] == order[:2]
    position = threaded.state_dict()
    with pytest.raises(ValueError, match="cannot be decoded"):
        next(threaded)
    assert threaded.state_dict() == position


def test_no_thread_outlives_its_reader(folder: Path) -> None:
    before = set(enumerate_threads())
    ahead = reader(task(folder, MANY_THREADS))
    take(ahead, 3)
    mine = set(enumerate_threads()) - before
    assert 1 <= len(mine) <= MANY_THREADS, "idle threads must be used before another is started"
    del ahead
    assert not [thread for thread in mine if thread.is_alive()]


class Dropping:
    """A reader whose second batch drops the last reference to the prefetcher in a prefetching thread."""

    def __init__(self) -> None:
        self.held: list[Prefetcher] = []
        self.may_drop, self.dropped, self.number = Event(), Event(), 0

    def plan(self) -> Callable[[], Any]:
        self.number += 1
        return (lambda: "first") if self.number == 1 else self._drop

    def _drop(self) -> None:
        self.may_drop.wait()
        self.held.clear()
        self.dropped.set()

    def state_dict(self) -> dict[str, object]:
        return {}


def test_the_last_reference_can_be_dropped_in_one_of_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The garbage collector can run in any thread, and a thread cannot wait for itself."""
    errors: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    reader = Dropping()
    reader.held.append(Prefetcher(reader, 1))  # type: ignore[arg-type]
    assert next(reader.held[0]) == "first"  # type: ignore[comparison-overlap]
    reader.may_drop.set()
    assert reader.dropped.wait(60)
    assert errors == []


def test_the_users_audio_backend_is_restored_after_reading(folder: Path) -> None:
    before = get_current_audio_backend()
    plain = task(folder, 0)
    cuts = [plain.folder.cuts["train"][i] for i in range(8)]
    with ThreadPoolExecutor(4) as threads:
        lengths = list(threads.map(lambda cut: len(load_samples(cut)), cuts * 5))
    assert lengths == [round(cut.duration * 16_000) for cut in cuts] * 5
    assert get_current_audio_backend() is before


def test_training_with_threads_gives_the_same_weights(finished: tuple[Run, str], place: Path) -> None:
    threaded, _ = train(place, "threaded", *LEARNING, "--set", f"task.num_workers={FEW_THREADS}")
    ours, theirs = (found.model_stem.with_suffix(".safetensors") for found in (threaded, finished[0]))
    assert ours.read_bytes() == theirs.read_bytes()
