"""Connected digits: every test recording is used exactly once, and never for training."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernet.task import SPLITS, Split, TaskError
from tasks.digits import WORDS, Digits, Take, find_takes, partition
from tests.tasks.corpora import real_corpus
from tests.tasks.folders import quiet, tone, write_wav

NUM_TAKES = 12


def make_tones(folder: Path, speakers: tuple[str, ...] = ("anna", "bert"), takes: int = NUM_TAKES) -> Path:
    """Write a tone for each digit, in the layout of the dataset."""
    for speaker in speakers:
        for digit in range(10):
            for take in range(takes):
                name = f"{digit}_{speaker}_{take}.wav"
                write_wav(folder / "recordings" / name, tone(0.2 + take / 100, 200 + 50 * digit, 8000), 8000)
    return folder


def digits(path: Path, cache: Path, num_train: int = 30) -> Digits:
    task = Digits(Digits.Options.model_validate({"path": path, "cache": cache, "num_train": num_train}))
    task.prepare(quiet)
    return task


@pytest.fixture(scope="module", params=["tones", "real"])
def task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Digits:
    cache = tmp_path_factory.mktemp("cache")
    if request.param == "tones":
        return digits(make_tones(cache / "tones"), cache)
    return digits(real_corpus("fsdd"), cache)


def recordings(task: Digits, split: Split) -> list[list[str]]:
    return [cut.supervisions[0].custom["recordings"] for cut in task.folder.cuts[split]]


def numbers_of_takes(task: Digits, split: Split) -> set[int]:
    return {int(name.split("_")[2]) for names in recordings(task, split) for name in names}


@pytest.mark.parametrize(("split", "takes"), [("test", range(5)), ("valid", range(5, 10))])
def test_every_recording_is_used_once(task: Digits, split: Split, takes: range) -> None:
    used = Counter(name for names in recordings(task, split) for name in names)
    there = {take.path.stem for take in find_takes(Path(task.options.path)) if take.take in takes}
    assert set(used) == there
    assert set(used.values()) == {1}


def test_only_later_takes_are_for_training(task: Digits) -> None:
    assert min(numbers_of_takes(task, "train")) >= 10
    assert len(recordings(task, "train")) == 30


@pytest.mark.parametrize("split", SPLITS)
def test_an_utterance_has_three_to_six_digits_of_one_speaker(task: Digits, split: Split) -> None:
    for cut in task.folder.cuts[split]:
        names = cut.supervisions[0].custom["recordings"]
        assert 3 <= len(names) <= 6
        assert {name.split("_")[1] for name in names} == {cut.supervisions[0].speaker}


@pytest.mark.parametrize("split", SPLITS)
def test_texts_match_the_recordings(task: Digits, split: Split) -> None:
    for cut in task.folder.cuts[split]:
        names = cut.supervisions[0].custom["recordings"]
        assert cut.supervisions[0].text == " ".join(WORDS[int(name[0])] for name in names)


def test_all_utterances_are_usable_and_tokens_are_words(task: Digits) -> None:
    assert task.skipped() == []
    assert set(task.tokens().symbols) == {"<blk>", *WORDS}
    num_rows = sum(len(batch) for batch in task.eval_batches("test", task.tokens()))
    assert num_rows == len(recordings(task, "test"))


def test_another_cache_gets_the_same_audio(task: Digits, tmp_path: Path) -> None:
    again = digits(Path(task.options.path), tmp_path)
    for path in sorted(task.path.rglob("*.flac")):
        assert (again.path / path.relative_to(task.path)).read_bytes() == path.read_bytes()


def test_the_folder_of_recordings_itself_can_be_given(tmp_path: Path) -> None:
    parent = make_tones(tmp_path / "tones", speakers=("anna",))
    assert find_takes(parent) == find_takes(parent / "recordings")


@given(st.integers(3, 60), st.integers(0, 1000))
def test_partitions_use_each_take_once(number: int, seed: int) -> None:
    takes = [Take(Path(f"0_anna_{i}.wav"), 0, "anna", i) for i in range(number)]
    groups = partition(takes, random.Random(seed))
    assert sorted(take.take for group in groups for take in group) == list(range(number))
    assert all(3 <= len(group) <= 6 for group in groups)


def test_partitions_are_shuffled() -> None:
    takes = [Take(Path(f"0_anna_{i}.wav"), 0, "anna", i) for i in range(50)]
    order = [take.take for group in partition(takes, random.Random(0)) for take in group]
    assert any(first > second for first, second in pairwise(order))


@pytest.mark.parametrize("files", [[], ["readme.txt"], ["zero.wav", "10_anna_1.wav", "1_anna.wav"]])
def test_a_folder_without_usable_names_is_an_error(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(TaskError, match=r"`path` must hold recordings named .* has none instead") as error:
        digits(tmp_path, tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="`path` must be a folder of recordings, but there is no such folder"):
        digits(tmp_path / "nowhere", tmp_path / "cache")


def test_missing_training_takes_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="has none for train instead"):
        digits(make_tones(tmp_path / "tones", takes=10), tmp_path / "cache")


def test_too_few_recordings_of_a_speaker_are_an_error(tmp_path: Path) -> None:
    folder = make_tones(tmp_path / "tones")
    write_wav(folder / "recordings" / "0_carl_0.wav", tone(0.3, rate=8000), 8000)
    with pytest.raises(TaskError, match="at least 3 test recordings of 'carl', but has 1 instead"):
        digits(folder, tmp_path / "cache")


def test_a_broken_recording_is_an_error(tmp_path: Path) -> None:
    folder = make_tones(tmp_path / "tones")
    (folder / "recordings" / "0_anna_0.wav").write_bytes(b"no sound")
    with pytest.raises(TaskError, match=r"0_anna_0\.wav` must be a recording, but cannot be decoded"):
        digits(folder, tmp_path / "cache")
