"""LibriSpeech as unpacked: FLAC files and transcripts in folders of speakers and chapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch

from supernet import evaluate
from supernet.audio.features import fbank
from supernet.task import SPLITS, TaskError
from tasks.librispeech import LibriSpeech
from tests.supernet.processes import run, settings
from tests.tasks.corpora import PARTS, WORDS, real_corpus, speakers_of, write_flac, write_librispeech
from tests.tasks.folders import quiet

TRAIN = ("train-clean-100", "train-other-500")


def opened(root: Path, **options: object) -> LibriSpeech:
    values = {"path": root, "cache": root.parent / "cache", "train": TRAIN, **options}
    return LibriSpeech(LibriSpeech.Options.model_validate(values))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> LibriSpeech:
    made = opened(write_librispeech(tmp_path_factory.mktemp("corpus") / "LibriSpeech"))
    made.prepare(quiet)
    return made


def ids(task: LibriSpeech, split: str) -> set[str]:
    return {id for batch in task.eval_batches(split, task.tokens()) for id in batch.ids}


def test_each_part_belongs_to_its_split(task: LibriSpeech) -> None:
    numbers = {split: len(task.folder.cuts[split]) for split in SPLITS}
    assert numbers == {"train": 12, "valid": 4, "test": 5}
    assert task.skipped() == []


def test_transcripts_are_lower_case(task: LibriSpeech) -> None:
    texts = {cut.supervisions[0].text for split in SPLITS for cut in task.folder.cuts[split]}
    assert texts <= {text.lower() for text in WORDS}
    assert task.tokens().symbols == ("<blk>", " ", "'", "a", "b", "c", "d", "i", "s", "t")


def test_speakers_and_audio_match_the_names(task: LibriSpeech) -> None:
    for cut in task.folder.cuts["test"]:
        assert cut.supervisions[0].speaker == cut.id.split("-")[0]
        assert Path(cut.recording.sources[0].source).name == f"{cut.id}.flac"


def test_features_equal_those_of_the_flac_files(task: LibriSpeech) -> None:
    batch = next(iter(task.eval_batches("test", task.tokens())))
    (file,) = Path(task.options.path).rglob(f"{batch.ids[0]}.flac")
    samples, _ = soundfile.read(file, dtype="float32")
    expected = fbank(torch.from_numpy(samples))
    assert batch.num_frames[0] == len(expected)
    torch.testing.assert_close(batch.features_BTF[0, : len(expected)], expected, rtol=1e-5, atol=1e-4)


def test_training_sees_every_utterance(task: LibriSpeech) -> None:
    reader = task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)
    seen = list(next(reader).ids)
    while len(seen) < 12:
        seen += next(reader).ids
    assert set(seen) == ids(task, "train")


def test_parts_can_be_scored_separately(task: LibriSpeech) -> None:
    clean, other = ids(task, "test-clean"), ids(task, "test-other")
    assert (len(clean), len(other)) == (PARTS["test-clean"], PARTS["test-other"])
    assert clean | other == ids(task, "test")
    assert not clean & other


def test_some_parts_can_be_used_alone(task: LibriSpeech) -> None:
    small = opened(Path(task.options.path), train=["train-clean-100"], test=["test-clean"])
    small.prepare(quiet)
    assert small.path != task.path
    assert [len(small.folder.cuts[split]) for split in SPLITS] == [8, 4, 3]


MINI = {"train": ["train-clean-5"], "valid": [], "test": ["dev-clean-2"]}


def test_mini_librispeech_validates_on_speakers_of_its_training_part(tmp_path: Path) -> None:
    parts = {"train-clean-5": 28, "dev-clean-2": 12}
    task = opened(write_librispeech(tmp_path / "LibriSpeech", parts, speakers=12), **MINI)
    task.prepare(quiet)
    speakers = speakers_of(task)
    assert {split: len(of_one) for split, of_one in speakers.items()} == {"train": 11, "valid": 1, "test": 12}
    assert ids(task, "train") | ids(task, "valid") == {
        file.stem for file in (tmp_path / "LibriSpeech" / "train-clean-5").rglob("*.flac")
    }


@pytest.mark.parametrize("speakers", [3, 4, 9])
def test_one_part_is_divided_into_three_splits_by_speaker(tmp_path: Path, speakers: int) -> None:
    root = write_librispeech(tmp_path / "LibriSpeech", {"train-clean-5": 12}, speakers)
    task = opened(root, train=["train-clean-5"], valid=[], test=[])
    task.prepare(quiet)
    assert [len(of_one) for of_one in speakers_of(task).values()] == [speakers - 2, 1, 1]


def test_the_real_mini_librispeech(tmp_path: Path) -> None:
    task = opened(real_corpus("mini-librispeech"), cache=tmp_path, **MINI)
    task.prepare(quiet)
    speakers = speakers_of(task)
    assert len(speakers["train"] | speakers["valid"]) == 28
    assert len(task.folder.cuts["train"]) + len(task.folder.cuts["valid"]) == 1519
    assert task.skipped() == []


def test_the_parent_folder_can_be_given(task: LibriSpeech) -> None:
    assert opened(Path(task.options.path).parent).source.files == task.source.files


def test_a_missing_part_is_an_error_that_lists_the_others(tmp_path: Path) -> None:
    some = {"train-clean-100": 2, "dev-clean": 2, "test-clean": 2}
    root = write_librispeech(tmp_path / "LibriSpeech", some)
    with pytest.raises(TaskError, match=r"lacks dev-other, test-other\. Unpack .* dev-clean, test-clean"):
        opened(root, train=["train-clean-100"]).prepare(quiet)


def test_a_missing_corpus_is_an_error_that_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"nowhere.*openslr\.org/12.*task\.path"):
        opened(tmp_path / "nowhere").prepare(quiet)
    with pytest.raises(TaskError, match=r"lacks train-clean-100, .*openslr\.org/12.*task\.path"):
        opened(tmp_path).prepare(quiet)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    root = write_librispeech(tmp_path / "LibriSpeech")
    train = root / "train-clean-100" / "100" / "7"
    (train / "100-7-0000.flac").unlink()
    (train / "100-7-0002.flac").write_bytes(b"")
    write_flac(train / "100-7-0099.flac")
    with open(train / "100-7.trans.txt", "a", encoding="utf-8") as file:
        file.write("100-7-0004 TWICE\n100-7-0098\n")
    task = opened(root, max_skipped=0.5)
    task.prepare(quiet)
    reasons = {skipped.id: skipped.reason for skipped in task.skipped()}
    listing = str(train / "100-7.trans.txt")
    assert reasons == {
        "100-7-0000": f"missing file: '{train / '100-7-0000.flac'}' does not exist ({listing}:1)",
        "100-7-0002": f"zero length: '{train / '100-7-0002.flac'}' is an empty file ({listing}:2)",
        "100-7-0004": f"duplicate: '100-7-0004' is listed already ({listing}:5)",
        "100-7-0098": f"audio without text: no text ({listing}:6)",
        "100-7-0099": f"audio without text: no line for '100-7-0099.flac' ({listing})",
    }


def test_a_run_trains_on_it_and_can_be_scored_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_librispeech(tmp_path / "LibriSpeech")
    options = settings(num_steps=4, checkpoint_every=4, validate_every=4)
    corpus = ["--task", "librispeech", "--set", f"task.train={json.dumps(TRAIN)}"]
    run("supernet.train", *options, *corpus, "--out", "run", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    evaluate.main(["run", "--split", "test-clean"])
    assert "test-clean WER" in capsys.readouterr().out
    for split, number in (("test", 5), ("test-clean", 3)):
        assert len((tmp_path / "run" / "transcripts" / f"{split}-2.tsv").read_text().splitlines()) == number
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["run", "--split", "test-noisy"])
    (complaint,) = capsys.readouterr().err.splitlines()
    assert "`--split` must be some of train, valid, test, train-clean-100" in complaint
