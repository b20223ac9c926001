"""Corpora of one's own: the same three utterances in every form become the same manifests."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lhotse.cut import Cut

from supernet.batch import SPLITS, Split, TaskError
from supernet.features import fbank
from supernet.resolve import task_from_option
from tasks.audio import load_samples
from tasks.entries import split_of
from tasks.manifest import Manifest
from tasks.problems import read_problems
from tests.tasks.corpora import write_flac
from tests.tasks.folders import prepared, tone, write_wav
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


LISTINGS = [form for form in FORMS if form not in ("webdataset", "shar")]


def listed(corpus: Path, form: str) -> list[Path]:
    """The corpus in ``form``, and its files of text."""
    corpus.mkdir()
    for name in NAMES.values():
        FORMS[form](corpus, name)
    return [path for path in corpus.rglob("*") if path.is_file() and path.suffix != ".wav"]


@pytest.mark.parametrize("form", LISTINGS)
def test_a_byte_order_mark_is_no_part_of_a_listing(tmp_path: Path, form: str) -> None:
    for path in listed(tmp_path / "corpus", form):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    task = prepared(tmp_path / "corpus")
    assert task.skipped() == []
    assert task.tokens().symbols == ("<blk>", " ", "a", "b", "c")
    assert {cut.supervisions[0].text for cut in task.folder.cuts["train"]} == set(TEXTS)


@pytest.mark.parametrize("form", LISTINGS)
def test_a_listing_in_utf16_is_said_to_be_that(tmp_path: Path, form: str) -> None:
    for path in listed(tmp_path / "corpus", form):
        path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    with pytest.raises(TaskError, match=r"must be text in UTF-8, but is UTF-16\. Save it as UTF-8"):
        prepared(tmp_path / "corpus")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.json", "train"),
        ("dev_clean", "valid"),
        ("manifest-val.jsonl", "valid"),
        ("eval.csv", "test"),
        ("test-other", "test"),
        ("train_dev", "valid"),
        ("dev_train.tsv", "valid"),
        ("train-test.json", "test"),
        ("testing.csv", "test"),
        ("development.csv", "valid"),
        ("evaluation.csv", "test"),
        ("Validation.csv", "valid"),
        ("corpusDev.csv", "valid"),
        ("TrainSet.jsonl", "train"),
        ("testset", "test"),
        ("train-clean-100", "train"),
        ("training_2", "train"),
        ("validated.tsv", None),
        ("invalidated.tsv", None),
        ("other.tsv", None),
        ("trainer.csv", None),
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
        ("audio without text", "8)"),
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
    last = "\n".join(['audio/u9.wav,"a, ""b""",s0', f'audio/u8.wav,"{"a" * 200_000}",s0'])
    listing.write_text(listing.read_text() + 'audio/u0.wav,"a, b\nc",s0\n' + last)
    reasons = [skipped.reason.split(" (")[0] for skipped in prepared(tmp_path, max_skipped=1.0).skipped()]
    assert reasons == [
        "bad line: must be a row of a table, but is not: a quoted field does not end on it",
        "bad line: must have the 3 columns of the header, but has 2 instead",
        f"missing file: '{tmp_path}/audio/u9.wav' does not exist",
        "bad line: must be a row of a table, but is not: field larger than field limit",
    ]


def test_a_text_that_begins_with_a_quote_costs_its_line_alone(tmp_path: Path) -> None:
    write_wav(tmp_path / "talk.wav", tone(101.0))
    quoted = {3: '"a, b"', 4: '"a ""b"" c"', 20: '"a', 30: 'a "b" c', 40: 'a"', 50: '"a" b'}
    lines = (f"talk.wav,{i / 2},{(i + 1) / 2},{quoted.get(i, 'a')}" for i in range(200))
    (tmp_path / "all.csv").write_text("\n".join(["path,start,end,text", *lines]) + "\n")
    task = prepared(tmp_path)
    assert [s.reason.rpartition(":")[2] for s in task.skipped()] == ["22)", "52)"]
    said = {round(cut.start * 2): cut.supervisions[0].text for cut in cuts_of(task)}
    assert len(said) == 198
    assert [said[i] for i in (3, 4, 30, 40, 199)] == ["a, b", 'a "b" c', 'a "b" c', 'a"', "a"]


def cuts_of(task: Manifest) -> list[Cut]:
    return [cut for split in SPLITS for cut in task.folder.cuts[split]]


@pytest.mark.parametrize(
    "columns", ["start,end", "offset,duration", "start_time,end_time", "start,stop", "begin,stop_time"]
)
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json"])
def test_a_row_is_what_lies_between_its_start_and_its_end(tmp_path: Path, form: str, columns: str) -> None:
    write_wav(tmp_path / "talk.wav", tone(6.0))
    first, last = columns.split(",")
    spans = [(0.5, 1.5), (1.5, 3.0), (3.0, 5.0), (5.0, 6.0)]
    rows = [
        {"path": "talk.wav", first: start, last: end - start if last == "duration" else end, "text": "a"}
        for start, end in spans
    ]
    write_rows(tmp_path / f"all.{form}", rows)
    found = sorted((cut.start, cut.end) for cut in cuts_of(prepared(tmp_path)))
    assert found == spans


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        between = "," if path.suffix == ".csv" else "\t"
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
        path.write_text("".join(between.join(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("span", "kind"),
    [
        ({"start": 1.0}, "bad line"),
        ({"start": 0}, "bad line"),
        ({"start": 2.0, "end": 1.0}, "segment"),
        ({"start": 2.0, "end": 2.0}, "segment"),
        ({"start": -1.0, "end": 1.0}, "segment"),
        ({"start": 1.0, "end": 9.0}, "segment"),
        ({"start": 7.0, "end": 9.0}, "segment"),
        ({"start": 1.0, "duration": 0}, "segment"),
        ({"start": 1.0, "duration": 9.0}, "segment"),
        ({"start": 1.0, "end": 2.0, "duration": 6.0}, "segment"),
        ({"end": -1}, "segment"),
        ({"start": 1.0, "end": "soon"}, "bad line"),
        ({"start": 1.0, "end": "inf"}, "bad line"),
        ({"start": 1e308, "end": 1.1e308}, "bad line"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_spans_that_are_none_are_problems(tmp_path: Path, form: str, span: dict[str, Any], kind: str) -> None:
    write_wav(tmp_path / "talk.wav", tone(6.0))
    spans: list[dict[str, Any]] = [{"start": i, "end": i + 1} for i in range(6)]
    write_rows(tmp_path / f"all.{form}", [{"path": "talk.wav", "text": "a", **one} for one in (*spans, span)])
    (skipped,) = prepared(tmp_path, max_skipped=0.5).skipped()
    assert skipped.reason.split(":")[0] == kind
    assert skipped.reason.endswith(f"all.{form}:{8 if form == 'csv' else 7})")


def test_a_column_may_name_the_channel(tmp_path: Path) -> None:
    voices = [tone(1.0, 300), tone(1.0, 700)]
    write_wav(tmp_path / "call.wav", np.stack(voices, axis=1))
    channels = dict(zip("abcde", ("0", "B", "", "2", "left"), strict=True)) | dict.fromkeys("fghij", "A")
    lines = (f"{id},call.wav,{channel},a" for id, channel in channels.items())
    (tmp_path / "all.csv").write_text("\n".join(["id,path,channel,text", *lines]) + "\n")
    task = prepared(tmp_path, max_skipped=0.5)
    heard = {cut.id: load_samples(cut).numpy() for cut in cuts_of(task)}
    expected: dict[str, Any] = {"a": voices[0], "b": voices[1], "c": (voices[0] + voices[1]) / 2}
    assert set(heard) == set(expected) | set("fghij")
    for id, samples in expected.items():
        assert np.allclose(heard[id], samples, atol=1e-4)
    assert {s.id: s.reason.split(":")[0] for s in task.skipped()} == {"e": "bad line", "d": "segment"}


@pytest.mark.parametrize("listing", ["wrapped", "espnet", "lines"])
@pytest.mark.parametrize("text", [float("nan"), ["one", "two"], True, {"a": 1}, 5, 1.5, ""])
def test_a_text_is_a_text(tmp_path: Path, text: object, listing: str) -> None:
    write_audio(tmp_path)
    said = [*["nan"] * 8, text]
    rows = [{"path": f"u{i % 3}.wav", "id": f"u{i}", "text": one} for i, one in enumerate(said)]
    if listing == "espnet":
        utts = {
            row["id"]: {"input": [{"feat": row["path"]}], "output": [{"text": row["text"]}]} for row in rows
        }
        (tmp_path / "all.json").write_text(json.dumps({"utts": utts}))
    else:
        write_rows(tmp_path / f"all.json{'l' if listing == 'lines' else ''}", rows)
    task = prepared(tmp_path, max_skipped=0.5)
    (skipped,) = task.skipped()
    assert skipped.id == "u8"
    assert skipped.reason.startswith("audio without text" if text == "" else "bad line: text must be a text")
    assert sorted(cut.supervisions[0].text for cut in cuts_of(task)) == ["nan"] * 8


def test_other_values_are_of_their_kinds(tmp_path: Path) -> None:
    write_audio(tmp_path)
    good = [{"path": f"u{i}.wav", "text": "a", "speaker": 7, "duration": 1} for i in range(3)]
    bad: list[dict[str, Any]] = [
        {"path": ["u0.wav"]},
        {"speaker": True},
        {"id": {}},
        {"duration": True},
        {"speaker": float("nan")},
    ]
    rows = [*good, *({"path": "u0.wav", "text": "a"} | one for one in bad)]
    write_rows(tmp_path / "all.jsonl", rows)
    task = prepared(tmp_path, max_skipped=0.9)
    assert [s.reason.split(":")[0] for s in task.skipped()] == ["bad line"] * 5
    assert {cut.supervisions[0].speaker for cut in cuts_of(task)} == {"7"}


@pytest.mark.parametrize("folder", ["clips", "wav", "wavs", "audio", "data", "waves"])
def test_audio_is_looked_for_in_the_usual_folders(tmp_path: Path, folder: str) -> None:
    """As Common Voice has it, with its other listings, which say what was not used."""
    write_audio(tmp_path / "cv" / folder)
    for name in ("train", "dev", "test", "validated", "invalidated", "other"):
        rows = [{"client_id": "x", "path": f"u{i}.wav", "sentence": "a", "up_votes": 2} for i in range(3)]
        write_rows(tmp_path / "cv" / f"{name}.tsv", rows)
    (tmp_path / "cv" / "reported.tsv").write_text("sentence\tsentence_id\nx\t1\n")
    task = prepared(tmp_path / "cv")
    assert task.skipped() == []
    assert [len(task.folder.cuts[split]) for split in SPLITS] == [3, 3, 3]
    named = [Path(one.where).name for one in read_problems(task.path) if one.kind == "left aside"]
    assert named == ["invalidated.tsv", "other.tsv", "validated.tsv"]


def test_a_file_of_the_name_that_is_listed_comes_first(tmp_path: Path) -> None:
    write_audio(tmp_path)
    write_audio(tmp_path / "clips")
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\nu2.wav,a\n")
    found = {cut.recording.sources[0].source for cut in cuts_of(prepared(tmp_path))}
    assert found == {str(tmp_path / f"u{i}.wav") for i in range(3)}


def test_listings_in_another_form_are_named_too(tmp_path: Path) -> None:
    for name in NAMES.values():
        FORMS["nemo"](tmp_path, name)
    FORMS["csv"](tmp_path, "more")
    task = prepared(tmp_path)
    (aside,) = (one for one in read_problems(task.path) if one.kind == "left aside")
    assert aside.where == str(tmp_path / "more.csv")
    assert task.notes() == [f"1 listing is not read: {tmp_path / 'more.csv'}"]


def test_several_listings_without_names_of_splits_are_named(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four", "five"):
        FORMS["csv"](tmp_path, name)
    with pytest.raises(TaskError, match=r"has 5 of other names instead: five\.csv, four\.csv, one\.csv, …\."):
        prepared(tmp_path)


def test_who_speaks_at_once_is_heard_in_full(tmp_path: Path) -> None:
    """One start, two speakers: the name that is made of the start is no reason to leave one out."""
    write_wav(tmp_path / "talk.wav", tone(6.0))
    columns = ("start", "end", "speaker", "text")
    rows = [
        (0, 1, "x", "a b"),
        (0, 1, "y", "b a"),
        (0, 1, "x", "b a"),
        (0, 2, "x", "a b"),
        (0, 1, "y", "b a"),
    ]
    listed = [{"path": "talk.wav", **dict(zip(columns, row, strict=True))} for row in rows]
    for name in NAMES.values():
        write_rows(tmp_path / f"{name}.csv", listed)
    task = prepared(tmp_path, max_skipped=0.5)
    for split, name in NAMES.items():
        cuts = list(task.folder.cuts[split])
        assert [cut.id.removeprefix("talk") for cut in cuts] == ["", "-2", "-3", "-4"]
        said = [(cut.supervisions[0].speaker, cut.supervisions[0].text) for cut in cuts]
        assert said == [("x", "a b"), ("y", "b a"), ("x", "b a"), ("x", "a b")]
        (reason,) = (s.reason for s in task.skipped() if s.split == split)
        assert reason.startswith("duplicate: ")
        assert reason.endswith(f"{name}.csv:6)")


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
