"""Conversion: all problems are found in one pass, with file and line, and the rest is used."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest

from supernet.task import SPLITS, TaskError
from tasks.files.problems import read_problems
from tasks.listing.conversion import convert
from tasks.listing.entries import Entries, Entry, Source
from tasks.store.summary import read_summary
from tests.tasks.corpora import write_flac
from tests.tasks.folders import add_files, numbers_of_cuts, prepared, quiet, tone, write_folder, write_wav
from tests.tasks.listings import WRITERS, pack


def bad_corpus(folder: Path) -> Path:
    """Write a table of ten good utterances and one with each kind of problem."""
    for i in range(10):
        write_wav(folder / f"good{i}.wav", tone(1.0, 200 + 20 * i))
    (folder / "zero.wav").touch()
    write_wav(folder / "header.wav", np.zeros(0))
    (folder / "noise.wav").write_bytes(b"no audio at all")
    write_wav(folder / "slow.wav", tone(1.0, rate=8000), 8000)
    lines = [
        *(
            f"good{i}.wav,a bc,{split},,"
            for i, split in enumerate(["train"] * 6 + ["valid"] * 2 + ["test"] * 2)
        ),
        "gone.wav,a,train,,",
        "zero.wav,a,train,,",
        "header.wav,a,train,,",
        "noise.wav,a,train,,",
        "good0.wav,a,valid,,",
        "good0.wav,a bc,train,,",
        "good1.wav,,train,0.5,",
        ",a,train,,",
        "good2.wav,a,train,0.5,3",
        "good2.wav,a,train,-0.5,",
        "slow.wav,a,train,,",
        "good3.wav,a ü,valid,0.25,0.5",
        "good4.wav,ä,test,0.25,0.5",
        "one,too,few",
    ]
    (folder / "all.csv").write_text("path,text,split,offset,duration\n" + "\n".join(lines) + "\n")
    return folder


EXPECTED = [
    ("train", "gone", "missing file", 12),
    ("train", "zero", "zero length", 13),
    ("train", "header", "zero length", 14),
    ("train", "noise", "unreadable", 15),
    ("valid", "good0", "same audio", 16),
    ("train", "good0", "duplicate", 17),
    ("train", "good1-0000500", "audio without text", 18),
    ("train", "all.csv:19", "text without audio", 19),
    ("train", "good2-0000500", "segment", 20),
    ("train", "good2--000500", "segment", 21),
    ("train", "slow", "sampling rate", 22),
    ("train", "one", "bad line", 25),
    ("valid", "good3-0000250", "characters", 23),
    ("test", "good4-0000250", "characters", 24),
]


@pytest.fixture
def refused(tmp_path: Path) -> tuple[str, Path]:
    """The error message, and the folder of manifests made."""
    with pytest.raises(TaskError) as error:
        prepared(bad_corpus(tmp_path / "corpus"))
    (made,) = (tmp_path / "cache").glob("manifest-*")
    return str(error.value), made


def test_all_problems_are_reported_with_file_and_line(refused: tuple[str, Path]) -> None:
    found = [(p.split, p.id.rpartition("/")[2], p.kind, p.where) for p in read_problems(refused[1])]
    listing = refused[1].parents[1] / "corpus" / "all.csv"
    assert found == [(split, id, kind, f"{listing}:{line}") for split, id, kind, line in EXPECTED]


def test_a_split_with_too_many_problems_is_an_error_that_says_what_to_do(refused: tuple[str, Path]) -> None:
    (line,) = refused[0].splitlines()
    assert "`max_skipped` allows a share of 0.05, but 10 of 17 utterances of the train split" in line
    assert "which `task.max_skipped=0.59` allows. Repair them, or allow more. All of them: " in line
    listed = Path(line.rpartition("All of them: ")[2].removesuffix("."))
    ids = [line.split("\t")[1].rpartition("/")[2] for line in listed.read_text().splitlines()[1:]]
    assert sorted(ids) == sorted(
        id for _, id, kind, _ in EXPECTED if kind not in ("sampling rate", "same audio", "characters")
    )


def test_valid_utterances_are_used(tmp_path: Path) -> None:
    folder = bad_corpus(tmp_path / "corpus")
    listing = folder / "all.csv"
    listing.write_text("".join(line + "\n" for line in listing.read_text().splitlines() if "ü" not in line))
    listing.write_text("".join(line + "\n" for line in listing.read_text().splitlines() if "ä" not in line))
    task = prepared(folder, max_skipped=0.6)
    assert {split: len(task.folder.cuts[split]) for split in SPLITS} == {"train": 7, "valid": 3, "test": 2}
    assert len(task.skipped()) == 10


def test_the_summary_counts_used_utterances(refused: tuple[str, Path]) -> None:
    summary = read_summary(refused[1])
    assert summary is not None
    train, valid, test = summary["rows"]
    assert (train["utterances"], valid["utterances"], test["utterances"]) == (7, 4, 3)
    assert train["hours"] == pytest.approx(7 / 3600, abs=1e-4)
    assert train["rates"] == {"8000": 1, "16000": 6}
    assert (train["characters"], valid["characters"]) == (" abc", " abcü")
    assert {"split": "train", "kind": "zero length", "number": 2} in summary["problems"]


def test_a_truncated_file_is_reported_with_its_line(tmp_path: Path) -> None:
    for i in range(5):
        write_flac(tmp_path / f"u{i}.flac", 2.0)
    broken = tmp_path / "u3.flac"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    splits = ("train", "train", "valid", "train", "test")
    lines = (f"u{i}.flac,a,{split}\n" for i, split in enumerate(splits))
    (tmp_path / "all.csv").write_text("path,text,split\n" + "".join(lines))
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert skipped.id == "u3"
    assert skipped.reason.startswith(f"unreadable: '{broken}' is truncated after")
    assert skipped.reason.endswith("all.csv:5)")


def test_decoding_finds_damaged_audio_before_training(tmp_path: Path) -> None:
    """A damaged middle shows neither in the header nor at the end."""
    whole, broken = write_flac(tmp_path / "whole.flac", 2.0), write_flac(tmp_path / "broken.flac", 2.0)
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 3] + bytes(1000) + content[len(content) // 3 + 1000 :])

    def read() -> Entries:
        for i, (file, split) in enumerate(itertools.product((whole, broken), SPLITS)):
            yield Entry(f"u{i}", f"list:{i}", file, "a", split)

    for decode, number in ((False, 0), (True, 3)):
        folder = tmp_path / str(decode)
        folder.mkdir()
        convert(Source((), read), folder, quiet, decode)
        found = [problem for problem in read_problems(folder) if problem.leaves_out]
        assert len(found) == number
        assert {problem.kind for problem in found} <= {"unreadable"}


def test_audio_added_later_is_found(tmp_path: Path) -> None:
    for i in range(5):
        write_flac(tmp_path / f"u{i}.flac")
    (tmp_path / "u3.flac").rename(tmp_path / "later.flac")
    splits = ("train", "train", "valid", "train", "test")
    lines = (f"u{i}.flac,a,{split}\n" for i, split in enumerate(splits))
    (tmp_path / "all.csv").write_text("path,text,split\n" + "".join(lines))
    assert [s.id for s in prepared(tmp_path, max_skipped=0.5).skipped()] == ["u3"]
    (tmp_path / "later.flac").rename(tmp_path / "u3.flac")
    assert prepared(tmp_path, max_skipped=0.5).skipped() == []


def test_a_changed_listing_gives_a_new_corpus(tmp_path: Path) -> None:
    for i in range(6):
        write_flac(tmp_path / f"u{i}.flac")
    listing = tmp_path / "all.csv"
    listing.write_text("path,text\n" + "".join(f"u{i}.flac,a\n" for i in range(5)))
    before = prepared(tmp_path, held_out=0.2)
    listing.write_text("path,text\n" + "".join(f"u{i}.flac,a\n" for i in range(6)))
    after = prepared(tmp_path, held_out=0.2)
    numbers = [sum(len(task.folder.cuts[split]) for split in SPLITS) for task in (before, after)]
    assert numbers == [5, 6]


def test_a_listing_is_converted_while_it_is_read(tmp_path: Path) -> None:
    """Entries are not collected: when the last one is read, the first ones have been processed."""
    audio = write_flac(tmp_path / "u.flac", 30.0)
    (tmp_path / "made").mkdir()
    reads: list[int] = []

    def read() -> Entries:
        reads.append(0)
        for i in range(250):
            reads[-1] = i
            yield Entry(f"u{i}", f"list:{i}", audio, "a", SPLITS[i % 3], start=i / 10, duration=0.1)

    seen: list[tuple[int, int]] = []
    source = Source((), read)
    convert(source, tmp_path / "made", lambda what, done, total: seen.append((done, reads[-1])))
    assert seen == [(100, 99), (200, 199), (250, 249)]
    assert numbers_of_cuts(tmp_path / "made") == [84, 83, 83]


def test_a_file_name_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("train", "dev", "test"):
        WRITERS["webdataset"](corpus, name)
    content = (corpus / "audio" / "u0.wav").read_bytes()
    pack(corpus / os.fsdecode(b"train-1\xe9.tar"), {"x.wav": content, "x.txt": b"a"})
    task = prepared(corpus, max_skipped=0.6)
    assert {split: len(task.folder.cuts[split]) for split in SPLITS} == {"train": 3, "valid": 3, "test": 3}
    (skipped,) = task.skipped()
    assert skipped.id == "x"
    assert "must have a name in UTF-8" in skipped.reason


@pytest.mark.parametrize("text", ["a\x00b", "\x1b[31mred", "a\x7f", "\x9b1m", "\x08"])
@pytest.mark.parametrize("listed", [True, False])
def test_control_characters_never_become_tokens(tmp_path: Path, text: str, listed: bool) -> None:
    (tmp_path / "corpus").mkdir()
    audio = write_wav(tmp_path / "corpus" / "x.wav", tone(1.0))
    if listed:
        said = [*((split, "a b") for split in SPLITS), ("train", text)]
        rows = [{"path": "x.wav", "id": f"u{i}", "text": t, "split": s} for i, (s, t) in enumerate(said)]
        (tmp_path / "corpus" / "all.json").write_text(json.dumps(rows))
    else:
        write_folder(tmp_path / "corpus", 3, 1, 1)
        add_files(
            tmp_path / "corpus",
            "train",
            [(tmp_path / "corpus/audio/train/train-0.flac", "a bc"), (audio, text)],
        )
    task = prepared(tmp_path / "corpus", max_skipped=0.5)
    assert not any(ord(sign) < 32 or ord(sign) in (0x7F, 0x9B) for sign in "".join(task.tokens().symbols))
    (skipped,) = task.skipped()
    assert "its text must have no control characters, but has " in skipped.reason
