"""WebDataset's tar files: every problem is reported, and intact utterances are used."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from supernet.task import SPLITS, TaskError
from tasks.audio.cuts import load_samples
from tasks.files.members import Member, members
from tests.tasks.folders import prepared
from tests.tasks.listings import NAMES, WRITERS, pack
from tests.tasks.shards import audio, good, sample, skipped, wave


def bad_files() -> dict[str, bytes]:
    """One utterance with each kind of problem, and one without."""
    return {
        **sample("ok", i=1),
        "noise.wav": b"no audio at all",
        "noise.txt": b"a",
        **sample("silent", None),
        "unsaid.txt": b"a",
        "zero.wav": b"",
        "zero.txt": b"a",
        **sample("two"),
        "two.flac": audio(wave(0), suffix="flac"),
        **sample("odd", None),
        "odd.json": b'["a"]',
        **sample("lost", None),
        "lost.json": b'{"text": "a", "split": "trian"}',
        **sample("latin", None),
        "latin.txt": "für".encode("latin-1"),
        **sample("long", None),
        "long.json": b'{"text": "a", "duration": 9}',
        "phone.m4a": b"....ftypM4A ",
        "phone.txt": b"a",
        "ok.again/ok.wav": b"",
        "._ok.wav": b"what a Mac adds",
        "LICENSE": b"free",
    }


def test_all_problems_of_a_tar_are_reported_and_the_other_utterances_used(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    tar = pack(tmp_path / "train-000000.tar", bad_files())
    with tarfile.open(tar, "a") as archive:
        for name, content in sample("ok", i=2).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    place = "train-000000.tar"
    assert skipped(tmp_path) == {
        ("train", "noise", "unreadable", f"{place}:noise.wav"),
        ("train", "silent", "audio without text", f"{place}:silent.wav"),
        ("train", "unsaid", "text without audio", f"{place}:unsaid.txt"),
        ("train", "zero", "zero length", f"{place}:zero.wav"),
        ("train", "two", "duplicate", f"{place}:two.wav"),
        ("train", "odd", "bad line", f"{place}:odd.wav"),
        ("train", "lost", "bad line", f"{place}:lost.wav"),
        ("train", "latin", "bad line", f"{place}:latin.wav"),
        ("train", "long", "segment", f"{place}:long.wav"),
        ("train", "phone", "unreadable", f"{place}:phone.m4a"),
        ("train", "ok.again/ok", "audio without text", "ok.wav"),
        ("train", "ok", "duplicate", f"{place}:ok.wav"),
        ("train", "", "unreadable", place),
    }
    assert [cut.id for cut in prepared(tmp_path, max_skipped=0.95).folder.cuts["train"]] == ["ok"]


def test_suffixes_are_case_insensitive(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    files = {"a.WAV": audio(wave(0)), "a.TXT": b"a bc", "b.Wav": audio(wave(1)), "b.JSON": b'{"text": "bc"}'}
    pack(tmp_path / "train.tar", files)
    task = prepared(tmp_path)
    assert task.skipped() == []
    assert {cut.id: cut.supervisions[0].text for cut in task.folder.cuts["train"]} == {"a": "a bc", "b": "bc"}


def test_messages_name_only_some_of_many_members_of_a_key(tmp_path: Path) -> None:
    """All members share one key, because a key ends at its first dot."""
    good(tmp_path, "train", "dev", "test")
    files = {f"speaker.{i:04d}.{end}": b"x" for i in range(2000) for end in ("wav", "txt")}
    pack(tmp_path / "train-000001.tar", files)
    with pytest.raises(TaskError) as refused:
        prepared(tmp_path)
    assert len(str(refused.value)) < 1000
    skipped = [one for one in prepared(tmp_path, max_skipped=0.9).skipped() if one.id == "speaker"]
    (reason,) = (one.reason for one in skipped)
    assert "must have one member of audio, but has 2,000 (speaker.0000.wav, speaker.0001.wav," in reason
    assert len(reason) < 500


@pytest.mark.parametrize("format", ["csv", "jsonl", "scp", "tar"])
def test_messages_about_long_values_are_short(tmp_path: Path, format: str) -> None:
    """A screen is enough, whatever the length of the values in a listing."""
    good(tmp_path, "train", "dev", "test")
    folder, long = tmp_path / "other", "x" * 100_000
    folder.mkdir()
    if format == "csv":
        (folder / "all.csv").write_text(f"path,text,split\n{long},a,b\na,a,{long}\n{long}\n")
    elif format == "jsonl":
        rows = [{"path": long[:200], "text": [long]}, {"path": "a", "text": "a", "offset": long}, {long: 1}]
        (folder / "all.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif format == "scp":
        (folder / "wav.scp").write_text(f"a {long} |\nb {long}\n{long} c\n")
        (folder / "text").write_text(f"a a\nb b\n{long} c\n")
    else:
        pack(folder / "a.tar", {f"a.{'y' * 90}{i}.wav": b"x" for i in range(50)} | {"a.txt": b"a"})
    with pytest.raises(TaskError) as refused:
        prepared(folder)
    assert len(str(refused.value)) < 2000
    lists = [file.read_text() for file in tmp_path.rglob("problems.tsv")]
    assert all(len(line) < 3000 for text in lists for line in text.splitlines())


def test_members_of_an_utterance_need_not_be_adjacent(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    files = {name: content for i in range(8) for name, content in sample(f"u{i}", i=i).items()}
    names = sorted(files, key=lambda name: (name.endswith(".txt"), name))
    pack(tmp_path / "train.tar", {name: files[name] for name in names})
    task = prepared(tmp_path)
    assert task.skipped() == []
    for cut in task.folder.cuts["train"]:
        (tmp_path / "one.wav").write_bytes(files[f"{cut.id}.wav"])
        expected = soundfile.read(tmp_path / "one.wav", dtype="float32")[0]
        assert torch.equal(load_samples(cut), torch.from_numpy(expected))


Damage = Callable[[Path], object]


def _cut_at(size: float) -> Damage:
    return lambda tar: os.truncate(tar, round(size * 512))


def _overwrite(tar: Path) -> None:
    """Overwrite the header of the third member."""
    with open(tar, "rb") as file:
        third = [member for member in members(file) if isinstance(member, Member)][2]
    with open(tar, "r+b") as file:
        file.seek(third.offset - 512)
        file.write(b"\xff" * 512)


def _gzip(tar: Path) -> None:
    tar.write_bytes(gzip.compress(tar.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "used", "says"),
    [
        (_cut_at(60), 1, "the tar is truncated or damaged: "),
        (_overwrite, 1, "the tar is truncated or damaged at byte"),
        (_gzip, 0, "is compressed with gzip: decompress it with `gzip -d`"),
        (_cut_at(0), 0, "must be a tar, but is an empty file"),
        (_cut_at(0.5), 0, "the tar is truncated or damaged: "),
        (lambda tar: tar.write_bytes(bytes(10240)), 0, "the tar is empty"),
        (lambda tar: tar.write_bytes(b"no tar at all" * 100), 0, "the tar is truncated or damaged: "),
        (lambda tar: pack(tar, {"notes.md": b"x"}), 0, "the tar has neither audio nor texts"),
    ],
    ids=["cut", "overwritten", "gzip", "no bytes", "no block", "no members", "not a tar", "nothing usable"],
)
def test_a_damaged_tar_is_reported_and_its_intact_utterances_used(
    tmp_path: Path, damage: Damage, used: int, says: str
) -> None:
    good(tmp_path, "train", "dev", "test")
    bad = shutil.copy(tmp_path / "train-000000.tar", tmp_path / "train-000001.tar")
    files = {name: content for i in range(5) for name, content in sample(f"bad{i}", i=5 + i).items()}
    damage(pack(Path(bad), files))
    task = prepared(tmp_path, max_skipped=0.9)
    assert len(task.folder.cuts["train"]) == 5 + used
    reasons = [one.reason for one in task.skipped()]
    assert any(says in reason and str(bad) in reason for reason in reasons), reasons


def test_compressed_tars_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    good(tmp_path, "train", "dev")
    for tar in list(tmp_path.glob("*.tar")):
        tar.with_name(f"{tar.name}.gz").write_bytes(gzip.compress(tar.read_bytes()))
        tar.unlink()
    for path in (tmp_path, tmp_path / "dev-000000.tar.gz"):
        with pytest.raises(TaskError, match=r"must hold uncompressed tars, but has dev-000000\.tar\.gz"):
            prepared(path)


def test_archives_next_to_a_listing_are_ignored(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
        pack(tmp_path / f"{name}.tar", {})
        (tmp_path / f"{name}.tar.gz").write_bytes(b"x")
    assert prepared(tmp_path).skipped() == []


def test_tars_without_names_of_splits_are_divided(tmp_path: Path) -> None:
    for number in range(3):
        utterances = (sample(f"u{number}{i}", i=i) for i in range(4))
        pack(tmp_path / f"{number:06d}.tar", {n: c for files in utterances for n, c in files.items()})
    assert [len(prepared(tmp_path).folder.cuts[split]) for split in SPLITS] == [10, 1, 1]
    assert [len(prepared(tmp_path / "000001.tar").folder.cuts[split]) for split in SPLITS] == [2, 1, 1]


def test_the_only_text_may_have_a_suffix_of_two_parts(tmp_path: Path) -> None:
    good(tmp_path, "dev", "test")
    sound = audio(wave(0))
    files = {"a.seg.wav": sound, "a.seg.txt": b"a", "b.wav": sound, "b.normalized.txt": b"b"}
    files |= {"c.wav": sound, "c.txt": b"c", "c.original.txt": b"C"}
    files |= {
        "d.wav": sound,
        "d.normalized.txt": b"d",
        "d.original.txt": b"D",
        "e.wav": sound,
        "e.txt.gz": b"e",
    }
    pack(tmp_path / "train-000000.tar", files)
    task = prepared(tmp_path, max_skipped=0.9)
    said = {cut.id: cut.supervisions[0].text for cut in task.folder.cuts["train"]}
    assert said == {"a": "a", "b": "b", "c": "c"}
    assert {one.id: one.reason.partition(" (/")[0] for one in task.skipped()} == {
        "d": "bad line: must have one text, but has 2 (normalized.txt, original.txt)",
        "e": "audio without text: no text",
    }
