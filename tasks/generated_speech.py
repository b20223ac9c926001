"""Speech synthesized by eSpeak NG, with noise: a corpus that anyone can make in a minute.

Splits share neither sentences nor voices.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from supernet.audio.resampling import resample
from supernet.audio.specification import SAMPLE_RATE
from supernet.task import SPLITS, ProgressCallback, Split, TaskError
from tasks.audio.acoustics import reverberate
from tasks.corpus import CorpusTask
from tasks.files.cache import digest, make_once
from tasks.options import CorpusOptions
from tasks.store.manifest_folder import Clip, write_split
from tasks.synthesis import commands, stories
from tasks.synthesis.espeak import Prompt, SpeechError, speak
from tasks.synthesis.voices import DIALECTS, VARIANTS

VERSION = 2
"""Raise it when the same options yield another corpus."""

SENTENCES = {"commands": commands.sentences, "stories": stories.sentences}
_TEST_SHARE, _VALID_SHARE = 0.25, 0.1
"""Shares of the sentences; the rest is for training."""

Speech = tuple[int, bytes]
"""Sampling rate and 16-bit samples."""


class GeneratedSpeechOptions(CorpusOptions):
    """Options of generated speech."""

    text: Literal["commands", "stories"] = "commands"
    """Sentences: home-automation commands (a vocabulary of 166 words), or stories (3,500 words)."""
    num_train: int = Field(default=3000, ge=20)
    """Number of training utterances."""
    num_valid: int = Field(default=300, ge=1)
    """Number of validation utterances."""
    num_test: int = Field(default=600, ge=1)
    """Number of test utterances."""
    snr: tuple[float, float] = (15.0, 30.0)
    """Signal-to-noise ratio in dB: minimum, maximum."""
    rt60: tuple[float, float] | None = None
    """Reverberation time (RT60) in seconds: minimum, maximum. None: no reverberation."""
    seed: int = Field(default=0, ge=0)
    """Seed of the corpus."""

    @field_validator("snr", "rt60")
    @classmethod
    def _check_range(
        cls, ends: tuple[float, float] | None, info: ValidationInfo
    ) -> tuple[float, float] | None:
        lowest, highest = (0.05, 2.0) if info.field_name == "rt60" else (-20.0, 100.0)
        if ends is not None and not lowest <= ends[0] <= ends[1] <= highest:
            raise ValueError(
                f"`task.{info.field_name}` must be two ascending numbers from {lowest:g} to {highest:g}, "
                f"but is {list(ends)} instead"
            )
        return ends


@dataclass(frozen=True, slots=True)
class _Recipe:
    """Parameters of an utterance: the prompt that is spoken, and the processing of its audio."""

    prompt: Prompt
    noise_db: float
    """Signal-to-noise ratio in dB."""
    noise_slope: float
    """Spectral exponent of the noise, whose power falls as 1 / f ** slope: 0 is white, 1 is pink."""
    peak_db: float
    """Peak level of the speech in dB relative to full scale."""
    silence: tuple[float, float]
    """Seconds of silence before and after."""
    noise_seed: int
    rt60: float | None
    """Reverberation time: seconds in which the echo decays by 60 dB."""


class GeneratedSpeech(CorpusTask):
    """The default task: synthesized sentences."""

    name = "generated-speech"
    Options = GeneratedSpeechOptions
    options: GeneratedSpeechOptions

    @property
    def path(self) -> Path:
        shape = self.options.model_dump(include=set(GeneratedSpeechOptions.__annotations__))
        return self.cache / f"{self.name}-{digest([VERSION, shape])}"

    def make(self, report: ProgressCallback) -> None:
        make_once(self.path, lambda folder: _make(folder, self.options, report), report)


def _make(folder: Path, options: GeneratedSpeechOptions, report: ProgressCallback) -> None:
    numbers: dict[Split, int] = {
        "train": options.num_train,
        "valid": options.num_valid,
        "test": options.num_test,
    }
    texts = choose_texts(SENTENCES[options.text](), numbers, options.seed)
    recipes = {
        split: [_draw(text, split, i, options) for i, text in enumerate(texts[split])] for split in SPLITS
    }
    prompts = [recipe.prompt for split in SPLITS for recipe in recipes[split]]
    try:
        with closing(speak(prompts)) as speech:
            spoken = _counted(speech, len(prompts), report)
            for split in SPLITS:
                write_split(folder, split, _utterances(split, recipes[split], spoken))
    except SpeechError as error:
        raise TaskError(str(error)) from error


def _utterances(split: Split, recipes: list[_Recipe], spoken: Iterator[Speech]) -> Iterator[Clip]:
    for number, recipe in enumerate(recipes):
        yield _utterance(f"{split}-{number:05d}", recipe, next(spoken))


def _counted(spoken: Iterable[Speech], total: int, report: ProgressCallback) -> Iterator[Speech]:
    for done, speech in enumerate(spoken, start=1):
        report("making speech", done, total)
        yield speech


def choose_texts(sentences: list[str], numbers: dict[Split, int], seed: int) -> dict[Split, list[str]]:
    """Choose the given number of texts for each split.

    Splits share no text, and every word of the others occurs in a training text.

    Raises:
        TaskError: If there are too few training texts for that.
    """
    pools = _divide(sentences, seed)
    train = _repeat(pools["train"], numbers["train"])
    known = {word for text in train for word in text.split()}
    texts: dict[Split, list[str]] = {"train": train}
    for split in SPLITS[1:]:
        pool = [text for text in pools[split] if known.issuperset(text.split())]
        if not pool:
            raise TaskError(
                f"`num_train` must be large enough to contain the words of some {split} sentence, "
                f"but is {numbers['train']} instead. Increase it."
            )
        texts[split] = _repeat(pool, numbers[split])
    return texts


def _divide(texts: list[str], seed: int) -> dict[Split, list[str]]:
    shuffled = random.Random(f"{seed}/sentences").sample(texts, len(texts))
    num_test, num_valid = (round(share * len(texts)) for share in (_TEST_SHARE, _VALID_SHARE))
    return {
        "test": shuffled[:num_test],
        "valid": shuffled[num_test : num_test + num_valid],
        "train": shuffled[num_test + num_valid :],
    }


def _repeat(texts: list[str], number: int) -> list[str]:
    return list(itertools.islice(itertools.cycle(texts), number))


def _draw(text: str, split: Split, number: int, options: GeneratedSpeechOptions) -> _Recipe:
    rng = random.Random(f"{options.seed}/{split}/{number}")
    voice = f"{rng.choice(DIALECTS)}+{rng.choice(VARIANTS[split])}"
    return _Recipe(
        prompt=Prompt(text, voice, words_per_minute=rng.randint(120, 175), pitch=rng.randint(20, 80)),
        noise_db=rng.uniform(*options.snr),
        noise_slope=rng.uniform(0, 1.5),
        peak_db=rng.uniform(-15, -1),
        silence=(rng.uniform(0, 0.2), rng.uniform(0, 0.2)),
        noise_seed=rng.getrandbits(32),
        rt60=None if options.rt60 is None else rng.uniform(*options.rt60),
    )


def _utterance(id: str, recipe: _Recipe, speech: Speech) -> Clip:
    prompt = recipe.prompt
    about = {
        "pitch": prompt.pitch,
        "words_per_minute": prompt.words_per_minute,
        "noise_db": round(recipe.noise_db, 2),
        **({} if recipe.rt60 is None else {"rt60": round(recipe.rt60, 3)}),
    }
    return Clip(id, prompt.text, _finish(speech, recipe), speaker=prompt.voice, about=about)


def _finish(speech: Speech, recipe: _Recipe) -> Tensor:
    """Add silence, reverberation and noise to speech, at 16 kHz."""
    rate, pcm = speech
    samples = resample(torch.from_numpy(np.frombuffer(pcm, np.int16) / np.float32(32768)), rate)
    samples = _trim(samples)
    samples = samples * (10 ** (recipe.peak_db / 20) / samples.abs().max())
    before, after = (round(seconds * SAMPLE_RATE) for seconds in recipe.silence)
    padded = torch.nn.functional.pad(samples, (before, after))
    if recipe.rt60 is not None:
        padded = reverberate(padded, echo_of(recipe.rt60, recipe.noise_seed))
    level = float(samples.square().mean().sqrt()) * 10 ** (-recipe.noise_db / 20)
    return (padded + level * _noise(len(padded), recipe)).clamp(-1, 1)


def _trim(samples: Tensor) -> Tensor:
    """Remove the synthesizer's own silence, which is always the same."""
    loud = torch.nonzero(samples.abs() > 0.01 * samples.abs().max())
    if len(loud) == 0:
        raise SpeechError("eSpeak NG must speak, but gave silence instead. Reinstall espeakng-loader.")
    return samples[int(loud[0]) : int(loud[-1]) + 1]


def echo_of(rt60: float, seed: int) -> Tensor:
    """Generate the impulse response of a room: direct sound, and a third of its energy in a tail that decays
    by 60 dB in ``rt60`` seconds.
    """
    size = round(rt60 * SAMPLE_RATE)
    tail = np.random.default_rng(seed).standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    tail[0] = np.sqrt(3 * np.square(tail[1:]).sum())
    return torch.from_numpy(tail).float()


def _noise(size: int, recipe: _Recipe) -> Tensor:
    """Generate noise of unit power."""
    # Made a little longer: Fourier transforms of such lengths are fast.
    longer = -(-size // 1024) * 1024
    white = np.random.default_rng(recipe.noise_seed).standard_normal(longer)
    frequency = np.maximum(np.arange(longer // 2 + 1), 1)
    noise = np.fft.irfft(np.fft.rfft(white) * frequency ** (-recipe.noise_slope / 2), longer)[:size]
    return torch.from_numpy(noise / noise.std()).float()
