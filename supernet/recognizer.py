"""The Python API: one trained run in memory, used at any of its sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from supernet.audio.features import SAMPLE_RATE
from supernet.audio.lengths import Lengths
from supernet.audio.recordings import complaint, mono, read_audio
from supernet.audio.resampling import resample_blocks
from supernet.errors import AudioError
from supernet.recognition.beam import BeamConfig, decoder_for
from supernet.recognition.decoding import Decoder
from supernet.recognition.pipeline import Recording, Transcriber, log_probs
from supernet.recognition.transcript import Transcript
from supernet.runs.checkpoint import Model, load
from supernet.runs.opening import choose, open_selection
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.system.devices import chosen_device, with_threads
from supernet.system.timing import BUSY, Timing, timed
from supernet.units import Kept

Audio = str | PathLike[str] | np.ndarray[Any, Any] | Tensor
"""A file, or samples (S,) or (S, C)."""

_REPEATS = 5


@dataclass(frozen=True, eq=False, repr=False)
class Recognizer:
    """A trained network at one size: what its training calls a ``SupernetCTC``, ready to
    be spoken to.

    It is a light, unchanging handle: ``use`` gives another one on the same weights, in microseconds and
    without copying any, and what is not kept is not run. Any number of threads may use the same handle or
    handles of different sizes at once.

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

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        *,
        selection: str | PathLike[str] | None = None,
        beam: BeamConfig | None = None,
        device: str | torch.device | None = None,
    ) -> Recognizer:
        """A run folder, or one that ``supernet.cut`` wrote, at its smallest size.

        ``selection`` is a file of subnets to use instead of the run's own, ``beam`` a beam search instead of
        greedy decoding; ``device`` is ``cpu``, ``cuda`` or ``cuda:1``, by default a GPU where there is one.
        Raises ``ArgumentError`` or ``RunError``.
        """
        place = chosen_device(None if device is None else str(device))
        run = Run(Path(folder))
        is_cut = not run.config_file.is_file() and run.model_stem.with_name("model.json").is_file()
        if not is_cut:
            Run.open(run.folder)
        model = load(run.model_stem)
        if is_cut and selection is None:
            choices = _everything(model)
        else:
            choices = open_selection(run, model, None if selection is None else Path(selection))
        decoder = decoder_for(beam, model.tokens)
        model.recognizer.to(place)
        choice = choices.choice()
        return cls(str(folder), model, choices, choice, model.recognizer.table.kept(choice.subnet), decoder)

    def __repr__(self) -> str:
        facts = f"size={self.size}, sizes={self.sizes}, tokens={len(self._model.tokens)}"
        return f"Recognizer({self._folder!r}, {facts}, device='{self._model.recognizer.device}')"

    def _chosen(self, choice: Choice) -> Recognizer:
        return replace(self, _choice=choice, _kept=self._model.recognizer.table.kept(choice.subnet))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many units each subnet keeps, ascending."""
        return tuple(sorted({choice.subnet.size for choice in self._selection.choices}))

    @property
    def decoder(self) -> Decoder:
        return self._decoder

    @property
    def lengths(self) -> Lengths | None:
        """Of the utterances that the network was trained on, as far as they are known: longer recordings are
        cut at pauses.
        """
        return self._model.lengths

    @property
    def size(self) -> int:
        """How many units this one keeps."""
        return self._choice.subnet.size

    def use(self, size: int | str) -> Recognizer:
        """The same network at another size, or at a budget of the selection, such as ``params=50%``.

        Raises ``ArgumentError`` where there is no such size.
        """
        return self._chosen(choose(self._selection, str(size)))

    @overload
    def transcribe(self, audio: Audio, rate: int | None = None, *, batch: int = 8) -> Transcript: ...
    @overload
    def transcribe(
        self, audio: list[Any] | tuple[Any, ...], rate: int | None = None, *, batch: int = 8
    ) -> list[Transcript]: ...
    def transcribe(
        self, audio: Audio | list[Any] | tuple[Any, ...], rate: int | None = None, *, batch: int = 8
    ) -> Transcript | list[Transcript]:
        """What ``audio`` says: of one recording, or of each of a list, ``batch`` chunks at a time.

        Samples need their ``rate``; files know it. Raises ``AudioError`` where one
        cannot be read.
        """
        if not isinstance(audio, (list, tuple)):
            return self.transcribe([audio], rate, batch=batch)[0]
        found = list(self.transcribe_many((_recording(item, rate) for item in audio), batch))
        for item, result in zip(audio, found, strict=True):
            if isinstance(result, AudioError):
                raise AudioError(
                    complaint(str(item) if isinstance(item, (str, PathLike)) else "audio", result)
                )
        return [result for result in found if isinstance(result, Transcript)]

    def transcribe_many(
        self, recordings: Iterable[Recording], batch: int = 8
    ) -> Iterator[Transcript | AudioError]:
        """Transcripts of any number of recordings of any length, one after the other, in constant memory;
        in place of one that cannot be read, the reason.
        """
        if batch < 1:
            raise ValueError(f"`batch` must be at least 1, but is {batch} instead.")
        network = self._model.recognizer
        run = partial(log_probs, network, self._kept)
        longest = network.config.model.max_frames
        transcriber = Transcriber(
            run, self._decoder, self._model.tokens, longest, network.input, self._model.lengths
        )
        return transcriber.run(recordings, batch)

    def fit(self, latency_ms: float, seconds: float = 10.0, threads: int | None = None) -> Recognizer:
        """The largest size that transcribes ``seconds`` of audio within ``latency_ms`` here and now: the
        best of a few runs, from the largest size down. Warns where the machine was busy meanwhile, and raises
        ``ValueError`` where no size is fast enough.

        ``threads`` are PyTorch's threads while measuring, which is a setting of the whole process; None
        leaves them as they are.
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
            f"`latency_ms` must be at least {taken:.1f}, what the smallest size takes for {seconds:g} s of "
            f"audio here, but is {latency_ms:g} instead."
        )

    def _of_size(self, size: int) -> Recognizer:
        """One of the subnets of this size: they may differ in budget and in modules."""
        return self._chosen(next(c for c in self._selection.choices if c.subnet.size == size))

    def milliseconds(self, seconds: float) -> float:
        """How long transcribing ``seconds`` of noise takes: the best of a few runs after one to warm up."""
        return 1000 * self.timing(seconds).best

    def timing(self, seconds: float) -> Timing:
        """The same runs, each of them, and whether the machine was busy meanwhile."""
        noise = torch.rand(round(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(0)) - 0.5
        return timed(lambda: self.transcribe(noise, SAMPLE_RATE), _REPEATS, warm_up=1)


def _everything(model: Model) -> Selection:
    """A cut model has one subnet: all of it."""
    table = model.recognizer.table
    subnet = table.subnet(table.full)
    return Selection("cut", (Choice(str(subnet.size), subnet),))


def _recording(audio: Audio, rate: int | None) -> Recording:
    if isinstance(audio, (str, PathLike)):
        return read_audio(Path(audio))
    if rate is None or rate < 1:
        raise ValueError(f"`rate` must be the samples' rate in Hz, but is {rate} instead.")
    return resample_blocks([mono(audio)], rate)
