"""Streams give the text of the masked pass, chunk by chunk, and never take back what they have shown."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from supernet import Recognizer
from supernet.audio.features import fbank
from supernet.errors import ArgumentError
from supernet.network.streaming.chunking import Chunking
from supernet.recognition.beam import BeamConfig
from supernet.recognition.decoding import GREEDY, BestPath, greedy
from supernet.recognition.streaming.speech_stream import ENDPOINT_SECONDS, SpeechStream, check_stream
from supernet.recognition.streaming.timeline import Timeline, changed_words
from tests.supernet.talkative import make_run, make_streaming_run, recordings
from tests.supernet.tones import TOKENS
from tests.test_documents import ROOT
from tests.test_manual import blocks


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Recognizer:
    return Recognizer.load(make_streaming_run(tmp_path_factory.mktemp("runs") / "streaming").folder)


def fed(stream: SpeechStream, samples: Tensor, seed: int = 0) -> tuple[list[str], list[str]]:
    """The text of each utterance, from blocks of random length; and all partial texts of the last one."""
    rng, texts, partials, start = random.Random(seed), list[str](), [""], 0
    while start < len(samples):
        stop = start + rng.randint(1, 9000)
        if ended := [utterance.text for utterance in stream.accept(samples[start:stop])]:
            texts, partials = texts + ended, [""]
        partials.append(stream.partial)
        start = stop
    return [*texts, stream.final().text], partials


def whole_text(loaded: Recognizer, size: int, samples: Tensor, how: Chunking) -> str:
    """The text of a masked pass over a whole recording."""
    network = loaded._model.recognizer
    kept = loaded.use(size)._kept
    network.encoder.chunking, features = how, fbank(samples)
    with torch.inference_mode():
        log_probs = network.log_probs(features[None], [len(features)], kept)
    network.encoder.chunking = None
    count = network.input.num_stream_frames(len(features))
    return " ".join(greedy(log_probs, [count], TOKENS)[0].split())


@pytest.mark.parametrize(
    ("chunk", "frames", "ahead"),
    [("40ms", 1, 0), ("320ms", 8, 0), ("0.64s", 16, 0), ("240ms+80ms", 6, 2), ("40ms + 0.2s", 1, 5)],
)
@pytest.mark.parametrize("size", [2, 4])
def test_a_stream_has_the_text_of_the_whole_recording(
    loaded: Recognizer, size: int, chunk: str, frames: int, ahead: int
) -> None:
    stream, found = loaded.stream(size, chunk, left=2), set()
    for i, samples in enumerate(recordings()):
        texts, partials = fed(stream, samples, seed=i)
        text = whole_text(loaded, size, samples, Chunking(frames, 2, ahead))
        assert " ".join(filter(None, texts)).replace(" ", "") == text.replace(" ", "")
        if len(texts) == 1:
            assert texts == [text]
            assert all(b.startswith(a) for a, b in zip(partials, [*partials[1:], text], strict=True))
        found.add(text)
    assert len(found) > 1, "recordings must be heard"


def test_several_streams_run_at_once_and_change_size_between_recordings(loaded: Recognizer) -> None:
    a, b = loaded.stream(2, "160ms"), loaded.stream(4, "320ms")
    first, second = recordings()[2], recordings()[3]
    alone = [loaded.stream(2, "160ms"), loaded.stream(4, "320ms"), loaded.stream(4, "160ms")]
    expected = [fed(stream, x)[0] for stream, x in zip(alone, (first, second, second), strict=True)]
    texts: list[list[str]] = [[], []]
    for start in range(0, max(len(first), len(second)), 3000):
        for stream, samples, found in ((a, first, texts[0]), (b, second, texts[1])):
            found += [u.text for u in stream.accept(samples[start : start + 3000])]
    with pytest.raises(ValueError, match="`use` must come before the audio or after `final`"):
        a.use(4)
    assert [[*texts[0], a.final().text], [*texts[1], b.final().text]] == expected[:2]
    a.use(4)
    assert fed(a, second)[0] == expected[2]


def test_what_a_stream_cannot_do_is_refused_and_not_ignored(loaded: Recognizer) -> None:
    pytest.importorskip("flashlight.lib.text.decoder", reason="beam search needs the extra 'lm'")
    searching = Recognizer.load(loaded._folder, beam=BeamConfig(size=5))
    with pytest.raises(ArgumentError, match=r"^`beam` must be left out for a stream, which decodes greedily"):
        searching.stream(2)


def test_problems_of_a_stream_are_reported_at_once() -> None:
    check_stream(GREEDY, is_cascade=False)
    with pytest.raises(ArgumentError) as refused:
        check_stream(BestPath("beam-5"), is_cascade=True)
    decoder, size = refused.value.problems
    assert "`beam` must be left out for a stream, which decodes greedily, but is beam-5." in decoder
    assert "`size` must be given" in size


def test_a_stream_of_a_cascade_needs_a_size(loaded: Recognizer) -> None:
    both = loaded.cascade(2, 4, threshold=0.5)
    with pytest.raises(ArgumentError, match=r"^`size` must be given for a stream of a cascade[^\n]*$"):
        both.stream()
    assert fed(both.stream(2), recordings()[0]) == fed(loaded.stream(2), recordings()[0])


def test_silence_ends_an_utterance_and_takes_no_memory(loaded: Recognizer) -> None:
    """With a network whose output is known: the pitch that is heard."""
    stream = loaded.stream(2, "40ms")
    stream._path = [0, 3, 3, 1, 4, *[0] * round(ENDPOINT_SECONDS / 0.04), 5, 0]
    assert stream.partial.replace(" ", "") == "bcd"
    (utterance,) = stream.accept(np.zeros(0, np.float32))
    assert utterance.text == "b c"
    assert [(word.text, word.start) for word in utterance.words] == [("b", 0.04), ("c", 0.16)]
    assert stream.partial == "d"
    last = stream.final()
    assert last.text == "d"
    assert last.words[0].start == pytest.approx((5 + round(ENDPOINT_SECONDS / 0.04)) * 0.04)
    stream._path = [0] * 100_000
    assert stream.accept(np.zeros(0, np.float32)) == []
    assert len(stream._path) == 1


def test_samples_may_be_integers_and_short(loaded: Recognizer) -> None:
    samples = recordings()[0]
    integers = (samples * 32767).round().to(torch.int16).numpy()
    stream = loaded.stream(4)
    assert fed(stream, torch.from_numpy(integers))[0] == fed(stream, samples)[0]
    assert loaded.stream(4).final().text == ""
    stream.accept(np.zeros(3, np.int16))
    assert stream.final().seconds == pytest.approx(3 / 16_000)


def test_the_code_of_the_guide_runs(loaded: Recognizer, capsys: pytest.CaptureFixture[str]) -> None:
    (_, code), *_ = blocks(ROOT / "docs" / "how-to" / "streaming.md", "python")
    for shown, ours in (('"RUN"', repr(loaded._folder)), ("stream(6", "stream(2"), ("use(12)", "use(4)")):
        assert shown in code
        code = code.replace(shown, ours)
    samples = recordings()[0]
    exec(code, {"blocks": np.array_split(samples.numpy(), 9)})
    texts, _ = fed(loaded.stream(2, "480ms+160ms"), samples)
    assert capsys.readouterr().out.split("\r")[-1].splitlines()[-1] == texts[-1]


@pytest.mark.parametrize(
    ("chunk", "left", "message"),
    [
        ("20ms", 8, "`chunk` must be a multiple of 40ms, a frame after the frontend, but is 20ms instead."),
        ("100ms", 8, "`chunk` must be a multiple of 40ms"),
        ("0ms", 8, "`chunk` must be a multiple of 40ms"),
        ("fast", 8, "`chunk` must be a duration such as 320ms, or two such as 480ms+160ms, but is 'fast'"),
        (
            "320ms+",
            8,
            "`chunk` must be a duration such as 320ms, or two such as 480ms+160ms, but is '320ms+'",
        ),
        (
            "320ms+10ms",
            8,
            "`chunk` must be a multiple of 40ms, a frame after the frontend, but is 320ms+10ms",
        ),
        (
            "40ms+10s",
            8,
            "`chunk` must be at most 0ms with 8 chunks to the left, as `model.max_frames` is 256",
        ),
        ("40s", 8, "`chunk` must be at most 1120ms with 8 chunks to the left, as `model.max_frames` is 256"),
        ("320ms", -1, "`left` must be at least 0 chunks, but is -1 instead."),
    ],
)
def test_wrong_chunks_are_named(loaded: Recognizer, chunk: str, left: int, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        loaded.stream(2, chunk, left)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_network_trained_without_streaming_says_so(tmp_path: Path) -> None:
    offline = Recognizer.load(make_run(tmp_path / "run").folder)
    with pytest.raises(ArgumentError, match=r"trained without `model\.streaming`, but is 320ms instead"):
        offline.stream(2, "320ms")


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ("", "a", 0),
        ("ab", "abc", 0),
        ("ab c", "ab cd e", 0),
        ("ab c", "ab d", 1),
        ("ab c", "x c", 1),
        ("a b c", "a", 2),
        ("a b", "", 2),
    ],
)
def test_changed_words_are_counted_but_growing_ones_are_not(before: str, after: str, count: int) -> None:
    assert changed_words(before, after) == count


def test_latencies_are_on_the_clock_of_the_audio(loaded: Recognizer) -> None:
    """Computations that overlap wait for each other, as they would in real time."""
    timeline = Timeline()
    with timeline.computation(heard=1.0):
        pass
    assert timeline.ready == pytest.approx(1.0, abs=0.1)
    timeline.ready = 5.0  # a slow machine
    with timeline.computation(heard=2.0):
        pass
    assert timeline.ready == pytest.approx(5.0, abs=0.1)
    stream = loaded.stream(2, "40ms")
    stream._path = [0, 3, 0]
    assert timeline.first_word is None
    timeline.show(stream.partial)
    timeline.end(stream.final())
    assert timeline.first_word == pytest.approx(5.0 - 0.04, abs=0.1)
    timeline.seconds = 4.5
    assert timeline.final == pytest.approx(0.5, abs=0.1)
    assert timeline.rtf == pytest.approx(timeline.computing / 4.5)
    assert timeline.changed == 0
