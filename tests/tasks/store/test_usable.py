"""Usable utterances, which are neither too long nor too short and have texts of known tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supernet.audio.features import LOG_MEL, SAMPLES, Input
from supernet.task import SPLITS, Skipped, Split, TaskError
from supernet.text.tokens import Tokens
from tasks.files.lines import Lines, write_lines
from tasks.store.index import Utterances
from tasks.store.usable import Limits, Usable, check_share, find_usable
from tests.tasks.folders import add_files, prepared, quiet, tone, write_folder, write_wav

LENGTHS = {"a": 1.0, "b": 1.75, "c": 1.9, "d": 2.0, "e": 2.01, "f": 2.5}
"""Durations in seconds, around a limit of 2.0."""


@pytest.mark.parametrize(("speeds", "left_out"), [((), "ef"), ((1.0, 1.1), "ef"), ((0.9, 1.0), "cdef")])
def test_utterances_too_long_for_the_model_are_left_out(
    tmp_path: Path, speeds: tuple[float, ...], left_out: str
) -> None:
    folder = write_folder(tmp_path / "tones", train=1)
    files = [
        (write_wav(tmp_path / f"{name}.wav", tone(seconds)), "a bc") for name, seconds in LENGTHS.items()
    ]
    add_files(folder, "train", files)
    task = prepared(folder, max_seconds=2.0, max_skipped=0.7, speed_perturb=speeds)
    reasons = {skipped.id.split("-")[0]: skipped.reason for skipped in task.skipped()}
    assert sorted(reasons) == list(left_out)
    assert reasons["f"] == f"too long: {2.5 / min(1.0, *speeds, 1.0):.2f} s, and `task.max_seconds` is 2"
    reader = task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)
    assert all(max(next(reader).num_frames) <= 200 for _ in range(20))


def test_too_many_long_utterances_are_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=9)
    with pytest.raises(
        TaskError, match=r"`max_skipped` .* 1 of 9 utterances of the train .*: too long: 1\.3"
    ):
        prepared(folder, max_seconds=1.25)


@pytest.mark.parametrize("total", [7, 17, 100, 1000, 3333])
def test_the_share_in_a_message_is_enough_and_rounded_up(total: int) -> None:
    for number in {1, total // 3, total - 1, round(0.29 * total), round(0.57 * total)} - {0}:
        unusable = [Skipped(f"u{i}", "train", "silent") for i in range(number)]
        with pytest.raises(TaskError) as refused:
            check_share(unusable, total, "train", 0.0)
        share = float(str(refused.value).split("`task.max_skipped=")[1].split("`")[0])
        check_share(unusable, total, "train", share)
        assert number / total <= share + 1e-9 < number / total + 0.0101
    with pytest.raises(TaskError) as refused:
        check_share([Skipped("u", "train", "silent")] * total, total, "train", 1.0)
    assert "--set" not in str(refused.value), "nothing would be left"


def test_usable_utterances_are_determined_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the method that needs them first, for each split and set of tokens."""
    task = prepared(write_folder(tmp_path / "tones"))
    decided = []

    def counting(split: Split, *arguments: Any) -> Usable:
        decided.append(split)
        return find_usable(split, *arguments)

    monkeypatch.setattr("tasks.corpus.find_usable", counting)
    other = prepared(task.path, cache=task.cache)
    assert decided == list(SPLITS)
    tokens = other.tokens()
    other.skipped()
    other.remarks(SPLITS, tokens)
    other.train_size()
    other.train_lengths(tokens)
    other.train_reader(tokens, seed=0, rank=0, num_ranks=1)
    for split in SPLITS:
        assert list(other.eval_batches(split, tokens))
    other.prepare_for(["test"], tokens, quiet)
    assert decided == list(SPLITS)
    assert list(other.eval_batches("test", Tokens(("<blk>", "a", "b", "c", " "))))
    assert decided == [*SPLITS, "test"]


HALF_FRAMES_COUNT = replace(SAMPLES, convolutions=((320, 160),))


@pytest.mark.parametrize("input", [LOG_MEL, SAMPLES, HALF_FRAMES_COUNT])
def test_an_utterance_is_usable_if_the_shortest_audio_of_its_indexed_length_is(
    tmp_path: Path, input: Input
) -> None:
    """The index rounds lengths to frames of 10 ms, whatever the recognizer's input is."""
    lengths = np.arange(1, 120)
    write_lines(tmp_path / "cuts", [b'{"id": "u", "supervisions": [{"text": "a"}]}'])
    table_UC = np.stack([np.zeros_like(lengths), np.zeros_like(lengths), lengths], axis=1)
    utterances = Utterances(Lines(tmp_path / "cuts"), table_UC)
    for needed in (1, 2, 3, 7, 20, 55):
        needed_U = np.full(len(lengths), needed, np.int32)
        usable = find_usable("test", utterances, Tokens(("<blk>", "a")), needed_U, Limits(input, 120.0))
        enough = [
            length
            for length in lengths.tolist()
            if input.num_frames(160 * length - 80) >= input.shortest
            and input.num_stream_frames(input.num_frames(160 * length - 80)) >= needed
        ]
        assert usable.utterances.num_frames.tolist() == enough
        assert len(usable.skipped) == len(lengths) - len(enough)
