"""Manifest folders: any audio is read, folders can be moved, and unusable utterances are found before
training.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from pydantic import ValidationError

from supernet.audio.features import fbank
from supernet.task import SPLITS, Batch, Split, TaskError
from supernet.text.tokens import Tokens
from tasks.manifest import Manifest
from tasks.store.manifest_folder import manifest_path
from tests.tasks.folders import add_files, prepared, quiet, tone, write_folder, write_wav


def utterance(task: Manifest, id: str) -> tuple[Batch, int]:
    """The test batch that contains ``id``, and its row."""
    for batch in task.eval_batches("test", task.tokens()):
        if id in batch.ids:
            return batch, batch.ids.index(id)
    raise AssertionError(f"{id} is in no batch")


def test_features_equal_those_of_the_decoded_audio(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    batch, row = utterance(prepared(folder), "test-3")
    samples, _ = soundfile.read(folder / "audio/test/test-3.flac", dtype="float32")
    expected = fbank(torch.from_numpy(samples))
    assert batch.num_frames[row] == len(expected)
    torch.testing.assert_close(batch.features_BTF[row, : len(expected)], expected, rtol=1e-5, atol=1e-4)
    assert not batch.features_BTF[row, len(expected) :].any()


def test_targets_decode_to_the_texts(tmp_path: Path) -> None:
    task = prepared(write_folder(tmp_path / "tones"))
    batch, row = utterance(task, "test-0")
    assert batch.texts[row] == "a bc"
    assert task.tokens().decode(batch.targets_BL[row, : batch.num_targets[row]].tolist()) == "a bc"


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_audio_may_have_any_sampling_rate_and_number_of_channels(
    tmp_path: Path, rate: int, channels: int
) -> None:
    folder = write_folder(tmp_path / "tones", train=3, valid=1, test=1)
    samples = np.stack([tone(1.0, rate=rate)] * channels, axis=1)
    add_files(folder, "test", [(write_wav(tmp_path / "other.wav", samples, rate), "a")])
    batch, _ = utterance(prepared(folder), "other")

    loudest_bands = batch.features_BTF[0, 20:80].argmax(dim=1)
    expected = fbank(torch.from_numpy(tone(1.0)))[20:80].argmax(dim=1)
    assert batch.num_frames == [100]
    assert torch.equal(loudest_bands, expected), "a tone of 440 Hz must stay at 440 Hz"


def test_a_folder_can_be_moved(tmp_path: Path) -> None:
    before, _ = utterance(prepared(write_folder(tmp_path / "here" / "tones")), "test-1")
    shutil.move(tmp_path / "here", tmp_path / "there")
    after, _ = utterance(prepared(tmp_path / "there" / "tones", cache=tmp_path / "fresh"), "test-1")
    assert torch.equal(before.features_BTF, after.features_BTF)


def test_manifests_hold_relative_paths(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=1, valid=1, test=1)
    for split in SPLITS:
        cut = next(iter(CutSet.from_file(manifest_path(folder, split))))
        assert cut.recording.sources[0].source == f"audio/{split}/{split}-0.flac"


def test_nothing_is_written_to_the_folder(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    prepared(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_corpus_is_prepared_once_for_all_tasks(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    prepared(folder)
    another = Manifest(Manifest.Options.model_validate({"path": folder, "cache": tmp_path / "cache"}))
    assert len(list(another.eval_batches("test", another.tokens()))) == 1


def test_stored_features_equal_computed_ones(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    stored, _ = utterance(prepared(folder), "test-2")
    computed, _ = utterance(prepared(folder, store_hours=0), "test-2")
    sizes = {file.parent.name[:5]: file.stat().st_size for file in tmp_path.rglob("features.f32")}
    assert sizes["featu"] > 0
    assert sizes["index"] == 0
    assert stored.ids == computed.ids
    torch.testing.assert_close(stored.features_BTF, computed.features_BTF, rtol=1e-5, atol=1e-4)


def test_tokens_can_be_words(tmp_path: Path) -> None:
    task = prepared(write_folder(tmp_path / "tones"), tokens="words")
    assert task.tokens().symbols == ("<blk>", "a", "bc")


def test_faster_speech_is_shorter(tmp_path: Path) -> None:
    task = prepared(write_folder(tmp_path / "tones", train=1), speed_perturb=(2.0,))
    batch = next(iter(task.train_reader(task.tokens(), seed=0, rank=0, num_ranks=1)))
    assert batch.num_frames == [25]


def bad_folder(tmp_path: Path, good: int = 3) -> Path:
    """Write a folder whose training split has ``good`` tones and an unusable file of each kind."""
    folder = write_folder(tmp_path / "tones", train=1)
    audio = tmp_path / "audio"
    files = [(write_wav(audio / f"good{i}.wav", tone(1.0)), "a bc") for i in range(good)]
    broken = write_wav(audio / "truncated.wav", tone(1.0))
    files += [
        (broken, "a"),
        (write_wav(audio / "silent.wav", np.zeros(16000)), "a"),
        (write_wav(audio / "short.wav", tone(0.01)), "a"),
        (write_wav(audio / "hasty.wav", tone(0.2)), "a bc a bc"),
        (write_wav(audio / "textless.wav", tone(1.0)), " "),
        (write_wav(audio / "gone.wav", tone(1.0)), "a"),
    ]
    add_files(folder, "train", files)
    broken.write_bytes(broken.read_bytes()[:8000])
    (audio / "gone.wav").unlink()
    return folder


def test_unusable_utterances_are_listed_with_reasons(tmp_path: Path) -> None:
    task = prepared(bad_folder(tmp_path), max_skipped=0.9)
    reasons = {skipped.id.split("-")[0]: skipped.reason for skipped in task.skipped()}
    assert {skipped.split for skipped in task.skipped()} == {"train"}
    assert set(reasons) == {"truncated", "silent", "short", "hasty", "textless", "gone"}
    assert reasons["silent"] == "silent"
    assert reasons["textless"] == "no text"
    assert reasons["short"] == "too short: 160 samples"
    assert reasons["hasty"] == "too short for its text: 4 encoder frames for 9"
    assert reasons["truncated"].startswith("cannot be decoded: its length is not what")
    assert reasons["gone"].startswith("no such file: ")


def test_unusable_utterances_are_in_no_batch(tmp_path: Path) -> None:
    task = prepared(bad_folder(tmp_path), max_skipped=0.9)
    ids = {id for batch in task.eval_batches("train", task.tokens()) for id in batch.ids}
    assert {id.split("-")[0] for id in ids} == {"good0", "good1", "good2"}


def test_too_many_unusable_utterances_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        TaskError, match=r"`max_skipped` allows .* 0\.05, but 6 of 9 utterances of the train split"
    ):
        prepared(bad_folder(tmp_path))


def test_a_split_without_usable_utterances_is_always_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="6 of 6 utterances"):
        prepared(bad_folder(tmp_path, good=0), max_skipped=1.0)


def test_a_repaired_file_is_checked_again(tmp_path: Path) -> None:
    folder = bad_folder(tmp_path)
    prepared(folder, max_skipped=0.9)
    write_wav(tmp_path / "audio" / "truncated.wav", tone(1.0))
    names = {skipped.id.split("-")[0] for skipped in prepared(folder, max_skipped=0.9).skipped()}
    assert "truncated" not in names


@pytest.mark.parametrize("split", ["valid", "test"])
def test_unknown_characters_count_as_recognition_errors(tmp_path: Path, split: Split) -> None:
    folder = write_folder(tmp_path / "tones")
    names = {"umlaut": "a bü", "foreign": "üß", "known": "a b"}
    add_files(
        folder,
        split,
        [(write_wav(tmp_path / f"{name}.wav", tone(1.0)), text) for name, text in names.items()],
    )
    task = prepared(folder)
    tokens = task.tokens()
    assert task.skipped() == []
    (batch,) = task.eval_batches(split, tokens)
    texts = {id.rsplit("-", 1)[0]: text for id, text in zip(batch.ids, batch.texts, strict=True)}
    assert texts == names, "references must stay as they are"
    for row, number, text in zip(batch.targets_BL.tolist(), batch.num_targets, batch.texts, strict=True):
        assert tokens.decode(row[:number]) == re.sub("[üß]", "", text)
    (remark,) = task.remarks(["train", split], tokens)
    assert remark == (
        f"2 of 3 texts of the {split} split have symbols that no training text has: they count as errors. "
        f"The first is {task.folder.cuts[split][0].id!r} with ü."
    )
    (other,) = {"valid", "test"} - {split}
    assert task.remarks([other], tokens) == []


def test_training_texts_with_characters_outside_the_tokens_are_left_out(tmp_path: Path) -> None:
    folder, tokens = write_folder(tmp_path / "tones"), tmp_path / "tokens.txt"
    Tokens(("<blk>", " ", "a", "b", "c")).save(tokens)
    texts = ["a b"] * 30 + ["a ü"]
    add_files(
        folder,
        "train",
        [(write_wav(tmp_path / f"u{i}.wav", tone(1.0)), text) for i, text in enumerate(texts)],
    )
    task = prepared(folder, tokens=tokens)
    (skipped,) = task.skipped()
    assert skipped.id.startswith("u30")
    assert skipped.reason == "not among the tokens: 'ü'"
    with pytest.raises(TaskError, match=r"`max_skipped` allows .*31 of 31 .*not among the tokens: 'a', 'b'"):
        task.train_reader(Tokens(("<blk>", " ")), seed=0, rank=0, num_ranks=1)


def test_problems_in_other_splits_do_not_affect_scoring_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    tokens = prepared(folder).tokens()
    add_files(folder, "valid", [(write_wav(tmp_path / "silent.wav", np.zeros(16000)), "a")])
    with pytest.raises(TaskError, match="1 of 1 utterances of the valid split"):
        prepared(folder)
    task = Manifest(Manifest.Options.model_validate({"path": folder, "cache": tmp_path / "cache"}))
    task.prepare_for(["test"], tokens, quiet)
    assert len(list(task.eval_batches("test", tokens))) == 1
    with pytest.raises(TaskError, match="1 of 1 utterances of the valid split"):
        task.prepare_for(["test", "valid"], tokens, quiet)


def test_texts_that_look_the_same_are_normalized_to_one_spelling(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    texts: dict[Split, str] = {
        "train": "cafe\u0301 a\u200bb",
        "valid": "caf\u00e9 ab",
        "test": "\ufeffcaf\u00e9 a\u00adb",
    }
    for split, text in texts.items():
        add_files(folder, split, [(write_wav(tmp_path / f"{split}.wav", tone(1.0)), text)])
    task = prepared(folder)
    assert task.tokens().symbols == ("<blk>", *" abcf\u00e9")
    for split in texts:
        (batch,) = task.eval_batches(split, task.tokens())
        assert batch.texts == ["caf\u00e9 ab"]


def test_manifests_with_other_names_are_noted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", train=3)
    shutil.copy(manifest_path(folder, "train"), folder / "train_dev.jsonl.gz")
    assert prepared(folder).notes() == [f"1 listing is not read: {folder / 'train_dev.jsonl.gz'}"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="`path` must be a folder of manifests"):
        prepared(tmp_path / "nowhere")


@pytest.mark.parametrize("split", SPLITS)
def test_a_missing_split_is_an_error(tmp_path: Path, split: Split) -> None:
    folder = write_folder(tmp_path / "tones")
    manifest_path(folder, split).unlink()
    with pytest.raises(TaskError, match=rf"but has no {split}\.jsonl\.gz"):
        prepared(folder)


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones", valid=0)
    with pytest.raises(TaskError, match=r"valid\.jsonl\.gz` must hold utterances, but is empty"):
        prepared(folder)


def test_using_an_unprepared_corpus_is_an_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "tones")
    task = Manifest(Manifest.Options.model_validate({"path": folder, "cache": tmp_path / "cache"}))
    with pytest.raises(TaskError, match="must have been prepared"):
        task.tokens()


@pytest.mark.parametrize(
    "wrong", [{"batch_seconds": 0}, {"speed_perturb": [9]}, {"spec_augment": {"x": 1}}, {"y": 1}]
)
def test_invalid_options_are_rejected(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Manifest.Options.model_validate({"path": tmp_path, **wrong})


def test_progress_is_reported(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = write_folder(tmp_path / "tones", train=3, valid=1, test=1)
    task = Manifest(Manifest.Options.model_validate({"path": folder, "cache": tmp_path / "cache"}))
    task.prepare(lambda what, done, total: seen.append((what, done, total)))
    assert seen == [("computing features", done, 5) for done in range(1, 6)]
    task.prepare(quiet)
