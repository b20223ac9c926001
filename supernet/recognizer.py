"""The Python API: a trained run in memory, usable at any of its sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, overload

import torch

from supernet.audio.lengths import Lengths
from supernet.audio.recordings import Audio, complaint, read_any
from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import AudioError
from supernet.pretrained.hub import downloaded
from supernet.recognition.beam import BeamConfig, decoder_for
from supernet.recognition.cascade import Cascade, Stage
from supernet.recognition.decoding import Decoder
from supernet.recognition.pipeline import BATCH_ON_CPU, Recording, Transcriber
from supernet.recognition.streaming.chunk_option import LEFT_CHUNKS
from supernet.recognition.streaming.speech_stream import SpeechStream, check_stream
from supernet.recognition.transcript import Transcript
from supernet.runs.confidence_file import read_confidences
from supernet.runs.model_file import Model
from supernet.runs.opening import choose, open_any
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.scoring.confidence import UNKNOWN, Confidences, check_ascending, threshold_of
from supernet.system.devices import chosen_device, use_tf32, with_threads
from supernet.system.timing import BUSY, Timing, timed
from supernet.units import Kept

_REPEATS = 5


@dataclass(frozen=True, eq=False, repr=False)
class Recognizer:
    """A trained supernet at one of its sizes.

    A ``Recognizer`` is a light, immutable handle: ``use`` returns another handle on the same weights within
    microseconds, without copying them, and units that a size drops are not run. Threads may share handles,
    of the same or of different sizes.

    >>> recognizer = Recognizer.load("runs/NAME")
    >>> small, large = recognizer.use(6), recognizer.use(12)
    >>> small.transcribe("speech.flac").text
    """

    _folder: str
    _model: Model
    _selection: Selection
    _choice: Choice
    _kept: Kept
    _decoder: Decoder
    _confidences: Confidences = UNKNOWN
    _smaller: tuple[Choice, ...] = ()
    """Of a cascade, the sizes before the largest."""
    _threshold: float = 0.0

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        *,
        selection: str | PathLike[str] | None = None,
        beam: BeamConfig | None = None,
        device: str | torch.device | None = None,
    ) -> Recognizer:
        """Load a run folder, or a folder with a cut model, at its smallest size; or a fine-tuned checkpoint.

        Args:
            folder: The folder of a finished run, one written by ``supernet cut``, or one of a checkpoint with
                a CTC head as Hugging Face writes them.
            selection: A file with subnets to use instead of the run's own.
            beam: Configuration of beam search; greedy decoding if None.
            device: ``cpu``, ``cuda`` or ``cuda:N``; a GPU if None and there is one.

        Raises:
            ArgumentError: An argument cannot be used.
            RunError: The folder is damaged or incomplete.
        """
        place = chosen_device(None if device is None else str(device))
        use_tf32(place)
        model, choices = open_any(Path(folder), None if selection is None else Path(selection))
        decoder = decoder_for(beam, model.tokens)
        model.recognizer.to(place)
        choice, confidences = choices.choice(), read_confidences(Run(Path(folder)), choices)
        kept = model.recognizer.table.kept(choice.subnet)
        return cls(str(folder), model, choices, choice, kept, decoder, confidences)

    @classmethod
    def from_pretrained(
        cls,
        name: str | PathLike[str],
        *,
        subfolder: str = "",
        revision: str | None = None,
        beam: BeamConfig | None = None,
        device: str | torch.device | None = None,
    ) -> Recognizer:
        """Load a network from the Hugging Face Hub, or from a folder on this machine.

        Files are downloaded once, into the cache of ``huggingface_hub``. Nothing in them is run.

        Args:
            name: ``user/name``, or a folder as for ``load``.
            subfolder: The folder in it, such as that of a size that ``supernet push`` has published.
            revision: A branch, tag or commit of the repository.
            beam: As for ``load``, like ``device``. Raises ``UserError`` if there is no such network.
        """
        folder = Path(name).expanduser()
        place = folder / subfolder if folder.is_dir() else downloaded(str(name), subfolder, revision)
        return cls.load(place, beam=beam, device=device)

    def __repr__(self) -> str:
        sizes = [str(choice.subnet.size) for choice in (*self._smaller, self._choice)]
        facts = f"size={','.join(sizes)}, sizes={self.sizes}, tokens={len(self._model.tokens)}"
        return f"Recognizer({self._folder!r}, {facts}, device='{self._model.recognizer.device}')"

    def _chosen(self, choice: Choice) -> Recognizer:
        kept = self._model.recognizer.table.kept(choice.subnet)
        return replace(self, _choice=choice, _kept=kept, _smaller=(), _threshold=0.0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes, in units, in ascending order."""
        return tuple(sorted({choice.subnet.size for choice in self._selection.choices}))

    @property
    def decoder(self) -> Decoder:
        """The decoder: greedy, or beam search."""
        return self._decoder

    @property
    def lengths(self) -> Lengths | None:
        """Durations of the training utterances, if known: much longer recordings are split at pauses."""
        return self._model.lengths

    @property
    def size(self) -> int:
        """The number of units that this handle keeps; of a cascade, those of its largest size."""
        return self._choice.subnet.size

    def use(self, size: int | str) -> Recognizer:
        """Return a handle on the same weights at another size.

        Args:
            size: A number of units, or a budget of the selection, such as ``params=50%``.

        Raises:
            ArgumentError: There is no such size or budget.
        """
        return self._chosen(choose(self._selection, str(size)))

    def cascade(self, *sizes: int | str, threshold: float | None = None) -> Recognizer:
        """Return a handle that begins with the first size, and goes on to the next one where its confidence
        is below a threshold. Recordings that are split are decided part by part.

        Args:
            sizes: Numbers of units or budgets, the smallest first.
            threshold: From 0, with which only the first size runs, to above 1, with which all do. None: the
                one that the command ``evaluate`` fitted.

        Raises:
            ArgumentError: There is no such size, they do not ascend, or there is no threshold.
        """
        choices = [choose(self._selection, str(size), "cascade") for size in sizes]
        check_ascending([(choice.budget, choice.subnet.size) for choice in choices])
        limit = threshold_of(self._confidences, [choice.budget for choice in choices], threshold)
        return replace(self._chosen(choices[-1]), _smaller=tuple(choices[:-1]), _threshold=limit)

    @overload
    def transcribe(self, audio: Audio, rate: int | None = None, *, batch: int = 8) -> Transcript: ...
    @overload
    def transcribe(
        self, audio: list[Any] | tuple[Any, ...], rate: int | None = None, *, batch: int = 8
    ) -> list[Transcript]: ...
    def transcribe(
        self, audio: Audio | list[Any] | tuple[Any, ...], rate: int | None = None, *, batch: int = 8
    ) -> Transcript | list[Transcript]:
        """Transcribe a recording, or each recording of a list.

        Args:
            audio: A file, samples (S,) or (S, C), or a list of these.
            rate: The sampling rate in Hz; required for samples, ignored for files.
            batch: The number of chunks of the greatest length that the network processes at once, or
                more shorter ones; on a CPU a minute of audio at most.

        Returns:
            A transcript, or a list of them in the order of ``audio``.

        Raises:
            AudioError: A recording cannot be read.
            ValueError: ``rate`` or ``batch`` cannot be used.
        """
        if not isinstance(audio, (list, tuple)):
            return self.transcribe([audio], rate, batch=batch)[0]
        found = list(self.transcribe_many((read_any(item, rate) for item in audio), batch))
        for item, result in zip(audio, found, strict=True):
            if isinstance(result, AudioError):
                raise AudioError(
                    complaint(str(item) if isinstance(item, (str, PathLike)) else "audio", result)
                )
        return [result for result in found if isinstance(result, Transcript)]

    def transcribe_many(
        self, recordings: Iterable[Recording], batch: int = 8
    ) -> Iterator[Transcript | AudioError]:
        """Transcribe a stream of recordings of any number and length in constant memory.

        Args:
            recordings: Each an iterable of blocks (S,) of mono samples at 16 kHz.
            batch: The number of chunks of the greatest length that the network processes at once, or
                more shorter ones; on a CPU a minute of audio at most.

        Yields:
            A transcript per recording, in order, or the error because of which it cannot be read.

        Raises:
            ValueError: ``batch`` is less than 1.
        """
        if batch < 1:
            raise ValueError(f"`batch` must be at least 1, but is {batch} instead.")
        (network := self._model.recognizer).require_framewise("Transcribing recordings")
        chosen = (*self._smaller, self._choice)
        stages = [Stage(choice.budget, network.table.kept(choice.subnet)) for choice in chosen]
        run = Cascade(network, tuple(stages), self._threshold, self._confidences)
        longest = network.config.model.max_frames
        most = BATCH_ON_CPU if network.device.type == "cpu" else None
        transcriber = Transcriber(
            run, self._decoder, self._model.tokens, longest, network.input, self._model.lengths, most
        )
        return transcriber.run(recordings, batch)

    def stream(
        self, size: int | str | None = None, chunk: str = "480ms+160ms", left: int = LEFT_CHUNKS
    ) -> SpeechStream:
        """Recognize speech while it is spoken, with a network trained with `model.streaming`.

        Args:
            size: As for ``use``; that of this handle if None.
            chunk: The duration of a chunk, and of its look-ahead: multiples of 40 ms (8x subsampling: 80).
            left: The number of chunks before its own that attention sees.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        (network := self._model.recognizer).require_framewise("A stream")
        check_stream(self._decoder, is_cascade=bool(self._smaller) and size is None)

        def kept(size: int | str | None) -> Kept:
            return (self if size is None else self.use(size))._kept

        return SpeechStream(network, self._model.tokens, kept, size, chunk, left)

    def fit(self, latency_ms: float, seconds: float = 10.0, threads: int | None = None) -> Recognizer:
        """Return the largest size that meets a latency on this machine, measured now.

        Sizes are timed from the largest down; the best of a few runs counts. Warns if the machine is busy.

        Args:
            latency_ms: The time allowed, in milliseconds.
            seconds: The duration of the audio to transcribe in that time.
            threads: PyTorch's threads while measuring, a setting of the whole process; unchanged if None.

        Raises:
            ValueError: No size is fast enough.
        """
        taken, is_busy = float("inf"), False
        with with_threads(threads):
            for size in reversed(self.sizes):
                handle = self._of_size(size)
                timing = handle.timing(seconds)
                taken, is_busy = 1000 * timing.best, is_busy or timing.is_busy
                if taken <= latency_ms:
                    break
        if is_busy:
            warnings.warn(BUSY, stacklevel=2)
        if taken <= latency_ms:
            return handle
        raise ValueError(
            f"`latency_ms` must be at least {taken:.1f}, the time the smallest size takes for {seconds:g} s "
            f"of audio on this machine, but is {latency_ms:g} instead."
        )

    def _of_size(self, size: int) -> Recognizer:
        """One of the subnets of this size, which may differ in budget and modules."""
        return self._chosen(next(c for c in self._selection.choices if c.subnet.size == size))

    def milliseconds(self, seconds: float) -> float:
        """Milliseconds to transcribe ``seconds`` of noise: the best of several runs."""
        return 1000 * self.timing(seconds).best

    def timing(self, seconds: float) -> Timing:
        """The individual runs of which ``milliseconds`` is the best, and whether the machine was busy."""
        noise = torch.rand(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0)) - 0.5
        return timed(lambda: self.transcribe(noise, SAMPLE_RATE), _REPEATS, warm_up=1)
