"""Batches of chunks are sorted by length within a window, and do not affect results."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet.errors import AudioError
from supernet.recognition import pipeline
from supernet.recognition.decoding import GREEDY
from supernet.recognition.pipeline import Recognized, Transcriber, _batches
from supernet.recognition.transcript import Transcript
from tests.supernet import tones
from tests.supernet.tones import SAMPLES_PER_FRAME

LONGEST = 50
"""The maximum length of a chunk in stream frames, which are 2 s."""


@given(st.lists(st.integers(0, 100), max_size=40), st.integers(1, 400))
def test_batches_contain_everything_once_and_respect_their_limit(lengths: list[int], most: int) -> None:
    found = list(_batches(lengths, most))
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= most
    by_length = [lengths[i] for batch in found for i in batch]
    assert by_length == sorted(by_length)
    # No batch could have taken the first item of the next one.
    for first, second in pairwise(found):
        assert (len(first) + 1) * lengths[second[0]] > most


def recordings(seed: int) -> list[list[Tensor] | Iterator[Tensor]]:
    """Recordings of one to six chunks, and one with an error in the middle."""
    rng = random.Random(seed)
    found: list[list[Tensor] | Iterator[Tensor]] = [
        [tones.speak(tones.sentence(rng, rng.randint(1, 12)), seed + i)] for i in range(9)
    ]

    def broken() -> Iterator[Tensor]:
        yield tones.speak("a b c d " * 9)
        raise AudioError("it broke off")

    found.insert(rng.randrange(len(found)), broken())
    return found


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
@pytest.mark.parametrize("limit", [None, 3 * LONGEST * SAMPLES_PER_FRAME])
@pytest.mark.parametrize("window", [0, 10 * 16_000, 1000 * 16_000])
def test_results_come_in_order_and_do_not_depend_on_batches(
    batch: int, window: int, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    def run(parts: Sequence[Tensor]) -> list[Recognized]:
        sizes.append((len(parts), max(map(len, parts))))
        return [Recognized(tones.detect(x)) for x in parts]

    monkeypatch.setattr(pipeline, "CHUNK_SECONDS", LONGEST * 0.04)
    monkeypatch.setattr(pipeline, "OVERLAP_SECONDS", LONGEST * 0.02)
    monkeypatch.setattr(pipeline, "_WINDOW", window)
    transcriber = Transcriber(run, GREEDY, tones.TOKENS, 3000, most=limit)
    together = list(transcriber.run(recordings(0), batch))
    most = (batch if limit is None else min(batch, 3)) * LONGEST * SAMPLES_PER_FRAME
    assert all(number * longest <= most for number, longest in sizes)
    alone = [next(transcriber.run([recording], 1)) for recording in recordings(0)]
    assert [type(x) for x in together] == [type(x) for x in alone]
    assert [x for x in together if isinstance(x, Transcript)] == [
        x for x in alone if isinstance(x, Transcript)
    ]
    assert sum(isinstance(x, AudioError) for x in together) == 1
