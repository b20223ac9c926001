"""Unusable audio, on which header, decoding and training agree."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from supernet.task import SPLITS, TaskError
from tasks.audio.headers import read_header
from tasks.files.problems import Unusable, read_problems
from tasks.listing.conversion import convert
from tasks.manifest import Manifest
from tests.tasks.folders import prepared, quiet, tone, write_wav
from tests.tasks.listings import NAMES, WRITERS


def test_samples_too_large_for_features_are_found_by_decoding(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for name in ("good", "loud", "nan"):
        samples = tone(1.0)
        samples[100] = {"good": 0.5, "loud": 1e25, "nan": np.nan}[name]
        soundfile.write(tmp_path / "corpus" / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    lines = [f"{name}.wav,a,{split}" for split in SPLITS for name in ("good", "loud", "nan")]
    (tmp_path / "corpus" / "all.csv").write_text("path,text,split\n" + "\n".join(lines) + "\n")
    source = Manifest(Manifest.Options.model_validate({"path": tmp_path / "corpus"})).source
    (tmp_path / "made").mkdir()
    convert(source, tmp_path / "made", quiet, decode=True)
    found = {(p.split, p.id) for p in read_problems(tmp_path / "made") if p.kind == "unusable audio"}
    assert found == {(split, name) for split in SPLITS for name in ("loud", "nan")}
    with pytest.raises(TaskError, match=r"not finite: features of samples up to 1e\+25"):
        prepared(tmp_path / "corpus")


def test_decoding_finds_the_audio_that_training_leaves_out(tmp_path: Path) -> None:
    """Channels that cancel each other, silence within a recording, and a NaN."""
    corpus, x = tmp_path / "corpus", tone(2.0)
    spoiled, half = x.copy(), x.copy()
    spoiled[24_000], half[16_000:] = np.nan, 0.0
    audio = {"good": x, "still": 0 * x, "faint": 5e-5 * x, "half": half, "spoiled": spoiled}
    for name, samples in audio.items():
        write_wav(corpus / f"{name}.wav", samples)
    soundfile.write(corpus / "spoiled.wav", spoiled, 16_000, subtype="FLOAT")
    write_wav(corpus / "opposite.wav", np.stack([x, -x], axis=1))
    spans = [(f"{name}{a}", name, a, "") for name in (*audio, "opposite") for a in (0, 1)]
    rows = [f"{id},{name}.wav,{a},{a + 1},{channel},a,train" for id, name, a, channel in spans]
    rows += ["left,opposite.wav,0,1,A,a,train", "dev,good.wav,0,1,,a,dev", "test,good.wav,0,1,,a,test"]
    (corpus / "all.csv").write_text("\n".join(["id,path,start,end,channel,text,split", *rows]) + "\n")
    task = prepared(corpus, max_skipped=0.9)
    (tmp_path / "made").mkdir()
    convert(task.source, tmp_path / "made", quiet, decode=True)
    found = {p.id: p.what for p in read_problems(tmp_path / "made") if p.kind == "unusable audio"}
    trained = {skipped.id: skipped.reason.split(" (")[0] for skipped in task.skipped()}
    assert found == trained
    silent = {"still0", "still1", "faint0", "faint1", "half1", "opposite0", "opposite1"}
    assert set(found) == silent | {"spoiled1"}
    assert {found[id] for id in silent} == {"silent"}


@pytest.mark.parametrize("rate", [500, 2_000_000])
def test_an_implausible_sampling_rate_is_a_problem(tmp_path: Path, rate: int) -> None:
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
    soundfile.write(tmp_path / "audio" / "u0.wav", tone(1.0, 100, rate), rate)
    skipped = prepared(tmp_path, max_skipped=0.5).skipped()
    assert {s.split for s in skipped} == set(SPLITS)
    assert all(
        f"its sampling rate must be from 1000 to 1000000 Hz, but is {rate}" in s.reason for s in skipped
    )
    assert all(s.reason.startswith("unreadable: ") for s in skipped)


def test_files_that_are_not_regular_are_problems(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
    audio = tmp_path / "audio"
    (audio / "u0.wav").unlink()
    (audio / "u0.wav").mkdir()
    (audio / "u1.wav").unlink()
    os.mkfifo(audio / "u1.wav")
    skipped = prepared(tmp_path, max_skipped=0.9).skipped()
    assert len(skipped) == 6
    assert all("is not a regular file (" in s.reason for s in skipped)


def test_checking_a_complete_mp3_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Frames refer to earlier ones, so the decoder complains on standard error if it starts in the middle."""
    for i in range(3):
        noise = np.random.default_rng(i).standard_normal(16_000 * (i + 1)) / 10
        soundfile.write(tmp_path / f"u{i}.mp3", noise, 16_000)
        content = (tmp_path / f"u{i}.mp3").read_bytes()
        (tmp_path / f"cut{i}.mp3").write_bytes(content[: len(content) * 6 // 10])
        assert read_header(tmp_path / f"u{i}.mp3", None, decode=False).frames == 16_000 * (i + 1)
    assert capfd.readouterr().err == ""
    for i in range(3):
        with pytest.raises(Unusable, match="is truncated"):
            read_header(tmp_path / f"cut{i}.mp3", None, decode=False)
