"""Custom corpora: the same three utterances in every format become the same manifests."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
import torch

from supernet.audio.features import fbank
from supernet.settings.presets import task_setting
from supernet.task import SPLITS, Split, TaskError
from tasks.files.problems import read_problems
from tasks.listing.entries import split_of
from tasks.manifest import Manifest
from tests.tasks.corpora import write_flac
from tests.tasks.folders import prepared, tone
from tests.tasks.formats.test_columns import cuts_of, write_rows
from tests.tasks.listings import NAMES, TEXTS, WRITERS, write_audio


@pytest.mark.parametrize("format", WRITERS)
def test_every_format_gives_the_same_utterances(tmp_path: Path, format: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in NAMES.values():
        WRITERS[format](corpus, name)
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    task = prepared(corpus)
    assert task.skipped() == []
    for split in SPLITS:
        # The same audio is listed for every split, which is reported but harmless.
        said = {cut.supervisions[0].text: cut for cut in task.folder.cuts[split]}
        assert [round(said[text].duration, 6) for text in TEXTS] == [1.0, 1.2, 1.4]
        if format != "wav2vec":
            assert [said[text].supervisions[0].speaker for text in TEXTS] == ["s0", "s1", "s0"]
    batch = next(iter(task.eval_batches("test", task.tokens())))
    expected = fbank(torch.from_numpy(tone(1.2, 350)))
    row = batch.texts.index("bc")
    heard = batch.features_BTF[row, 2:118].argmax(dim=1)
    assert torch.equal(heard, expected[2:118].argmax(dim=1)), "the audio must be the second tone and no other"
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before, (
        "the corpus folder must stay as it is"
    )


LISTINGS = [format for format in WRITERS if format not in ("webdataset", "shar")]


def listed(corpus: Path, format: str) -> list[Path]:
    """Write the corpus in ``format`` and return its text files."""
    corpus.mkdir()
    for name in NAMES.values():
        WRITERS[format](corpus, name)
    return [path for path in corpus.rglob("*") if path.is_file() and path.suffix != ".wav"]


@pytest.mark.parametrize("format", LISTINGS)
def test_a_byte_order_mark_is_not_part_of_a_listing(tmp_path: Path, format: str) -> None:
    for path in listed(tmp_path / "corpus", format):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    task = prepared(tmp_path / "corpus")
    assert task.skipped() == []
    assert task.tokens().symbols == ("<blk>", " ", "a", "b", "c")
    assert {cut.supervisions[0].text for cut in task.folder.cuts["train"]} == set(TEXTS)


@pytest.mark.parametrize("format", LISTINGS)
def test_a_listing_in_utf16_is_an_error_that_says_so(tmp_path: Path, format: str) -> None:
    for path in listed(tmp_path / "corpus", format):
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
def test_names_determine_splits(name: str, split: Split | None) -> None:
    assert split_of(name) == split


def test_a_file_can_be_given_instead_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_audio(tmp_path)
    (tmp_path / "mine.csv").write_text("path,text\n" + "".join(f"{file.name},a\n" for file in files))
    task = prepared(tmp_path / "mine.csv")
    assert sorted(len(task.folder.cuts[split]) for split in SPLITS) == [1, 1, 1]
    monkeypatch.chdir(tmp_path)
    assert task_setting("mine.csv") == {"name": "manifest", "path": "mine.csv"}


@pytest.mark.parametrize(
    ("words", "kind", "where"),
    [
        ("a bc\nbc\nc a\none more\nand another\n", "text without audio", ["train.wrd:4)", "train.wrd:5)"]),
        ("a bc\n", "audio without text", ["train.tsv:3)", "train.tsv:4)"]),
    ],
)
def test_unpaired_lines_of_wav2vecs_files_are_problems(
    tmp_path: Path, words: str, kind: str, where: list[str]
) -> None:
    for name in NAMES.values():
        WRITERS["wav2vec"](tmp_path, name)
        (tmp_path / f"{name}.wrd").write_text("a bc\na bc\na bc\n")
    (tmp_path / "train.wrd").write_text(words)
    reasons = [skipped.reason for skipped in prepared(tmp_path, max_skipped=0.9).skipped()]
    assert [reason.split(":")[0] for reason in reasons] == [kind] * 2
    assert [reason.rpartition("/")[2] for reason in reasons] == where


def test_invalid_lines_are_reported_and_the_others_used(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["nemo"](tmp_path, name)
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


def test_texts_in_another_encoding_are_problems(tmp_path: Path) -> None:
    """The byte order mark that spreadsheets write is not part of the header."""
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
    write_flac(tmp_path / "other.flac")
    listing = tmp_path / "train.csv"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes() + "other.flac,für,s0\n".encode("latin-1"))
    (skipped,) = prepared(tmp_path, max_skipped=0.9).skipped()
    assert skipped.reason == f"bad line: its text must be UTF-8, but is not ({listing}:5)"


@pytest.mark.parametrize("folder", ["clips", "wav", "wavs", "audio", "data", "waves"])
def test_audio_is_also_searched_in_the_usual_folders(tmp_path: Path, folder: str) -> None:
    """As in Common Voice, whose other listings are reported as not read."""
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


def test_a_file_at_the_listed_path_takes_precedence(tmp_path: Path) -> None:
    write_audio(tmp_path)
    write_audio(tmp_path / "clips")
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\nu2.wav,a\n")
    found = {cut.recording.sources[0].source for cut in cuts_of(prepared(tmp_path))}
    assert found == {str(tmp_path / f"u{i}.wav") for i in range(3)}


def test_unread_listings_in_another_format_are_noted(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["nemo"](tmp_path, name)
    WRITERS["csv"](tmp_path, "more")
    task = prepared(tmp_path)
    (aside,) = (one for one in read_problems(task.path) if one.kind == "left aside")
    assert aside.where == str(tmp_path / "more.csv")
    assert task.notes() == [f"1 listing is not read: {tmp_path / 'more.csv'}"]


def test_several_listings_without_names_of_splits_are_an_error(tmp_path: Path) -> None:
    for name in ("one", "two", "three", "four", "five"):
        WRITERS["csv"](tmp_path, name)
    with pytest.raises(
        TaskError, match=r"has 5 with other names instead: five\.csv, four\.csv, one\.csv, …\."
    ):
        prepared(tmp_path)


def test_other_files_next_to_the_listing_are_ignored(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["csv"](tmp_path, name)
    (tmp_path / "config.json").write_text('{"path": "x", "rate": 16000}')
    assert prepared(tmp_path).skipped() == []
    for name in NAMES.values():
        (tmp_path / f"{name}.csv").unlink()
    write_audio(tmp_path)
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\nu2.wav,a\n")
    assert prepared(tmp_path).skipped() == []


def test_a_folder_without_listings_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(TaskError, match=r"must hold Lhotse's cuts as train\.jsonl\.gz, .* another format"):
        prepared(tmp_path)


def test_too_few_utterances_to_divide_are_an_error(tmp_path: Path) -> None:
    write_audio(tmp_path)
    (tmp_path / "all.csv").write_text("path,text\nu0.wav,a\nu1.wav,a\n")
    with pytest.raises(TaskError, match="must list at least 3 training utterances, but lists 2 instead"):
        prepared(tmp_path)


def test_the_format_of_the_training_split_is_read(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        WRITERS["csv"](tmp_path, name)
    WRITERS["json-list"](tmp_path, "test")
    task = Manifest(Manifest.Options(path=tmp_path))
    assert [file.name for file in task.source.files] == ["dev.csv", "train.csv"]
    assert [file.name for file in task.unread] == ["test.json"]


def test_espnets_dumps_may_have_paths_relative_to_the_recipe(tmp_path: Path) -> None:
    write_audio(tmp_path / "dump" / "raw" / "org" / "data" / "format.1")
    for name in NAMES.values():
        folder = tmp_path / "dump" / "raw" / name
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text(
            "".join(f"u{i} dump/raw/org/data/format.1/u{i}.wav\n" for i in range(3))
        )
        (folder / "text").write_text("".join(f"u{i} a\n" for i in range(3)))
    for path in (tmp_path, tmp_path / "dump" / "raw"):
        task = prepared(path)
        assert [len(task.folder.cuts[split]) for split in SPLITS] == [3, 3, 3]
        assert not task.skipped()


def test_blank_lines_at_the_end_of_wav2vecs_files_are_ignored(tmp_path: Path) -> None:
    for name in NAMES.values():
        WRITERS["wav2vec"](tmp_path, name)
        for suffix, blank in {".tsv": "\n", ".wrd": "\n\r\n\n"}.items():
            listing = tmp_path / f"{name}{suffix}"
            listing.write_bytes(listing.read_bytes() + blank.encode())
    task = prepared(tmp_path)
    assert not task.skipped()
    assert [len(task.folder.cuts[split]) for split in SPLITS] == [3, 3, 3]
