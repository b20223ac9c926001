"""Tasks whose recognizer reads samples instead of log-mel features."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from supernet.audio.features import LOG_MEL, SAMPLES
from tasks.audio.cuts import load_features, load_samples
from tasks.store.manifest_folder import write_split
from tests.tasks.folders import prepared, utterances, write_folder

UNMASKED = {"spec_augment": {"time_masks": 0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("samples") / "tones", train=9, valid=3, test=3)


def test_batches_hold_the_recordings(folder: Path) -> None:
    task = prepared(folder, input="samples", **UNMASKED)
    tokens = task.tokens()
    batches = [
        next(task.train_reader(tokens, seed=0, rank=0, num_ranks=1)),
        *task.eval_batches("test", tokens),
    ]
    cuts = {cut.id: cut for split in ("train", "test") for cut in task.folder.cuts[split]}
    for batch in batches:
        assert batch.input is SAMPLES
        for id, row_T1, n in zip(batch.ids, batch.features_BTF, batch.num_frames, strict=True):
            assert torch.equal(row_T1[:n, 0], load_samples(cuts[id]))
            assert not row_T1[n:].any()
            assert abs(n / 16_000 - cuts[id].duration) < 1e-3
    assert next(iter(prepared(folder).eval_batches("test", tokens))).input is LOG_MEL


def test_masks_of_samples_hide_one_stretch_of_time_as_long_as_those_of_features(folder: Path) -> None:
    task = prepared(folder, input="samples", spec_augment={"time_masks": 1, "frames_per_time_mask": 50})
    cuts = {cut.id: cut for cut in task.folder.cuts["train"]}
    reader = task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)
    longest = 0
    for _ in range(8):
        batch = next(reader)
        assert batch.hidden_BTF is not None
        rows = zip(batch.ids, batch.features_BTF, batch.hidden_BTF, batch.num_frames, strict=True)
        for id, row_T1, hidden_T1, n in rows:
            assert torch.equal(row_T1[:n], load_features(cuts[id], input=SAMPLES))
            where = hidden_T1.squeeze(1).nonzero().flatten()
            if len(where):
                assert len(where) == where[-1] - where[0] + 1
                longest = max(longest, len(where))
    assert 10 < longest <= 10 * 160


def test_texts_may_be_twice_as_long_as_with_features(tmp_path: Path) -> None:
    """Because an encoder frame lasts 20 ms instead of 40 ms."""
    folder = tmp_path / "tones"
    write_split(folder, "train", utterances("train", 4))
    write_split(
        folder, "valid", utterances("valid", 2, "bc" * 9)
    )  # in 0.5 s: 11 frames of 40 ms, or 24 of 20 ms
    write_split(folder, "test", utterances("test", 2))
    allowed = {"max_skipped": 0.5}
    assert [skipped.id for skipped in prepared(folder, **allowed).skipped()] == ["valid-0"]
    assert prepared(folder, input="samples", **allowed).skipped() == []
