"""Lhotse's cuts, which may be untrusted: every defect is reported, and no command in them is run."""

from __future__ import annotations

import gzip
import itertools
import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from lhotse import AudioSource, CutSet

from supernet.task import TaskError
from tasks.store.manifest_folder import manifest_path
from tests.tasks.folders import add_files, prepared, tone, write_folder, write_wav


def test_truncated_files_are_found_even_if_the_manifest_has_their_length(tmp_path: Path) -> None:
    folder, files = write_folder(tmp_path / "tones", train=3), []
    for id, options in (("0", {}), ("1", {"format": "OGG", "subtype": "OPUS"}), ("2", {})):
        path = write_wav(tmp_path / "audio" / f"{id}.wav", tone(2.0))
        soundfile.write(path, tone(2.0), 16_000, **options)
        if id != "2":
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        files.append((path, "a bc"))
    add_files(folder, "train", files)
    reasons = {skipped.id: skipped.reason for skipped in prepared(folder, max_skipped=0.9).skipped()}
    assert set(reasons) == {"0", "1"}
    assert all("is truncated after" in reason for reason in reasons.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": float("nan")}, "its text must be a string, but is nan instead"),
        ({"text": ["a"]}, "its text must be a string"),
        ({"text": True}, "its text must be a string"),
        ({"text": None}, "no text"),
    ],
)
def test_the_text_of_a_cut_must_be_a_string(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    folder = write_folder(tmp_path / "tones", train=3)
    edit(manifest_path(folder, "train"), lambda cut: cut["supervisions"][0].update(change))
    (skipped,) = prepared(folder, max_skipped=0.5).skipped()
    assert (skipped.id, skipped.reason[: len(reason)]) == ("train-0", reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": 7}, "the name of a cut must be a string"),
        ({"duration": float("nan")}, "must have a duration"),
        ({"duration": float("inf")}, "must have a duration"),
        ({"custom": ["part"]}, "must be a Lhotse CutSet, but line 1 cannot be read"),
        ({"type": "Song"}, "must be a Lhotse CutSet, but line 1 cannot be read"),
    ],
)
def test_an_invalid_cut_is_a_one_line_error(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    folder = write_folder(tmp_path / "tones", train=3)
    edit(manifest_path(folder, "train"), lambda cut: cut.update(change))
    with pytest.raises(TaskError, match=reason) as error:
        prepared(folder)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda cut: cut.update(start=-0.25), "its start must not be negative, but is -0.25 s"),
        (lambda cut: cut.pop("recording"), "its audio must be a file, but is missing instead"),
        (lambda cut: cut["recording"].update(sources=[]), "its audio must be a file, but is missing instead"),
        (
            lambda cut: cut["supervisions"][0].update(start=0.25, duration=9.0),
            "its text must lie within its audio, from 0 s to 0.5 s, but lies from 0.25 s to 9.25 s instead",
        ),
        (
            lambda cut: cut["supervisions"][0].update(start=-1.0, duration=0.5),
            "its text must lie within its audio, from 0 s to 0.5 s, but lies from -1 s to -0.5 s instead",
        ),
    ],
)
def test_a_cut_whose_audio_and_text_disagree_is_left_out(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    folder = write_folder(tmp_path / "tones", train=3)
    edit(manifest_path(folder, "train"), change)
    (skipped,) = prepared(folder, max_skipped=0.5).skipped()
    assert (skipped.id, skipped.reason) == ("train-0", reason)


def test_a_speaker_without_a_valid_name_is_unknown(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", test=2)
    speakers: list[object] = [{"a": 1}, ["a"], 7, None, ""]
    found = []
    for speaker in speakers:

        def rename(cut: dict[str, Any], speaker: object = speaker) -> None:
            cut["supervisions"][0]["speaker"] = speaker

        edit(manifest_path(folder, "test"), rename)
        found.append(prepared(folder).speakers("test").get("test-0"))
    assert found == [None, None, "7", None, None]


def edit(manifest: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply ``change`` to the first cut."""
    first, *others = gzip.decompress(manifest.read_bytes()).splitlines()
    cut = json.loads(first)
    change(cut)
    manifest.write_bytes(gzip.compress(b"\n".join([json.dumps(cut).encode(), *others])))


def test_audio_that_vanishes_later_is_a_one_line_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=6)
    task = prepared(folder, store_hours=0)
    gone = folder / "audio" / "train" / "train-4.flac"
    content, status = gone.read_bytes(), gone.stat()
    for broken in (None, content[: len(content) // 2], b""):
        gone.unlink(missing_ok=True)
        if broken is not None:
            gone.write_bytes(broken)
        reader = task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)
        with pytest.raises(TaskError, match=r"^the audio of 'train-4' in the train split must be") as error:
            deque(itertools.islice(reader, 10), maxlen=0)
        assert len(str(error.value).splitlines()) == 1
    gone.write_bytes(content)
    os.utime(gone, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert prepared(folder, store_hours=0).skipped() == []


def test_a_file_that_is_not_a_manifest_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    manifest_path(folder, "test").write_text("nothing of the kind")
    with pytest.raises(TaskError, match="must be a Lhotse CutSet, but it cannot be read: Not a gzipped file"):
        prepared(folder)


def test_duplicate_names_are_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    wav = write_wav(tmp_path / "twin.wav", tone(1.0))
    add_files(folder, "test", [(wav, "a"), (wav, "b")])
    with pytest.raises(TaskError, match="twice"):
        prepared(folder)


def test_commands_in_a_manifest_are_not_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", test=1)
    cut = next(iter(CutSet.from_file(manifest_path(folder, "test"))))
    cut.recording.sources = [AudioSource("command", [0], f"touch {tmp_path / 'ran'}")]
    CutSet.from_cuts([cut]).to_file(manifest_path(folder, "test"))
    with pytest.raises(TaskError, match="must be a file, but is command instead"):
        prepared(folder)
    assert not (tmp_path / "ran").exists()
