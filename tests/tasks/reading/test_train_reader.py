"""Readers resume bit by bit, and ranks share the data."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from pathlib import Path

import pytest
import torch

from supernet.task import Batch, BatchReader
from tasks.manifest import Manifest
from tests.tasks.folders import prepared, write_folder

SPEEDS = (0.9, 1.0, 1.1)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return prepared(write_folder(tmp_path_factory.mktemp("corpus") / "tones"), batch_seconds=6.0)


def reader(task: Manifest, seed: int = 0, rank: int = 0, num_ranks: int = 1) -> BatchReader:
    return task.train_reader(task.tokens(), seed=seed, rank=rank, num_ranks=num_ranks)


def take(batches: BatchReader, number: int) -> list[Batch]:
    return list(itertools.islice(batches, number))


def assert_same(ours: Batch, theirs: Batch) -> None:
    assert ours.ids == theirs.ids
    assert ours.texts == theirs.texts
    assert ours.num_frames == theirs.num_frames
    assert torch.equal(ours.features_BTF, theirs.features_BTF)
    assert ours.hidden_BTF is not None
    assert theirs.hidden_BTF is not None
    assert torch.equal(ours.hidden_BTF, theirs.hidden_BTF)
    assert torch.equal(ours.targets_BL, theirs.targets_BL)


def epoch(task: Manifest, rank: int = 0, num_ranks: int = 1) -> list[Batch]:
    """The batches of the first epoch."""
    batches = reader(task, rank=rank, num_ranks=num_ranks)
    return list(itertools.takewhile(lambda _: batches.state_dict()["epoch"] == 0, batches))


@pytest.mark.parametrize("cut", [0, 1, 5, 20])
@pytest.mark.parametrize(("rank", "num_ranks"), [(0, 1), (0, 2), (1, 2), (3, 4)])
def test_a_resumed_reader_equals_one_never_stopped(
    task: Manifest, cut: int, rank: int, num_ranks: int
) -> None:
    straight = reader(task, rank=rank, num_ranks=num_ranks)
    take(straight, cut)
    state = copy.deepcopy(straight.state_dict())
    resumed = reader(task, rank=rank, num_ranks=num_ranks)
    resumed.load_state_dict(state)

    assert resumed.state_dict() == state, "loading must not change the state"
    # Twelve batches are more than one epoch.
    for ours, theirs in zip(take(resumed, 12), take(straight, 12), strict=True):
        assert_same(ours, theirs)


def test_the_tests_above_reach_the_second_epoch(task: Manifest) -> None:
    assert [1 < len(epoch(task, num_ranks=number)) < 12 for number in (1, 2, 4)] == [True] * 3


def test_resuming_between_two_epochs(task: Manifest) -> None:
    straight = reader(task)
    take(straight, len(epoch(task)))
    resumed = reader(task)
    resumed.load_state_dict(straight.state_dict())
    assert_same(next(resumed), next(straight))


def test_resuming_with_speed_perturbation(tmp_path: Path) -> None:
    task = prepared(write_folder(tmp_path / "tones", train=10), batch_seconds=4.0, speed_perturb=SPEEDS)
    straight = reader(task)
    take(straight, 3)
    resumed = reader(task)
    resumed.load_state_dict(straight.state_dict())
    for ours, theirs in zip(take(resumed, 4), take(straight, 4), strict=True):
        assert_same(ours, theirs)


def test_global_random_state_does_not_matter(task: Manifest) -> None:
    torch.manual_seed(1)
    ours = next(reader(task))
    torch.manual_seed(2)
    assert_same(ours, next(reader(task)))


def test_an_epoch_contains_every_utterance_once(task: Manifest) -> None:
    ids = [id for batch in epoch(task) for id in batch.ids]
    assert sorted(ids) == sorted(f"train-{i}" for i in range(40))


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_ranks_cover_an_epoch_even_if_stopped_in_the_middle(
    task: Manifest, num_ranks: int, seed: int
) -> None:
    task = prepared(task.path, batch_seconds=2.0)
    heard: Counter[str] = Counter()
    for rank in range(num_ranks):
        first = reader(task, seed, rank, num_ranks)
        heard.update(id for batch in take(first, 3) for id in batch.ids)
        second = reader(task, seed, rank, num_ranks)
        second.load_state_dict(first.state_dict())
        rest = list(itertools.takewhile(lambda _: second.state_dict()["epoch"] == 0, second))  # noqa: B023
        assert len(rest) >= 1, "the epoch must not have ended"
        heard.update(id for batch in rest for id in batch.ids)
    assert set(heard) == {f"train-{i}" for i in range(40)}
    # Every rank takes part in the last step; if there are too few utterances, some are used twice.
    assert heard.total() - 40 < num_ranks


def test_two_ranks_divide_an_epoch(task: Manifest) -> None:
    first, second = (epoch(task, rank, 2) for rank in (0, 1))
    ids = [[id for batch in batches for id in batch.ids] for batches in (first, second)]
    assert len(first) == len(second)
    assert not set(ids[0]) & set(ids[1])
    assert len(ids[0]) + len(ids[1]) == 40


def test_the_order_depends_on_seed_and_epoch(task: Manifest) -> None:
    num_batches = len(epoch(task))
    batches = [batch.ids for batch in take(reader(task), 2 * num_batches)]
    assert batches[:num_batches] != batches[num_batches:]
    assert batches[:num_batches] != [batch.ids for batch in take(reader(task, seed=1), num_batches)]


def test_position_in_a_batch_is_independent_of_length(task: Manifest) -> None:
    first, last = zip(
        *((batch.num_frames[0], batch.num_frames[-1]) for batch in take(reader(task), 200)), strict=True
    )
    assert sum(first) / sum(last) == pytest.approx(1, abs=0.1)


def test_batches_have_the_requested_duration(task: Manifest) -> None:
    assert all(sum(batch.num_frames) <= 600 + 130 for batch in epoch(task))


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_a_tiny_corpus_gives_batches_forever(tmp_path: Path, num_ranks: int) -> None:
    task = prepared(write_folder(tmp_path / "tones", train=2))
    for rank in range(num_ranks):
        batches = take(reader(task, rank=rank, num_ranks=num_ranks), 10)
        assert all(len(batch) >= 1 for batch in batches)
        assert all(id in {"train-0", "train-1"} for batch in batches for id in batch.ids)


@pytest.mark.parametrize("seed", range(8))
def test_every_epoch_of_one_rank_is_complete(tmp_path: Path, seed: int) -> None:
    """Although Lhotse's sampler may mistake an empty bucket for the end of an epoch."""
    folder = write_folder(tmp_path / "small", train=24)
    batches = reader(prepared(folder, batch_seconds=9.0), seed=seed)
    heard: dict[object, list[str]] = {}
    for batch in itertools.islice(batches, 15):
        heard.setdefault(batches.state_dict()["epoch"], []).extend(batch.ids)
    *whole, _ = heard.values()
    assert len(whole) >= 3
    assert [sorted(ids) for ids in whole] == [sorted(f"train-{i}" for i in range(24))] * len(whole)


def test_the_state_of_other_batches_is_an_error(task: Manifest) -> None:
    state = reader(task, seed=1).state_dict()
    with pytest.raises(ValueError, match="`seed` of the training data must be 1 as before, but is 0 instead"):
        reader(task).load_state_dict(state)
