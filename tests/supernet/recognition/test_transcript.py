"""Transcripts and their formats, compared with hand-written ones."""

from __future__ import annotations

import itertools
import json

from supernet.recognition.transcript import Timed, Transcript, passage, transcript
from supernet.recognition.transcript_formats import FORMATS, SUFFIXES, cues
from supernet.text.tokens import Tokens

TOKENS = Tokens(("<blk>", " ", "a", "b"))
SAID = Transcript(
    "a <b> c", (Timed("a", 0.04, 0.2), Timed("<b>", 0.4, 0.48), Timed("c", 3661.5, 3662.75)), (), 3700.0
)


def test_times_follow_from_frames_of_40_milliseconds() -> None:
    first = passage([0, 2, 3, 3, 1, 0, 2], 0, TOKENS, 0.04)
    second = passage([1, 3, 0], 100, TOKENS, 0.04)
    found = transcript([first, second], 4.5)
    assert found.text == "ab a b"
    assert found.words == (Timed("ab", 0.04, 0.16), Timed("a", 0.24, 0.28), Timed("b", 4.04, 4.08))
    assert found.tokens[:3] == (Timed("a", 0.04, 0.08), Timed("b", 0.08, 0.16), Timed(" ", 0.16, 0.2))
    assert transcript([passage([0, 0], 0, TOKENS, 0.04)], 0.1) == Transcript("", (), (), 0.1)


def test_formats_equal_hand_written_ones() -> None:
    assert FORMATS.keys() == SUFFIXES.keys()
    assert FORMATS["text"]("x/ä.wav", SAID) == "x/ä.wav\ta <b> c\n"
    (line,) = FORMATS["jsonl"]("x/ä.wav", SAID).splitlines()
    data = json.loads(line)
    assert data["words"][0] == {"text": "a", "start": 0.04, "end": 0.2}
    assert (data["file"], data["text"], data["seconds"]) == ("x/ä.wav", "a <b> c", 3700)
    assert FORMATS["srt"]("", SAID) == (
        "1\n00:00:00,040 --> 00:00:01,040\na <b>\n\n2\n01:01:01,500 --> 01:01:02,750\nc\n"
    )
    assert FORMATS["vtt"]("", SAID) == (
        "WEBVTT\n\n00:00:00.040 --> 00:00:01.040\na <00:00:00.400>&lt;b&gt;\n\n"
        "01:01:01.500 --> 01:01:02.750\nc\n"
    )


def test_formats_of_an_empty_transcript() -> None:
    silence = Transcript("", (), (), 1.0)
    assert FORMATS["text"]("a.wav", silence) == "a.wav\t\n"
    assert FORMATS["srt"]("a.wav", silence) == ""
    assert FORMATS["vtt"]("a.wav", silence) == "WEBVTT\n"


def test_subtitles_are_short_and_do_not_overlap() -> None:
    words = tuple(Timed("word", 0.3 * i, 0.3 * i + 0.1) for i in range(200))
    found = cues(Transcript("", words, (), 60.0))
    assert sum(len(cue) for cue, _, _ in found) == 200
    for (cue, start, end), (_, following, _) in itertools.pairwise(found):
        assert start < end <= following
        assert end - start <= 6
        assert len(" ".join(word.text for word in cue)) <= 84
