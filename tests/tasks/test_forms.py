"""Corpora of one's own: the same three utterances in every form become the same manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from supernet.batch import SPLITS, Split, TaskError
from supernet.features import fbank
from supernet.resolve import task_from_option
from tasks.entries import split_of
from tests.tasks.corpora import write_flac
from tests.tasks.folders import prepared, tone
from tests.tasks.listings import FORMS, NAMES, TEXTS, write_audio


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_utterances(tmp_path: Path, form: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in NAMES.values():
        FORMS[form](corpus, name)
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    task = prepared(corpus)
    assert task.skipped() == []
    for split in SPLITS:
        # The same audio is listed for every split, which is noted and no more.
        said = {cut.supervisions[0].text: cut for cut in task.folder.cuts[split]}
        assert [round(said[text].duration, 6) for text in TEXTS] == [1.0, 1.2, 1.4]
        if form != "wav2vec":
            assert [said[text].supervisions[0].speaker for text in TEXTS] == ["s0", "s1", "s0"]
    batch = next(iter(task.eval_batches("test", task.tokens())))
    expected = fbank(torch.from_numpy(tone(1.2, 350)))
    row = batch.texts.index("bc")
    heard = batch.features_BTF[row, 2:118].argmax(dim=1)
    assert torch.equal(heard, expected[2:118].argmax(dim=1)), "the second tone, and nothing of the others"
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before, "nothing is written there"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.json", "train"),
        ("dev_clean", "valid"),
        ("manifest-val.jsonl", "valid"),
        ("eval.csv", "test"),
        ("test-other", "test"),
        ("contest.csv", None),
        ("all.csv", None),
    ],
)
def test_names_tell_splits(name: str, split: Split | None) -> None:
    assert split_of(name) == split


def test_a_file_may_be_named_instead_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_audio(tmp_path)
    (tmp_path / "mine.csv").write_text("path,text\n" + "".join(f"{file.name},a\n" for file in files))
    task = prepared(tmp_path / "mine.csv")
    assert sorted(len(task.folder.cuts[split]) for split in SPLITS) == [1, 1, 1]
    monkeypatch.chdir(tmp_path)
    assert task_from_option("mine.csv") == {"name": "manifest", "path": "mine.csv"}


def test_a_column_may_name_the_split(tmp_path: Path) -> None:
    files = write_audio(tmp_path)
    lines = [
        "path,text,split",
        *(f"{f.name},a,{s}" for f, s in zip(files, ("train", "dev", "test"), strict=True)),
    ]
    (tmp_path / "all.csv").write_text("\n".join([*lines, f"{files[0].name},a,trian"]))
    task = prepared(tmp_path, max_skipped=0.5)
    assert [[cut.id for cut in task.folder.cuts[split]] for split in SPLITS] == [["u0"], ["u1"], ["u2"]]
    (skipped,) = task.skipped()
    assert skipped.reason == (
        f"bad line: split must be train, valid or test, but is 'trian' instead ({tmp_path}/all.csv:5)"
    )


def test_offsets_cut_one_file_into_utterances(tmp_path: Path) -> None:
    write_flac(tmp_path / "long.flac", 6.0)
    lines = [
        json.dumps({"audio_filepath": "long.flac", "text": "a", "offset": i, "duration": 1}) for i in range(6)
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    task = prepared(tmp_path)
    cuts = [cut for split in SPLITS for cut in task.folder.cuts[split]]
    assert sorted((cut.start, cut.duration) for cut in cuts) == [(float(i), 1.0) for i in range(6)]
    assert len({cut.id for cut in cuts}) == 6


@pytest.mark.parametrize(
    ("words", "kind", "where"),
    [
        ("a bc\nbc\nc a\none more\nand another\n", "text without audio", ["train.wrd:4)", "train.wrd:5)"]),
        ("a bc\n", "audio without text", ["train.tsv:3)", "train.tsv:4)"]),
    ],
)
def test_wav2vecs_files_of_different_lengths(tmp_path: Path, words: str, kind: str, where: list[str]) -> None:
    for name in NAMES.values():
        FORMS["wav2vec"](tmp_path, name)
        (tmp_path / f"{name}.wrd").write_text("a bc\na bc\na bc\n")
    (tmp_path / "train.wrd").write_text(words)
    reasons = [skipped.reason for skipped in prepared(tmp_path, max_skipped=0.9).skipped()]
    assert [reason.split(":")[0] for reason in reasons] == [kind] * 2
    assert [reason.rpartition("/")[2] for reason in reasons] == where


def test_bad_lines_are_named_and_the_others_are_used(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["nemo"](tmp_path, name)
    listing = tmp_path / "train_manifest.json"
    broken = [
        '{"audio_filepath": ',
        "[1]",
        '{"audio_filepath": "audio/u0.wav", "text": "a", "offset": "soon"}',
        '{"text": "a"}',
        '{"audio_filepath": "audio/u0.wav"}',
        '{"audio_filepath": "audio/u1.wav", "text": "a", "offset": NaN}',
        '{"audio_filepath": "audio/u1.wav", "text": "\\ud800", "offset": 0.1}',
        '{"audio_filepath": "feats.1.ark:27", "text": "a"}',
    ]
    listing.write_text(listing.read_text() + "\n".join(broken) + "\n")
    task = prepared(tmp_path, max_skipped=0.9)
    found = [(s.reason.split(":")[0], s.reason.rpartition(":")[2]) for s in task.skipped()]
    assert found == [
        ("bad line", "4)"),
        ("bad line", "5)"),
        ("bad line", "6)"),
        ("text without audio", "7)"),
        ("duplicate", "8)"),
        ("bad line", "9)"),
        ("bad line", "10)"),
        ("unreadable", "11)"),
    ]
    assert len(task.folder.cuts["train"]) == 3


def test_texts_in_another_encoding_are_named(tmp_path: Path) -> None:
    """A mark at the beginning, as spreadsheets write it, is none of the header."""
    for name in NAMES.values():
        FORMS["csv"](tmp_path, name)
    write_flac(tmp_path / "other.flac")
    listing = tmp_path / "train.csv"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes() + "other.flac,für,s0\n".encode("latin-1"))
    (skipped,) = prepared(tmp_path, max_skipped=0.9).skipped()
    assert skipped.reason == f"bad line: its text must be UTF-8, but is not ({listing}:5)"


def test_a_quote_without_an_end_is_named_and_what_follows_is_read(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["csv"](tmp_path, name)
    listing = tmp_path / "train.csv"
    listing.write_text(listing.read_text() + 'audio/u0.wav,"' + "a\n" * 80_000 + "\naudio/u9.wav,a,s0\n")
    reasons = [skipped.reason for skipped in prepared(tmp_path, max_skipped=1.0).skipped()]
    assert reasons[0].startswith("bad line: must be a row, but is not: field larger than")
    assert reasons[-1].startswith("missing file: ")


def test_other_files_beside_the_listing_are_none(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["csv"](tmp_path, name)
    (tmp_path / "config.json").write_text('{"path": "x", "rate": 16000}')
    assert prepared(tmp_path).skipped() == []
    for name in NAMES.values():
        (tmp_path / f"{name}.csv").unlink()
    write_audio(tmp_path)
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\nu2.wav,a\n")
    assert prepared(tmp_path).skipped() == []


@pytest.mark.parametrize("text", ["", "audio/u0.wav,a bc\n", "path;text\n"])
def test_a_table_without_header_stops(tmp_path: Path, text: str) -> None:
    (tmp_path / "all.csv").write_text(text)
    with pytest.raises(TaskError, match=r"all\.csv` must begin with a header that names path and text"):
        prepared(tmp_path)


def test_a_folder_with_nothing_of_the_kind_stops(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(TaskError, match=r"must hold the splits train, valid, test .* another form"):
        prepared(tmp_path)


def test_too_few_to_divide_stop(tmp_path: Path) -> None:
    write_audio(tmp_path)
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\n")
    with pytest.raises(TaskError, match="must list at least 3 training utterances, but lists 2 instead"):
        prepared(tmp_path)
