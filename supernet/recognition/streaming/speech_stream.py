"""Speech that is recognized while it is spoken.

Shapes: S samples or stream frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.audio.features import fbank
from supernet.audio.live_features import Floats, LiveFeatures
from supernet.audio.recordings import mono
from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import ArgumentError
from supernet.network.streaming.chunked_run import ChunkedRun
from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.decoding import GREEDY, Decoder
from supernet.recognition.streaming.chunk_option import LEFT_CHUNKS, chunking_of
from supernet.recognition.transcript import Transcript, passage, transcript
from supernet.text.tokens import BLANK_ID, Tokens
from supernet.units import Kept

ENDPOINT_SECONDS = 1.0
"""The silence after a text with which an utterance ends."""


class SpeechStream:
    """One speaker's audio, taken in blocks of any length; its text grows with every chunk.

    Any number of streams may run at once. Decoding is greedy: what has been recognized stays, so that
    ``partial`` only ever gets longer until the utterance ends.

    >>> stream = recognizer.stream(6, "320ms")
    >>> for block in microphone:
    ...     for utterance in stream.accept(block):
    ...         print(utterance.text)
    ...     print(stream.partial)
    >>> print(stream.final().text)

    Args:
        model: A streaming network.
        tokens: Its output tokens.
        kept_of: Looks up the units of a size; None is the default size.
        size: The size to begin with.
        chunk: The duration of a chunk, and of its look-ahead.
        left: The number of chunks before its own that attention sees.
    """

    def __init__(
        self,
        model: SupernetCTC,
        tokens: Tokens,
        kept_of: Callable[[int | str | None], Kept],
        size: int | str | None = None,
        chunk: str = "480ms+160ms",
        left: int = LEFT_CHUNKS,
    ) -> None:
        self._model, self._tokens, self._kept_of, self._left = model, tokens, kept_of, left
        self._frame = model.input.stream_seconds
        self._choose(size, chunk)

    def _choose(self, size: int | str | None, chunk: str) -> None:
        self._kept, self._chunking = self._kept_of(size), chunking_of(self._model, chunk, self._left)
        self._chunk = chunk
        self._begin()

    def _begin(self) -> None:
        self._features = LiveFeatures(_log_mel)
        self._run = ChunkedRun(self._model, self._kept, self._chunking)
        self._path: list[int] = []
        """The token of each frame of the utterance so far."""
        self._start = 0
        """The first stream frame of the utterance in the recording."""

    def use(self, size: int | str | None, chunk: str | None = None) -> None:
        """Recognize the next recording with another size, or other chunks.

        Args:
            size: As for ``Recognizer.stream``.
            chunk: The duration of a chunk; that of the stream if None.

        Raises:
            ArgumentError: An argument cannot be used.
            ValueError: A recording has begun; ``final`` ends it.
        """
        if self._features.num_samples:
            raise ValueError("`use` must come before the audio or after `final`, but a recording has begun.")
        self._choose(size, chunk or self._chunk)

    @property
    def seconds(self) -> float:
        """The duration of the audio so far."""
        return self._features.num_samples / SAMPLE_RATE

    @property
    def partial(self) -> str:
        """The text of the utterance so far; its last word may be unfinished."""
        return transcript([passage(self._path, 0, self._tokens, self._frame)], 0.0).text

    def accept(self, samples: np.ndarray[Any, Any] | Tensor) -> list[Transcript]:
        """Take further samples (S,) or (S, C) at 16 kHz: floats in [-1, 1], or integers.

        Returns:
            The utterances that have ended: after a text, a second without any.
        """
        self._extend(self._run.accept(torch.from_numpy(self._features.accept(mono(samples).numpy()))))
        found = []
        while (end := self._endpoint()) is not None:
            found.append(self._cut(end))
        if self._path and not any(map(self._has_text, self._path)):
            self._cut(len(self._path) - 1)  # silence, which may last for hours
        return found

    def final(self) -> Transcript:
        """End the recording; returns its last utterance, which may be empty. The stream begins anew."""
        seconds = self.seconds
        last = self._run.accept(torch.from_numpy(self._features.finish()))
        self._extend(torch.cat([last, self._run.finish()]))
        found = self._cut(len(self._path))
        self._begin()
        return replace(found, seconds=seconds)

    def _extend(self, log_probs_SV: Tensor) -> None:
        self._path += log_probs_SV.argmax(-1).tolist()

    def _endpoint(self) -> int | None:
        """The frame of the path at which the first utterance in it ends, if one does."""
        pause, silent, is_begun = round(ENDPOINT_SECONDS / self._frame), 0, False
        for frame, token in enumerate(self._path):
            silent, is_begun = (0, True) if self._has_text(token) else (silent + 1, is_begun)
            if is_begun and silent >= pause:
                return frame + 1
        return None

    def _has_text(self, token: int) -> bool:
        return token != BLANK_ID and not self._tokens.is_space(token)

    def _cut(self, end: int) -> Transcript:
        """The utterance up to the frame ``end`` of the path, which begins there anew."""
        found = passage(self._path[:end], self._start, self._tokens, self._frame)
        self._path, self._start = self._path[end:], self._start + end
        size = sum(self._kept)
        return replace(transcript([found], self._start * self._frame), size=size)


def check_stream(decoder: Decoder, *, is_cascade: bool) -> None:
    """Raise ``ArgumentError`` if a recognizer was asked for more than streams can do."""
    problems = []
    if decoder != GREEDY:
        problems.append(
            f"`beam` must be left out for a stream, which decodes greedily, but is {decoder.name}."
        )
    if is_cascade:
        problems.append("`size` must be given for a stream of a cascade, as a stream runs one size.")
    if problems:
        raise ArgumentError(["beam", "size"], *problems)


def _log_mel(samples_S: Floats) -> Floats:
    return fbank(torch.from_numpy(samples_S)).numpy()
