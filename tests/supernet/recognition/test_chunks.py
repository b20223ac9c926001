"""Long recordings: nothing is lost or duplicated at seams, wherever they are, and memory does not grow."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from supernet.errors import AudioError
from supernet.recognition import chunks as chunks_module
from supernet.recognition import pipeline
from supernet.recognition.chunks import Passage, Stitcher, chunks, find_seam
from supernet.recognition.decoding import GREEDY, greedy, spans
from supernet.recognition.pipeline import LogProbs, Recognized, Transcriber
from supernet.recognition.transcript import Transcript
from supernet.text.tokens import Tokens
from tasks.reading.vocabulary import learn
from tests.supernet import tones
from tests.supernet.tones import SAMPLES_PER_FRAME

CHARACTERS = Tokens(("<blk>", " ", "a", "b", "c"))
WORDS = Tokens(("<blk>", "one", "two"), "words")
PIECES = Tokens.from_model(learn("bpe", len(CHARACTERS), False, 5 * ["ab a ba ab"]))


def path(text: str) -> list[int]:
    """A path given as symbols, where ``_`` is the blank."""
    return [0 if symbol == "_" else CHARACTERS.symbols.index(symbol) for symbol in text]


def sure(path: Sequence[int], num_tokens: int = 5) -> Tensor:
    """Log-probabilities (S, V) in which ``path`` is clearly the most likely."""
    return torch.nn.functional.one_hot(torch.tensor(path), num_tokens).mul(0.9).add(0.02).log()


@given(st.integers(0, 4000), st.integers(2, 9), st.integers(1, 8), st.integers(1, 700))
def test_chunks_cover_the_recording(total: int, length: int, overlap: int, block: int) -> None:
    overlap = min(overlap, length - 1)
    samples = torch.arange(total * 10.0)
    found = list(chunks(torch.split(samples, block * 10), length, overlap, SAMPLES_PER_FRAME))
    again = [c.samples[: (length - overlap) * SAMPLES_PER_FRAME] for c in found[:-1]] + [found[-1].samples]
    assert torch.equal(torch.cat(again), samples)
    assert [c.is_last for c in found] == [False] * (len(found) - 1) + [True]
    for chunk in found:
        assert len(chunk.samples) <= length * SAMPLES_PER_FRAME
        if len(chunk.samples):
            assert chunk.samples[0] == chunk.start * SAMPLES_PER_FRAME
    if len(found) > 1:
        assert len(found[-1].samples) > overlap * SAMPLES_PER_FRAME


def test_an_overlap_that_does_not_advance_is_an_error() -> None:
    with pytest.raises(ValueError, match="`overlap` must be between 0 and 5 frames, but is 5"):
        next(chunks([torch.zeros(9)], 5, 5, 640))


@pytest.mark.parametrize(
    ("before", "after", "overlap", "seam", "is_boundary"),
    [
        ("a_b_ _c_a", "a_b_ _c_a", 9, 5, True),  # both agree: after the space
        ("aa_bb_cc", "_bb_cc_a", 6, 3, False),  # no space: closest to the middle
        ("____", "____", 4, 2, True),  # silence
        ("ab a", "cbca", 2, 1, True),  # no agreement: after the space
    ],
)
def test_seams_equal_hand_computed_ones(
    before: str, after: str, overlap: int, seam: int, is_boundary: bool
) -> None:
    assert find_seam(path(before), path(after), overlap, CHARACTERS) == (seam, is_boundary)


def test_a_word_token_ends_a_word() -> None:
    assert find_seam([1, 0, 2, 0], [1, 0, 2, 0], 4, WORDS)[1]


tokens_of_words = st.lists(st.sampled_from([0, 0, 1, 2, 3, 4]), min_size=30, max_size=60)


def test_a_piece_that_begins_a_word_ends_the_previous_word() -> None:
    assert {"▁a", "b"} <= {*PIECES.symbols}
    begin, continues = PIECES.symbols.index("▁a"), PIECES.symbols.index("b")
    agreed = [begin, 0, continues, 0, begin, 0, continues, 0]
    assert find_seam(agreed, agreed, 8, PIECES) == (4, True)
    before, after = [begin, 0, 0, continues], [0, continues, 0]
    assert find_seam(before, [*after, continues], 2, PIECES)[1] is False
    assert find_seam(before, [*after, begin], 2, PIECES) == (2, True)


@pytest.mark.parametrize("tokens", [CHARACTERS, PIECES])
@given(tokens_of_words, st.integers(1, 29), st.integers(1, 28))
def test_two_overlapping_chunks_are_stitched_to_the_whole(
    tokens: Tokens, whole: list[int], start: int, overlap: int
) -> None:
    """For any tokens and any beginning of the second chunk, including the middle of a token."""
    stop = min(len(whole), start + overlap)
    stitcher = Stitcher(tokens)
    passages = [*stitcher.add(sure(whole[:stop]), 0), *stitcher.add(sure(whole[start:]), start)]
    passages.append(stitcher.finish())
    joined = torch.cat([passage.log_probs_SV for passage in passages])
    assert torch.equal(joined, sure(whole))
    said = [greedy(p.log_probs_SV[None], [len(whole)], tokens)[0] for p in passages]
    assert " ".join(said).split() == greedy(joined[None], [len(whole)], tokens)[0].split()
    assert [passage.start for passage in passages] == [0, len(passages[0].log_probs_SV)][: len(passages)]


@given(st.data())
def test_tokens_at_slightly_different_times_are_neither_lost_nor_duplicated(data: st.DataObject) -> None:
    """Each chunk shifts every token by up to one frame, like networks with different context."""
    said = data.draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=12, max_size=20))
    moves = [data.draw(st.lists(st.integers(-1, 1), min_size=len(said), max_size=len(said))) for _ in "ab"]
    a, b = ([0] * (5 * len(said) + 5) for _ in "ab")
    for line, move in zip((a, b), moves, strict=True):
        for i, token in enumerate(said):
            line[5 * i + 3 + move[i]] = token
    start = data.draw(st.integers(1, 10))
    seam, _ = find_seam(a[: start + 40], b[start:], 40, CHARACTERS)
    joined = a[: start + seam] + b[start + seam :]
    assert [span.token for span in spans(joined)] == said


def wrong_near_the_ends(samples: Sequence[Tensor]) -> list[Recognized]:
    """A detector that outputs nonsense near the ends of each chunk, where it lacks context."""
    found = []
    for number, x in enumerate(samples):
        log_probs_SV = tones.detect(x)
        nonsense = torch.arange(8) * (number + 3) % 4 + 2
        for edge in (log_probs_SV[:8], log_probs_SV[-8:]):
            edge[:] = sure(nonsense[: len(edge)].tolist(), edge.size(1))
        found.append(Recognized(log_probs_SV))
    return found


def transcriber(run: LogProbs, seconds: float, monkeypatch: pytest.MonkeyPatch) -> Transcriber:
    monkeypatch.setattr(pipeline, "CHUNK_SECONDS", seconds)
    monkeypatch.setattr(pipeline, "OVERLAP_SECONDS", seconds / 2.5)
    return Transcriber(run, GREEDY, tones.TOKENS, 3000)


@pytest.mark.parametrize("seed", range(2))
def test_seams_at_every_position_change_no_word(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tones.sentence(random.Random(seed), 20)
    samples = tones.speak(f"d {text} d", seed)
    run = transcriber(wrong_near_the_ends, 5.0, monkeypatch)
    monkeypatch.setattr(pipeline, "_WINDOW", 0)  # neighbors get different nonsense
    for shift in range(0, 75):  # as far as the chunks advance
        later = torch.nn.functional.pad(samples, (shift * SAMPLES_PER_FRAME, 0))
        (result,) = run.run([torch.split(later, 10_000)], batch=3)
        assert isinstance(result, Transcript)
        first, *said, last = (word.text for word in result.words)  # first and last are nonsense
        assert " ".join(said) == text, (shift, first, last)


def test_times_count_from_the_start_of_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    text = tones.sentence(random.Random(7), 25)
    samples = tones.speak(text)

    def detect(parts: Sequence[Tensor]) -> list[Recognized]:
        return [Recognized(tones.detect(x)) for x in parts]

    (whole,) = transcriber(detect, 100.0, monkeypatch).run([[samples]], 1)
    (parts,) = transcriber(detect, 4.0, monkeypatch).run([[samples]], 1)
    assert isinstance(whole, Transcript)
    assert whole == parts
    assert whole.text == text
    assert whole.seconds == pytest.approx(len(samples) / 16_000)
    first = whole.words[0]
    assert first.start == pytest.approx(0.08, abs=0.04)
    assert first.end == pytest.approx(0.08 + 0.24 * len(first.text) - 0.08, abs=0.041)


def test_memory_does_not_grow_with_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    held: dict[int, int] = {}
    release = Stitcher._release
    for repeats in (2, 12):
        largest = 0

        def run(parts: Sequence[Tensor]) -> list[Recognized]:
            nonlocal largest
            largest = max(largest, sum(x.untyped_storage().nbytes() for x in parts))
            return [Recognized(tones.detect(x)) for x in parts]

        def spied(stitcher: Stitcher) -> Passage:
            nonlocal largest
            parts = [*stitcher._held, *(stitcher._open or ())[1:]]
            largest = max(largest, sum(part.untyped_storage().nbytes() for part in parts))
            return release(stitcher)

        monkeypatch.setattr(Stitcher, "_release", spied)
        recording = (tones.speak("ab cd a bc", i) for i in range(4 * repeats))
        (result,) = transcriber(run, 3.0, monkeypatch).run([recording], 2)
        monkeypatch.setattr(Stitcher, "_release", release)
        assert isinstance(result, Transcript)
        assert len(result.words) >= 12 * repeats
        held[repeats] = largest
    assert held[12] <= held[2] * 1.1


def test_memory_is_bounded_even_without_any_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "_LONGEST_PASSAGE", 100)
    stitcher = Stitcher(CHARACTERS)
    endless = sure(path("a_b_c_" * 10))
    passages = [p for i in range(20) for p in stitcher.add(endless, 48 * i)]
    assert len(passages) > 5
    assert max(len(p.log_probs_SV) for p in passages) < 200


def test_an_error_in_one_recording_does_not_affect_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Tensor]:
        yield tones.speak("a b c d " * 20)
        raise AudioError("it broke off")

    def run(parts: Sequence[Tensor]) -> list[Recognized]:
        return [Recognized(tones.detect(x)) for x in parts]

    recordings = [[tones.speak("ab c")], broken(), [tones.speak("d a")]]
    first, error, last = transcriber(run, 4.0, monkeypatch).run(recordings, batch=2)
    assert isinstance(first, Transcript)
    assert first.text == "ab c"
    assert isinstance(error, AudioError)
    assert isinstance(last, Transcript)
    assert last.text == "d a"
