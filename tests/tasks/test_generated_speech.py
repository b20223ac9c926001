"""Generated speech is reproducible, and its splits share neither sentences nor voices."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
import soundfile
import torch
from lhotse import CutSet
from pydantic import ValidationError

from supernet.task import SPLITS, Split, TaskError
from tasks.generated_speech import (
    SENTENCES,
    GeneratedSpeech,
    GeneratedSpeechOptions,
    choose_texts,
    echo_of,
)
from tasks.store.manifest_folder import manifest_path
from tasks.synthesis import espeak
from tasks.synthesis.espeak import Prompt, SpeechError, speak
from tasks.synthesis.lexicon import VERBS, plural
from tasks.synthesis.voices import VARIANTS
from tests.tasks.folders import quiet

SMALL = {"num_train": 40, "num_valid": 6, "num_test": 8}
DEFAULT: dict[Split, int] = {"train": 3000, "valid": 300, "test": 600}


def small(cache: Path, seed: int = 0) -> GeneratedSpeech:
    return GeneratedSpeech(GeneratedSpeechOptions.model_validate({**SMALL, "cache": cache, "seed": seed}))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> GeneratedSpeech:
    task = small(tmp_path_factory.mktemp("cache"))
    task.prepare(quiet)
    return task


def contents(folder: Path) -> tuple[list[object], dict[str, bytes]]:
    """Contents of the manifests and of the audio files."""
    said = [cut.to_dict() for split in SPLITS for cut in CutSet.from_file(manifest_path(folder, split))]
    audio = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.flac"))}
    return said, audio


def test_another_process_generates_the_same_corpus(task: GeneratedSpeech, tmp_path: Path) -> None:
    program = (
        "from tests.tasks.test_generated_speech import small, quiet; from pathlib import Path; import sys; "
        "small(Path(sys.argv[1])).prepare(quiet)"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=root)
    assert contents(small(tmp_path).path) == contents(task.path)


def test_another_seed_generates_another_corpus(task: GeneratedSpeech, tmp_path: Path) -> None:
    other = small(tmp_path, seed=1)
    other.prepare(quiet)
    assert contents(other.path)[1] != contents(task.path)[1]


def test_splits_have_the_requested_sizes(task: GeneratedSpeech) -> None:
    assert [len(task.folder.cuts[split]) for split in SPLITS] == list(SMALL.values())
    assert task.skipped() == []


def test_utterances_are_16_khz_mono_and_short(task: GeneratedSpeech) -> None:
    for path in task.path.rglob("*.flac"):
        about = soundfile.info(path)
        assert (about.samplerate, about.channels) == (16000, 1)
        assert 0.5 < about.duration < 6


@pytest.mark.parametrize("kind", SENTENCES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_sentence_is_in_two_splits(seed: int, kind: str) -> None:
    texts = choose_texts(SENTENCES[kind](), DEFAULT, seed)
    for one, other in combinations(SPLITS, 2):
        assert not set(texts[one]) & set(texts[other])
    assert {split: len(texts[split]) for split in SPLITS} == DEFAULT


@pytest.mark.parametrize("num_train", [60, 3000])
def test_every_word_occurs_in_training(num_train: int) -> None:
    texts = choose_texts(SENTENCES["commands"](), {**DEFAULT, "train": num_train}, seed=0)
    trained = {word for text in texts["train"] for word in text.split()}
    for split in SPLITS:
        assert trained >= {word for text in texts[split] for word in text.split()}


def test_no_voice_is_in_two_splits(task: GeneratedSpeech) -> None:
    for one, other in combinations(SPLITS, 2):
        assert not set(VARIANTS[one]) & set(VARIANTS[other])
    for split in SPLITS:
        variants = {cut.supervisions[0].speaker.split("+")[1] for cut in task.folder.cuts[split]}
        assert variants <= set(VARIANTS[split])


@pytest.mark.parametrize(("kind", "fewest", "words"), [("commands", 1000, 160), ("stories", 50_000, 3500)])
def test_sentences_are_unique_and_consist_of_lower_case_words(kind: str, fewest: int, words: int) -> None:
    found = SENTENCES[kind]()
    assert len(set(found)) == len(found) > fewest
    assert len({word for sentence in found for word in sentence.split()}) > words
    assert set("".join(found)) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert not [sentence for sentence in found if "  " in sentence or sentence != sentence.strip()]
    assert found == SENTENCES[kind]()


def test_verbs_and_nouns_are_inflected() -> None:
    forms = {verb[0]: verb[1:] for verb in VERBS}
    assert forms["stop"] == ("stopped", "stops", "stopping")
    assert forms["carry"] == ("carried", "carries", "carrying")
    assert forms["bake"] == ("baked", "bakes", "baking")
    assert forms["see"] == ("saw", "sees", "seeing")
    assert forms["tie"] == ("tied", "ties", "tying")
    assert forms["catch"] == ("caught", "catches", "catching")
    assert forms["forget"] == ("forgot", "forgets", "forgetting")
    assert [plural(noun) for noun in ("fox", "pony", "donkey", "fisherman", "wolf", "piano")] == [
        "foxes",
        "ponies",
        "donkeys",
        "fishermen",
        "wolves",
        "pianos",
    ]


def test_echo_and_noise_are_within_the_requested_ranges(task: GeneratedSpeech, tmp_path: Path) -> None:
    options = {
        **SMALL,
        "num_train": 250,
        "cache": tmp_path,
        "text": "stories",
        "snr": [0, 10],
        "rt60": [0.2, 0.5],
    }
    hard = GeneratedSpeech(GeneratedSpeechOptions.model_validate(options))
    hard.prepare(quiet)
    about = [cut.supervisions[0].custom for split in SPLITS for cut in hard.folder.cuts[split]]
    assert all(0.2 <= one["rt60"] <= 0.5 and 0 <= one["noise_db"] <= 10 for one in about)
    assert len({one["rt60"] for one in about}) > 40
    assert all("rt60" not in cut.supervisions[0].custom for cut in task.folder.cuts["test"])
    assert hard.path.name != task.path.name


def test_an_echo_decays_by_60_db_in_its_reverberation_time() -> None:
    response = echo_of(0.5, seed=1)
    direct, tail = response[0], response[1:]
    assert float(direct.square() / tail.square().sum()) == pytest.approx(3, rel=1e-4)
    blocks = tail[: 16 * (len(tail) // 16)].reshape(16, -1).square().mean(dim=1)
    fall = 10 * torch.log10(blocks[0] / blocks[-1])
    assert float(fall) == pytest.approx(60 * 15 / 16, abs=2)


@pytest.mark.parametrize("wrong", [{"snr": [9, 3]}, {"rt60": [0, 1]}, {"rt60": [0.1, 9]}, {"snr": [0, 500]}])
def test_invalid_ranges_are_rejected(wrong: dict[str, list[float]]) -> None:
    (name,) = wrong
    with pytest.raises(ValidationError, match=rf"`task.{name}` must be two ascending numbers from"):
        GeneratedSpeechOptions.model_validate(wrong)


def test_every_voice_speaks() -> None:
    lines = [Prompt("on", f"en+{variant}", 160, 50) for split in SPLITS for variant in VARIANTS[split]]
    for (rate, samples), line in zip(speak(lines), lines, strict=True):
        assert rate > 0, line
        assert any(samples), line


def test_an_unknown_voice_is_an_error() -> None:
    with pytest.raises(SpeechError, match="voice 'xx' was refused"):
        list(speak([Prompt("on", "xx", 160, 50)]))


def test_a_missing_library_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espeakng_loader.get_library_path", lambda: str(tmp_path / "nothing.so"))
    with pytest.raises(TaskError, match=r"eSpeak NG cannot speak.*nothing\.so"):
        small(tmp_path).prepare(quiet)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()], "no incomplete corpus may remain"


def test_a_missing_loader_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(espeak.SpeechError, match="must be installed"):
        list(speak([Prompt("on", "en", 160, 50)]))
