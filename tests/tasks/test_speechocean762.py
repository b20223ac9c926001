"""speechocean762 as published, two Kaldi data folders, and as a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.task import SPLITS, TaskError
from tasks.speechocean762 import Speechocean762
from tests.tasks.corpora import real_corpus, speakers_of, write_speechocean
from tests.tasks.folders import quiet


def opened(root: Path, **options: object) -> Speechocean762:
    values = {"path": root, "cache": root.parent / "cache", **options}
    return Speechocean762(Speechocean762.Options.model_validate(values))


def made(root: Path, **options: object) -> Speechocean762:
    task = opened(root, **options)
    task.prepare(quiet)
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Speechocean762:
    return made(write_speechocean(tmp_path_factory.mktemp("corpus") / "speechocean762"))


def test_the_halves_are_official_and_a_tenth_of_the_training_speakers_validates(task: Speechocean762) -> None:
    speakers = speakers_of(task)
    assert speakers["test"] == {f"{number}" for number in range(1001, 1011)}
    assert (len(speakers["train"]), len(speakers["valid"])) == (9, 1)
    assert [len(task.folder.cuts[split]) for split in SPLITS] == [18, 2, 20]
    assert task.skipped() == []


def test_transcripts_are_lower_case(task: Speechocean762) -> None:
    texts = {cut.supervisions[0].text for split in SPLITS for cut in task.folder.cuts[split]}
    assert texts == {"mark is going to see elephant", "here is time's cloth"}


def test_audio_and_speaker_match_the_name(task: Speechocean762) -> None:
    for cut in task.folder.cuts["test"]:
        assert Path(cut.recording.sources[0].source).name == f"{cut.id}.WAV"
        assert f"SPEAKER{cut.supervisions[0].speaker}" in cut.recording.sources[0].source


@pytest.mark.parametrize("speakers", [2, 9])
def test_splits_share_no_speaker_even_if_there_are_few(tmp_path: Path, speakers: int) -> None:
    found = speakers_of(made(write_speechocean(tmp_path / "speechocean762", speakers)))
    assert {split: len(of_one) for split, of_one in found.items()} == {
        "train": speakers - 1,
        "valid": 1,
        "test": speakers,
    }


def test_a_table_keeps_its_splits(task: Speechocean762, tmp_path: Path) -> None:
    names: dict[str, str] = {"train": "train", "valid": "train", "test": "valid"}
    lines = [
        f"{cut.recording.sources[0].source},{cut.supervisions[0].text.upper()},"
        f"{cut.supervisions[0].speaker},{'test' if cut.supervisions[0].speaker == '1001' else names[split]}"
        for split in SPLITS
        for cut in task.folder.cuts[split]
    ]
    (tmp_path / "manifest.csv").write_text("path,text,speaker,split\n" + "\n".join(lines) + "\n")
    speakers = speakers_of(made(tmp_path, cache=tmp_path / "cache"))
    assert {split: len(of_one) for split, of_one in speakers.items()} == {"train": 10, "valid": 9, "test": 1}


def test_a_missing_recording_is_reported(tmp_path: Path) -> None:
    root = write_speechocean(tmp_path / "speechocean762")
    (root / "WAVE" / "SPEAKER1001" / "010010000.WAV").unlink()
    with pytest.raises(TaskError, match=r"1 of 20 utterances of the test split.*010010000: missing file"):
        opened(root, max_skipped=0.01).prepare(quiet)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("", "there is no such folder"),
        ("train/text", "lacks train/text"),
        ("test", "lacks test/wav.scp, test/text, test/utt2spk"),
        ("WAVE", "lacks WAVE"),
    ],
)
def test_a_missing_part_of_the_corpus_is_an_error_that_says_where_to_get_it(
    tmp_path: Path, gone: str, words: str
) -> None:
    root = write_speechocean(tmp_path / "speechocean762", speakers=2)
    (root / gone).rename(tmp_path / "aside")
    with pytest.raises(TaskError, match=f"{words}.*jimbozhang/speechocean762.*task.path") as found:
        opened(root).prepare(quiet)
    assert "\n" not in str(found.value)


def test_the_real_corpus(tmp_path: Path) -> None:
    root = real_corpus("speechocean762")
    table = root / "manifest.csv"
    if not table.is_file():
        pytest.skip(f"no {table}")
    header, *lines = table.read_text(encoding="utf-8").splitlines()
    speakers = {line.split(",")[2] for line in lines}
    assert (len(lines), len(speakers)) == (5000, 250)
    few = {speaker for speaker in speakers if int(speaker) % 20 == 5}  # decoding all of them takes a minute
    part = tmp_path / "speechocean762"
    part.mkdir()
    chosen = [line for line in lines if line.split(",")[2] in few]
    (part / "manifest.csv").write_text("\n".join([header, *chosen]), encoding="utf-8")
    for speaker in few:
        (part / speaker).symlink_to(root / speaker)
    real = made(part)
    assert set().union(*speakers_of(real).values()) == few
    cuts = [cut for split in SPLITS for cut in real.folder.cuts[split]]
    assert len(cuts) == len(chosen)
    assert set().union(*(cut.supervisions[0].text for cut in cuts)) == set("abcdefghijklmnopqrstuvwxyz' ")
    assert real.skipped() == []
