"""The pipeline from recordings to transcripts: chunks of all recordings run in batches and are stitched.

Chunks of a window of some minutes are sorted by length, so that batches have little padding. Memory holds one
window and one batch, however many and long the recordings are.

Shapes: S samples or stream
frames, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from supernet.audio.features import LOG_MEL, Input, is_silent, pad_features
from supernet.audio.lengths import Lengths
from supernet.audio.specification import SAMPLE_RATE, WINDOW
from supernet.errors import AudioError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.recognition.chunks import CHUNK_SECONDS, OVERLAP_SECONDS, Chunk, Passage, Stitcher, chunks
from supernet.recognition.decoding import Decoder
from supernet.recognition.pauses import chunks_at_pauses
from supernet.recognition.transcript import Timed, Transcript, passage, transcript
from supernet.text.tokens import BLANK_ID, Tokens

Recording = Iterable[Tensor]
"""Blocks (S,) of mono samples at 16 kHz; iterating raises ``AudioError`` if they cannot be read."""


@dataclass(frozen=True, eq=False)
class Recognized:
    """The output of the network for a chunk."""

    log_probs_SV: Tensor
    """Log-probabilities (S, V)."""
    confidence: float | None = None
    """The probability that its text has no error. None: not calibrated, or silent."""
    size: int | None = None
    """The number of units of the last size that recognized it. None: silent."""


LogProbs = Callable[[Sequence[Tensor]], Sequence[Recognized]]
"""Maps the samples (S,) of several chunks to the output for each."""

_LEEWAY = 1.2
"""The maximum length of a chunk relative to training utterances: networks generalize a little."""
_WINDOW = 160 * SAMPLE_RATE
"""The samples of a window, unless a batch has more."""
BATCH_ON_CPU = 60 * SAMPLE_RATE
"""The most samples of a padded batch on a CPU: larger ones are slower, as they leave its cache."""
_MIN_FRAMES = 25
"""Least length of a chunk in stream frames."""


class Transcriber:
    """Transcribes recordings; stateless between calls.

    Args:
        log_probs: Runs the network.
        decoder: Finds paths.
        tokens: The output tokens of the network.
        longest: The most stream frames that the network takes at once.
        input: The input of the network.
        lengths: Durations of the training utterances, if known.
        most: The most samples of a padded batch of several chunks, however many are asked for.
    """

    def __init__(
        self,
        log_probs: LogProbs,
        decoder: Decoder,
        tokens: Tokens,
        longest: int,
        input: Input = LOG_MEL,
        lengths: Lengths | None = None,
        most: int | None = None,
    ) -> None:
        self._most = most
        self._log_probs, self._decoder, self._tokens, self._input = log_probs, decoder, tokens, input
        self._length = min(round(CHUNK_SECONDS / input.stream_seconds), longest)
        self._typical: int | None = None
        if lengths is not None:
            trained = max(_MIN_FRAMES, math.ceil(_LEEWAY * lengths.longest / input.stream_seconds))
            self._length = min(self._length, trained)
            self._typical = math.ceil(lengths.typical / input.stream_seconds)
        self._overlap = min(round(OVERLAP_SECONDS / input.stream_seconds), self._length // 3)

    def run(self, recordings: Iterable[Recording], batch: int) -> Iterator[Transcript | AudioError]:
        """Yield the transcript of each recording, in order, or the error that prevents it from being read.

        Args:
            recordings: The recordings.
            batch: The number of chunks of the greatest length that the network processes at once.
        """
        items, current = self._items(recordings), _RecordingInProgress(self._tokens, self._input)
        most = batch * self._length * self._input.stream_samples
        most = most if self._most is None else min(most, self._most)
        while window := _window(items, max(most, _WINDOW)):
            samples = [item.samples for item in window if isinstance(item, Chunk)]
            outputs = iter(self._sorted_outputs(samples, most))
            for item in window:
                if isinstance(item, AudioError):
                    yield item
                elif (done := current.add(item, next(outputs), self._decoder)) is None:
                    continue
                else:
                    yield done
                current = _RecordingInProgress(self._tokens, self._input)

    def _sorted_outputs(self, samples: Sequence[Tensor], most: int) -> list[Recognized]:
        """The output for each of ``samples``, in their order; ``most`` is the size of a padded batch."""
        found: dict[int, Recognized] = {}
        for batch in _batches([len(x) for x in samples], most):
            found |= zip(batch, self._log_probs([samples[i] for i in batch]), strict=True)
        return [found[i] for i in range(len(samples))]

    def _items(self, recordings: Iterable[Recording]) -> Iterator[Chunk | AudioError]:
        for recording in recordings:
            try:
                yield from self._chunks(recording)
            except AudioError as e:
                yield e

    def _chunks(self, recording: Recording) -> Iterator[Chunk]:
        length, overlap, frame = self._length, self._overlap, self._input.stream_samples
        if self._typical is None:
            return chunks(recording, length, overlap, frame)
        return chunks_at_pauses(recording, self._typical, length, overlap, frame)


def _window(items: Iterator[Chunk | AudioError], most: int) -> list[Chunk | AudioError]:
    """The next of ``items``, with about ``most`` samples in all; none at the end."""
    found: list[Chunk | AudioError] = []
    for item in items:
        found.append(item)
        most -= len(item.samples) if isinstance(item, Chunk) else 0
        if most <= 0:
            break
    return found


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """The positions of ``lengths`` in batches, sorted by length, whose padded sizes are at most ``most``."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[i] > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


class _RecordingInProgress:
    """A recording of which some chunks are still to come."""

    def __init__(self, tokens: Tokens, input: Input) -> None:
        self._tokens, self._input, self._stitcher = tokens, input, Stitcher(tokens)
        self._found: list[tuple[list[Timed], list[Timed]]] = []
        self._confidences: list[float] = []
        self._sizes: list[int] = []
        self._error: AudioError | None = None

    def add(self, chunk: Chunk, output: Recognized, decoder: Decoder) -> Transcript | AudioError | None:
        """Add a chunk; returns the outcome after the last chunk, and None before."""
        log_probs_SV = output.log_probs_SV
        self._confidences += [] if output.confidence is None else [output.confidence]
        self._sizes += [] if output.size is None else [output.size]
        if self._error is None and not bool(log_probs_SV.isfinite().all()):
            loudest = float(chunk.samples.abs().max())
            self._error = AudioError(f"the output for samples of up to {loudest:.3g} is not finite")
        if self._error is None:
            for complete in self._stitcher.add(log_probs_SV, chunk.start):
                self._decode(complete, decoder)
        if not chunk.is_last:
            return None
        return self._error or self._finish(chunk, decoder)

    def _finish(self, last: Chunk, decoder: Decoder) -> Transcript:
        self._decode(self._stitcher.finish(), decoder)
        num_samples = last.length or last.start * self._input.stream_samples + len(last.samples)
        found = transcript(self._found, num_samples / SAMPLE_RATE)
        confidence, size = min(self._confidences, default=None), max(self._sizes, default=None)
        return replace(found, confidence=confidence, size=size)

    def _decode(self, complete: Passage, decoder: Decoder) -> None:
        (path,) = decoder.paths(complete.log_probs_SV[None], [len(complete.log_probs_SV)])
        self._found.append(passage(path, complete.start, self._tokens, self._input.stream_seconds))


def loud_parts(
    model: SupernetCTC,
    samples: Sequence[Tensor],
    run: Callable[[Tensor, Sequence[int]], Sequence[Recognized]],
) -> list[Recognized]:
    """The output for each of ``samples`` (S,), of which those that are not silent run as one batch.

    Args:
        model: The network.
        samples: Mono samples at 16 kHz.
        run: Runs features (B, T, F), of which so many frames are valid.
    """
    input = model.input
    loud = [i for i, x in enumerate(samples) if not is_silent(x)]
    features = [input.of(_at_least_a_window(samples[i])) for i in loud]
    counts = [input.num_stream_frames(input.num_frames(len(x))) for x in samples]
    found = [Recognized(_blanks(count, model.num_tokens)) for count in counts]
    if loud:
        outputs = run(pad_features(features).to(model.device), [len(x) for x in features])
        for i, output in zip(loud, outputs, strict=True):
            found[i] = output
    return found


def _at_least_a_window(samples: Tensor) -> Tensor:
    return torch.nn.functional.pad(samples, (0, max(0, WINDOW - len(samples))))


def _blanks(num_frames: int, num_tokens: int) -> Tensor:
    silence_SV = torch.full((num_frames, num_tokens), -100.0)
    silence_SV[:, BLANK_ID] = 0.0
    return silence_SV
