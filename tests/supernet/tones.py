"""A language of tones that needs no network: each letter has a pitch, and pauses separate words."""

from __future__ import annotations

import itertools
import random

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL
from supernet.audio.specification import SAMPLE_RATE
from supernet.text.tokens import Tokens

LETTERS = "abcd"
SAMPLES_PER_FRAME = LOG_MEL.stream_samples
TOKENS = Tokens(("<blk>", " ", *LETTERS))
_LETTER, _GAP, _PAUSE = (round(seconds * SAMPLE_RATE) for seconds in (0.16, 0.08, 0.4))


def sentence(rng: random.Random, num_words: int) -> str:
    return " ".join("".join(rng.choices(LETTERS, k=rng.randint(1, 3))) for _ in range(num_words))


def speak(text: str, seed: int = 0) -> Tensor:
    """Samples (S,) of ``text`` over faint noise."""
    samples = torch.cat([torch.zeros(_GAP), *(_sound(symbol) for symbol in text)])
    return samples + 3e-4 * torch.randn(len(samples), generator=torch.Generator().manual_seed(seed))


def _sound(symbol: str) -> Tensor:
    if symbol == " ":
        return torch.zeros(_PAUSE)
    time = torch.arange(_LETTER) / SAMPLE_RATE
    tone = 0.3 * torch.sin(2 * torch.pi * _pitch(symbol) * time)
    return torch.cat([tone, torch.zeros(_GAP)])


def _pitch(letter: str) -> float:
    return 400 * 1.7 ** LETTERS.index(letter)


def detect(samples: Tensor) -> Tensor:
    """Log-probabilities (S, V): the pitch of each stream frame, a space in the middle of each pause."""
    count = LOG_MEL.num_stream_frames(LOG_MEL.num_frames(len(samples)))
    size = count * SAMPLES_PER_FRAME
    frames_SW = torch.nn.functional.pad(samples, (0, size))[:size].view(count, SAMPLES_PER_FRAME)
    time = torch.arange(SAMPLES_PER_FRAME) / SAMPLE_RATE
    pitches_L1 = torch.tensor([_pitch(letter) for letter in LETTERS])[:, None]
    waves_LW = torch.exp(2j * torch.pi * pitches_L1 * time).to(torch.complex64)
    energy_SL = (frames_SW.to(torch.complex64) @ waves_LW.T).abs() / SAMPLES_PER_FRAME
    path = [int(row.argmax()) + 2 if row.max() > 0.05 else 0 for row in energy_SL]
    for start, stop in _silences(path):
        if (stop - start) * SAMPLES_PER_FRAME > _PAUSE / 2 and start > 0 and stop < count:
            path[(start + stop) // 2] = TOKENS.symbols.index(" ")
    return torch.nn.functional.one_hot(torch.tensor(path), len(TOKENS)).mul(0.9).add(0.02).log()


def _silences(path: list[int]) -> list[tuple[int, int]]:
    """The frames of silence."""
    edges = [i for i in range(1, len(path)) if (path[i] == 0) != (path[i - 1] == 0)]
    bounds = [0, *edges, len(path)]
    return [(a, b) for a, b in itertools.pairwise(bounds) if a < b and path[a] == 0]
