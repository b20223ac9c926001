"""Evaluation reads every utterance once, in a fixed order, and ranks share them."""

from __future__ import annotations

import pytest

from tasks.manifest import Manifest
from tests.tasks.folders import prepared, write_folder


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return prepared(write_folder(tmp_path_factory.mktemp("corpus") / "tones"))


def test_evaluation_reads_every_utterance_once_shortest_first(task: Manifest) -> None:
    batches = task.eval_batches("test", task.tokens())
    frames = [frames for batch in batches for frames in batch.num_frames]
    ids = [id for batch in batches for id in batch.ids]
    assert frames == sorted(frames)
    assert sorted(ids) == [f"test-{i}" for i in range(5)]
    assert [id for batch in batches for id in batch.ids] == ids, "batches must be iterable again"


def test_ranks_evaluate_disjoint_utterances(task: Manifest) -> None:
    shares = [
        {
            id
            for batch in task.eval_batches("train", task.tokens(), rank=rank, num_ranks=2)
            for id in batch.ids
        }
        for rank in (0, 1)
    ]
    assert not shares[0] & shares[1]
    assert len(shares[0] | shares[1]) == 40
