"""Transcribe recordings, a pipe or a microphone while the audio arrives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from supernet.audio import recordings as audio
from supernet.audio.live import listen, read_pipe
from supernet.audio.specification import SAMPLE_RATE
from supernet.commands.transcribe import STDIN, names_of
from supernet.console.text import complain, note, put
from supernet.errors import AudioError
from supernet.recognition.streaming.speech_stream import SpeechStream
from supernet.recognition.streaming.timeline import Timeline
from supernet.recognition.transcript import Transcript
from supernet.recognizer import Recognizer
from supernet.text.durations import chunk_and_ahead
from supernet.text.plain import plain

MICROPHONE = "microphone"
_LOSS = "The microphone's sound has gaps, as recognition is too slow: choose longer chunks or a smaller size."


def transcribe_live(args: argparse.Namespace) -> int:
    """Run ``transcribe --chunk``; returns the number of recordings that could not be read."""
    recognizer = Recognizer.load(args.run, selection=args.selection, device=args.device)
    stream, seconds = recognizer.stream(args.size, args.chunk), chunk_and_ahead(args.chunk)[0] / 1000
    timelines = list[Timeline]()
    failed = sum(not _transcribe(stream, name, seconds, timelines) for name in names_of(args.recordings))
    if len(timelines) > 1:
        note(f"Medians of {len(timelines)} recordings: {_times(timelines)}.")
    return failed


def _transcribe(stream: SpeechStream, name: str, seconds: float, timelines: list[Timeline]) -> bool:
    """Print the text of a recording as it comes; returns whether it could be read to its end. Its timeline is
    added to those of the others.
    """
    timeline, page = Timeline(), _Page()
    try:
        _follow(stream, _blocks(name, seconds), timeline, page)
    except AudioError as e:
        page.end(stream.final())  # which begins the stream anew
        complain(audio.complaint("standard input" if name == STDIN else name, e))
        return False
    except KeyboardInterrupt:
        if name != MICROPHONE:
            raise
        _end(stream, timeline, page)
    timelines.append(timeline)
    return True


def _follow(stream: SpeechStream, blocks: Iterator[Tensor], timeline: Timeline, page: _Page) -> None:
    heard = 0.0
    for block in blocks:
        heard += len(block) / SAMPLE_RATE
        with timeline.computation(heard):
            ended, partial = stream.accept(block), stream.partial
        for utterance in ended:
            timeline.end(utterance)
            page.end(utterance)
        timeline.show(partial)
        page.show(partial)
    _end(stream, timeline, page)


def _end(stream: SpeechStream, timeline: Timeline, page: _Page) -> None:
    with timeline.computation(stream.seconds):
        last = stream.final()
    timeline.seconds = last.seconds
    timeline.end(last)
    page.end(last)
    note(f"{last.seconds:.2f} s of audio: {_times([timeline])}.")


def _times(timelines: Sequence[Timeline]) -> str:
    """The times of recordings in words: medians, and the sum of changed words."""
    first = [timeline.first_word for timeline in timelines if timeline.first_word is not None]
    return (
        (f"first word {median(first):.2f} s after it began" if first else "no words")
        + f", last text {median(timeline.final for timeline in timelines):.2f} s after the end of the audio, "
        f"{median(timeline.rtf for timeline in timelines):.3f} s of computation per second, "
        f"{sum(timeline.changed for timeline in timelines)} words changed after they were printed"
    )


class _Page:
    """Standard output, on which each utterance is a line that grows."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, partial: str) -> None:
        """Print what is new of the current utterance; nothing of what is printed can be taken back."""
        put(plain(partial.removeprefix(self._shown)))
        self._shown = partial

    def end(self, utterance: Transcript) -> None:
        """End the line of an utterance, if there is any text in it."""
        self.show(utterance.text)
        if self._shown:
            put("\n")
        self._shown = ""


def _blocks(name: str, seconds: float) -> Iterator[Tensor]:
    """The audio in blocks of ``seconds``, as it arrives."""
    if name == MICROPHONE:
        return listen(seconds, lambda: note(_LOSS))
    if name == STDIN:
        return read_pipe(sys.stdin.buffer, seconds)  # type: ignore[arg-type]
    return _divided(audio.read_audio(Path(name)), round(seconds * SAMPLE_RATE))


def _divided(blocks: Iterator[Tensor], size: int) -> Iterator[Tensor]:
    for block in blocks:
        yield from torch.split(block, size)
