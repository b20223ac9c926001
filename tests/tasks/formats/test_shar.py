"""Lhotse Shar, as written by Lhotse."""

from __future__ import annotations

import gzip
import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lhotse import CutSet, Fbank, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.features.io import NumpyFilesWriter

from supernet.task import SPLITS, TaskError
from tasks.audio.cuts import load_samples
from tests.tasks.folders import prepared, write_wav
from tests.tasks.listings import NAMES, cuts, shar
from tests.tasks.shards import repack, skipped, wave


@pytest.mark.parametrize("kind", ["flac", "wav", "mp3"])
def test_shar_is_read_as_by_lhotse(tmp_path: Path, kind: str) -> None:
    source = []
    for i in range(7):
        file = write_wav(tmp_path / "audio" / f"u.{i}.wav", wave(i, channels=1 + (i == 3)))
        recording = Recording.from_file(file, recording_id=f"rec/u.{i}")
        cut = recording.to_cut().truncate(offset=0.1, duration=0.4, preserve_id=True)
        span = (0.1, 0.2) if i == 4 else (0.0, 0.4)
        cut.supervisions = [
            SupervisionSegment(cut.id, recording.id, *span, cut.channel, text="a bc", custom={"x": 1})
        ]
        cut.note = "of no use"
        source.append(cut)
    for name in NAMES.values():
        (tmp_path / "shar" / name).mkdir(parents=True)
        fields = {"recording": kind, "note": "jsonl"}
        CutSet.from_cuts(source).to_shar(tmp_path / "shar" / name, fields=fields, shard_size=3)
    task = prepared(tmp_path / "shar")
    for split, name in NAMES.items():
        theirs = {cut.id: cut for cut in CutSet.from_shar(in_dir=tmp_path / "shar" / name)}
        ours = list(task.folder.cuts[split])
        assert [cut.id for cut in ours] == list(theirs)
        for cut in ours:
            expected = theirs[cut.id].load_audio().mean(axis=0)
            assert torch.equal(load_samples(cut), torch.from_numpy(expected))


def test_cuts_and_audio_of_a_shard_may_differ_in_order(tmp_path: Path) -> None:
    for name in NAMES.values():
        shar(tmp_path, name)
        for tar in (tmp_path / name).glob("recording*.tar"):
            repack(tar, lambda files: dict(random.Random(0).sample(list(files.items()), len(files))))
    task = prepared(tmp_path)
    assert task.skipped() == []
    said = {cut.supervisions[0].text: round(cut.duration, 6) for cut in task.folder.cuts["train"]}
    assert said == {"a bc": 1.0, "bc": 1.2, "c a": 1.4}


def write_shar(folder: Path, found: list[Cut], field: str = "recording") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"recording": "flac", "features": "numpy"}[field]
    CutSet.from_cuts(found).to_shar(folder, fields={field: kind}, warn_unused_fields=False)
    return folder


def test_all_problems_of_a_shard_are_reported(tmp_path: Path) -> None:
    for name in ("dev", "test"):
        shar(tmp_path, name)
    found = list(cuts(tmp_path / "source"))
    for id in ("none", "outside", "many", "mute", "unread", "gone"):
        cut = found[0].with_id(id)
        cut.supervisions = [replace(found[0].supervisions[0], id=id)]
        found.append(cut)
        if id == "none":
            cut.recording = None
        if id == "outside":
            cut.supervisions[0].duration = 1.5
        if id == "many":
            cut.supervisions *= 2
        if id == "mute":
            cut.supervisions = []
    folder = write_shar(tmp_path / "train", found)
    cut_file = folder / "cuts.000000.jsonl.gz"
    lines = gzip.decompress(cut_file.read_bytes()).decode().splitlines()
    unread, lines[7] = lines[7], "{"
    assert json.loads(unread)["id"] == "unread"
    cut_file.write_bytes(gzip.compress("\n".join([*lines, "[]", '{"id": "x"}', lines[0]]).encode()))
    repack(folder / "recording.000000.tar", lambda files: {n: c for n, c in files.items() if "gone" not in n})
    assert skipped(tmp_path) == {
        ("train", "none", "text without audio", "cuts.000000.jsonl.gz:4"),
        ("train", "outside", "segment", "cuts.000000.jsonl.gz:5"),
        ("train", "many", "bad line", "cuts.000000.jsonl.gz:6"),
        ("train", "mute", "audio without text", "cuts.000000.jsonl.gz:7"),
        ("train", "", "bad line", "cuts.000000.jsonl.gz:8"),
        ("train", "gone", "text without audio", "cuts.000000.jsonl.gz:9"),
        ("train", "", "bad line", "cuts.000000.jsonl.gz:10"),
        ("train", "x", "bad line", "cuts.000000.jsonl.gz:11"),
        ("train", found[0].id, "duplicate", "cuts.000000.jsonl.gz:12"),
        ("train", "unread", "audio without text", "recording.000000.tar:unread.flac"),
    }


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_features_without_recordings_are_an_error(tmp_path: Path) -> None:
    for name in ("dev", "test"):
        shar(tmp_path, name)
    with NumpyFilesWriter(tmp_path / "store") as store:
        found = [cut.compute_and_store_features(Fbank(), store) for cut in cuts(tmp_path / "source")]
    folder = write_shar(tmp_path / "train", found, "features")
    with pytest.raises(TaskError, match=r"train\.jsonl\.gz` must hold utterances, but is empty") as error:
        prepared(tmp_path)
    listed = Path(str(error.value).rpartition("and why, see ")[2].removesuffix("."))
    problems = [line.split("\t") for line in listed.read_text().splitlines()[1:]]
    assert [kind for split, _, kind, *_ in problems if split == "train"] == ["text without audio"] * 3
    with pytest.raises(TaskError) as error:
        prepared(folder)
    assert "there is no recording.000000.tar; features alone are not enough" in str(error.value)
    assert "fields={'recording': 'flac'}" in str(error.value)


def test_truncated_cuts_are_a_problem(tmp_path: Path) -> None:
    for name in NAMES.values():
        shar(tmp_path, name)
    cut_file = tmp_path / "train" / "cuts.000000.jsonl.gz"
    os.truncate(cut_file, cut_file.stat().st_size - 8)
    assert skipped(tmp_path) == {("train", "", "unreadable", "cuts.000000.jsonl.gz:3")}


def test_a_single_shard_can_be_given(tmp_path: Path) -> None:
    folder = write_shar(tmp_path / "mine", list(cuts(tmp_path / "source")))
    for path in (folder, folder / "cuts.000000.jsonl.gz"):
        assert sorted(len(prepared(path).folder.cuts[split]) for split in SPLITS) == [1, 1, 1]
