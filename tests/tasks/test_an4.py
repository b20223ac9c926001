"""AN4 in all of its layouts: CMU's lists with audio in four formats, and a table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from supernet.audio.features import fbank
from supernet.task import SPLITS, TaskError
from tasks.an4 import An4, normalize
from tests.supernet.processes import run, settings
from tests.tasks.corpora import real_corpus, speakers_of, write_an4
from tests.tasks.folders import quiet

LAYOUTS = {
    "sph": (".sph", ""),
    "wav": (".wav", ""),
    "flac": (".flac", ""),
    "little-endian": (".raw", "<i2"),
    "big-endian": (".raw", ">i2"),
}


def opened(root: Path, **options: object) -> An4:
    return An4(An4.Options.model_validate({"path": root, "cache": root.parent / "cache", **options}))


def made(root: Path, **options: object) -> An4:
    task = opened(root, **options)
    task.prepare(quiet)
    return task


def as_table(root: Path, task: An4) -> Path:
    """Write the corpus of ``task`` as a table that assigns a training speaker to validation."""
    root.mkdir()
    with open(root / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "text", "speaker", "split"])
        for split in SPLITS:
            for cut in task.folder.cuts[split]:
                (supervision,) = cut.supervisions
                speaker = supervision.speaker
                said = "test" if split == "test" else "valid" if speaker == "f03" else "train"
                audio = cut.recording.sources[0].source
                writer.writerow([audio, supervision.text.upper(), speaker, said])
    return root


def content(task: An4) -> dict[str, tuple[str, str, str, torch.Tensor]]:
    """Split, text, speaker and features of every utterance, by name."""
    found: dict[str, tuple[str, str, str, torch.Tensor]] = {}
    for split in SPLITS:
        speakers = task.speakers(split)
        for batch in task.eval_batches(split, task.tokens()):
            for row, id in enumerate(batch.ids):
                features = batch.features_BTF[row, : batch.num_frames[row]]
                found[id] = (split, batch.texts[row], speakers[id], features)
    return found


def assert_same(one: An4, other: An4) -> None:
    first, second = content(one), content(other)
    assert first.keys() == second.keys()
    for id, (*facts, features) in first.items():
        assert facts == list(second[id][:3]), id
        assert torch.equal(features, second[id][3]), id


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> An4:
    return made(write_an4(tmp_path_factory.mktemp("corpus") / "an4"))


@pytest.mark.parametrize(
    ("written", "scored"),
    [
        ("<s> ENTER SIX </s>", "enter six"),
        ("RUBOUT G M E F THREE NINE", "rubout g m e f three nine"),
        ("<s> <sil> A N  <sil> </s>", "a n"),
        ("", ""),
    ],
)
def test_transcripts_are_normalized_for_scoring(written: str, scored: str) -> None:
    assert normalize(written) == scored
    assert normalize(scored) == scored


def test_the_test_split_is_official_and_a_tenth_of_the_training_speakers_validates(task: An4) -> None:
    speakers = speakers_of(task)
    assert speakers["test"] == {"mxyz", "mxyz2"}
    assert (len(speakers["train"]), len(speakers["valid"])) == (11, 1)
    assert [len(task.folder.cuts[split]) for split in SPLITS] == [33, 3, 6]
    assert task.skipped() == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_corpus(task: An4, layout: str, tmp_path: Path) -> None:
    root = write_an4(tmp_path / "an4", *LAYOUTS[layout])
    before = sorted(root.rglob("*"))
    assert_same(made(root), task)
    assert sorted(root.rglob("*")) == before, "the corpus folder must stay as it is"


def test_a_table_has_the_same_splits_whichever_speakers_it_assigns_to_validation(
    task: An4, tmp_path: Path
) -> None:
    assert_same(made(as_table(tmp_path / "table", task)), task)


def test_features_equal_those_of_the_raw_samples(tmp_path: Path) -> None:
    task = made(write_an4(tmp_path / "an4", ".raw"))
    batch = next(iter(task.eval_batches("test", task.tokens())))
    (file,) = Path(task.options.path).rglob(f"{batch.ids[0]}.raw")
    samples, _ = soundfile.read(
        file, dtype="float32", samplerate=16000, channels=1, subtype="PCM_16", endian="BIG", format="RAW"
    )
    expected = fbank(torch.from_numpy(samples))
    torch.testing.assert_close(batch.features_BTF[0, : len(expected)], expected, rtol=1e-5, atol=1e-4)


def test_changed_raw_samples_give_a_new_corpus(tmp_path: Path) -> None:
    root = write_an4(tmp_path / "an4", ".raw")
    first = made(root).folder.fingerprint
    (file,) = root.rglob("an0-mxyz-b.raw")
    file.write_bytes(file.read_bytes() * 2)
    second = made(root)
    assert second.folder.fingerprint != first
    durations = {cut.id: cut.duration for cut in second.folder.cuts["test"]}
    assert durations["an0-mxyz-b"] == pytest.approx(1.6)


def test_the_parent_folder_can_be_given(task: An4) -> None:
    assert opened(Path(task.options.path).parent).source.files == task.source.files


@pytest.mark.parametrize("speakers", [2, 5, 9])
def test_splits_share_no_speaker_even_if_there_are_few(tmp_path: Path, speakers: int) -> None:
    found = speakers_of(made(write_an4(tmp_path / "an4", speakers=speakers)))
    assert (len(found["train"]), len(found["valid"])) == (speakers - 1, 1)


def test_a_single_training_speaker_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="must list at least 2 training speakers, but lists 1"):
        opened(write_an4(tmp_path / "an4", speakers=1)).prepare(quiet)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    root = write_an4(tmp_path / "an4", ".raw")
    ((gone,), (empty,)) = root.rglob("an0-f00-b.raw"), root.rglob("an1-f00-b.raw")
    gone.unlink()
    empty.write_bytes(b"")
    for name, line in (
        ("an4_train.transcription", "NO NAME AT ALL\nYES (an7-f01-b)\nYES (an0-f01-b)\n</s> (an2-f99-b)"),
        ("an4_train.fileids", "an4_clstk/f99/an2-f99-b\nan4_clstk/f99/an3-f99-b"),
    ):
        with open(root / "etc" / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    task = made(root, max_skipped=0.5)
    (problems,) = (tmp_path / "cache").glob("an4-*/problems.tsv")
    rows = [line.split("\t") for line in problems.read_text().splitlines()[1:]]
    assert {(row[1], row[2], Path(row[3]).name) for row in rows} == {
        ("an0-f00-b", "missing file", "an4_train.transcription:1"),
        ("an1-f00-b", "zero length", "an4_train.transcription:2"),
        ("", "bad line", "an4_train.transcription:37"),
        ("an7-f01-b", "text without audio", "an4_train.transcription:38"),
        ("an0-f01-b", "duplicate", "an4_train.transcription:39"),
        ("an2-f99-b", "audio without text", "an4_train.transcription:40"),
        ("an3-f99-b", "audio without text", "an4_train.fileids"),
    }
    assert str(gone) in next(one.reason for one in task.skipped() if one.id == "an0-f00-b")
    assert str(empty) in next(one.reason for one in task.skipped() if one.id == "an1-f00-b")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("", "there is no such folder"),
        ("etc/an4_test.fileids", "lacks etc/an4_test.fileids"),
        ("etc", "lacks etc/an4_train.fileids, etc/an4_train.transcription, etc/an4_test.fileids"),
        ("wav", "lacks wav"),
    ],
)
def test_a_missing_part_of_the_corpus_is_an_error_that_says_where_to_get_it(
    tmp_path: Path, gone: str, words: str
) -> None:
    root = write_an4(tmp_path / "an4", speakers=2)
    (root / gone).rename(tmp_path / "aside")
    with pytest.raises(TaskError, match=f"{words}.*cmusphinx/an4.*task.path") as found:
        opened(root).prepare(quiet)
    assert "\n" not in str(found.value)


def test_a_run_trains_on_raw_samples(tmp_path: Path) -> None:
    write_an4(tmp_path / "an4", ".raw")
    options = settings(num_steps=4, checkpoint_every=4, validate_every=4)
    printed, _ = run("supernet.train", *options, "--task", "an4", "--out", "run", cwd=tmp_path)
    assert "test WER" in printed
    assert (tmp_path / "run" / "transcripts" / "test-2.tsv").read_text().count("\n") == 6


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> An4:
    return made(real_corpus("an4"), cache=tmp_path_factory.mktemp("cache"))


def test_the_real_corpus_has_84_speakers(real: An4) -> None:
    speakers = speakers_of(real)
    assert {split: len(of_one) for split, of_one in speakers.items()} == {"train": 67, "valid": 7, "test": 10}
    assert [len(real.folder.cuts[split]) for split in SPLITS] == [857, 91, 130]
    assert real.skipped() == []


def test_the_real_test_set_has_773_words_made_of_letters(real: An4) -> None:
    texts = [cut.supervisions[0].text for cut in real.folder.cuts["test"]]
    assert sum(len(text.split()) for text in texts) == 773
    assert set("".join(texts)) <= set("abcdefghijklmnopqrstuvwxyz ")


def test_the_real_corpus_in_cmus_layout_has_the_same_splits(real: An4, tmp_path: Path) -> None:
    root = as_published(tmp_path / "an4", real)
    task = made(root)
    texts = {split: texts_of(task, split) for split in SPLITS}
    assert texts == {split: texts_of(real, split) for split in SPLITS}


def as_published(root: Path, task: An4) -> Path:
    """Write the lists of CMU's layout with links to the audio of ``task``."""
    (root / "etc").mkdir(parents=True)
    lines: dict[str, list[tuple[str, str]]] = {"an4_train": [], "an4_test": []}
    for split in SPLITS:
        for cut in task.folder.cuts[split]:
            name = "an4_test" if split == "test" else "an4_train"
            (supervision,) = cut.supervisions
            audio = root / "wav" / name / supervision.speaker / f"{cut.id}.flac"
            audio.parent.mkdir(parents=True, exist_ok=True)
            audio.symlink_to(cut.recording.sources[0].source)
            lines[name].append((f"{name}/{supervision.speaker}/{cut.id}", supervision.text.upper()))
    for name, of_one in lines.items():
        ids = [id for id, _ in of_one]
        said = [f"<s> {text} </s> ({Path(id).name})" for id, text in of_one]
        (root / "etc" / f"{name}.fileids").write_text("\n".join(ids) + "\n")
        (root / "etc" / f"{name}.transcription").write_text("\n".join(said) + "\n")
    return root


def texts_of(task: An4, split: Any) -> dict[str, tuple[str, str]]:
    found = (cut.supervisions[0] for cut in task.folder.cuts[split])
    return {one.id: (one.speaker, one.text) for one in found}
