"""A recognizer on a device: the sizes of an export, chosen for each call.

Shapes: S samples, C channels, T feature frames, F mel bands, V tokens, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from supernet.audio.specification import FRAMES_PER_SECOND, NUM_BANDS, SAMPLE_RATE, SHIFT, SILENCE, WINDOW
from supernet.errors import ArgumentError
from supernet.runtime.export_folder import ExportFolder, Size
from supernet.runtime.graph import check_rounding, open_graph, run_graph
from supernet.runtime.log_mel import log_mel
from supernet.runtime.precision import Precision
from supernet.scoring.confidence import check_ascending, goes_on, measured, threshold_of
from supernet.system.timing import timed

_REPEATS, _WARM_UP = 5, 1


@dataclass(frozen=True)
class Recognition:
    """The text of a recording, and what it took."""

    text: str
    confidence: float | None
    """The probability that the text has no error. None: silent, or not calibrated."""
    size: Size | None
    """The last size that recognized it. None: silent."""
    macs: int
    """Multiply-accumulates of all sizes that ran, for 10 s of audio."""


@dataclass(frozen=True, eq=False)
class DeviceRecognizer:
    """An export of several sizes, opened. Only the smallest takes memory before a call uses it.

    >>> recognizer = DeviceRecognizer.load("RUN/export/on-demand")
    >>> recognizer.transcribe(samples, size="6")
    >>> recognizer.transcribe(samples, size=recognizer.fit(ms=12).budget)
    >>> recognizer.recognize(samples, sizes=("6", "12")).text
    """

    _folder: ExportFolder
    _threads: int
    _sessions: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        *,
        precision: Precision | Literal["fastest"] = "float32",
        threads: int = 1,
    ) -> DeviceRecognizer:
        """Open an export with shared weights or on demand.

        Args:
            folder: The folder of the export.
            precision: That of the weights: ``float32``, ``int8`` or ``int4``; or ``fastest``, for each size
                that which `supernet latency` measured to be the fastest on this machine with as many threads.
            threads: The threads that compute.

        Raises:
            UserError: The folder is no such export, is damaged, or does not have this precision.
        """
        recognizer = cls(ExportFolder.open(Path(folder), precision, threads), threads)
        recognizer._session(recognizer.sizes[0])
        return recognizer

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The verified sizes with their costs and error rates, the smallest first."""
        return self._folder.sizes

    @property
    def units(self) -> tuple[str, ...]:
        """The names of all units, in the order of ``Size.kept``."""
        return self._folder.units

    def size(self, budget: str | int | None = None) -> Size:
        """A size by its budget; the largest if None.

        Raises:
            ArgumentError: There is none.
        """
        found = [size for size in self.sizes if budget is None or size.budget == str(budget)]
        if not found:
            names = ", ".join(size.budget for size in self.sizes)
            raise ArgumentError(["size"], f"`size` must be one of {names}, but is {budget} instead.")
        return found[-1]

    def transcribe(
        self,
        samples: NDArray[Any],
        rate: int = SAMPLE_RATE,
        *,
        size: str | int | None = None,
        kept: Sequence[bool] | None = None,
    ) -> str:
        """The text of a recording, which is recognized as a whole.

        Args:
            samples: Samples (S,) or (S, C): floats in [-1, 1], or integers.
            rate: Their sampling rate, which must be 16 kHz.
            size: The budget of a size; the largest if None.
            kept: Of an export on demand, instead of a size: whether each of ``units`` runs. Any subnet can
                run; only sizes were verified.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        if kept is None:
            return self.recognize(samples, rate, sizes=(self.size(size).budget,)).text
        subnet, features_TF = self._subnet(kept, size), _features(mono(samples, rate))
        return "" if features_TF is None else self._text(self._run(features_TF, subnet))

    def recognize(
        self,
        samples: NDArray[Any],
        rate: int = SAMPLE_RATE,
        *,
        sizes: Sequence[str | int],
        threshold: float | None = None,
    ) -> Recognition:
        """Recognize with the first size, and with the next one where the confidence is below the threshold.

        Args:
            samples: As for ``transcribe``.
            rate: As for ``transcribe``.
            sizes: The budgets of one or more sizes, the smallest first.
            threshold: From 0, with which only the first size runs, to above 1, with which all do. None: the
                one that was fitted for these sizes before the export.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        chosen, features_TF = [self.size(size) for size in sizes], _features(mono(samples, rate))
        known, limit = self._folder.confidences, 0.0
        if len(chosen) != 1:
            check_ascending([(size.budget, size.macs) for size in chosen], "sizes")
            limit = threshold_of(known, [size.budget for size in chosen], threshold)
        if features_TF is None:
            return Recognition("", None, None, 0)
        macs = 0
        for size in chosen:
            log_probs_SV, macs = self._run(features_TF, size), macs + size.macs
            confidence = measured(known.measure, log_probs_SV)
            if not goes_on(confidence, limit):
                break
        return Recognition(self._text(log_probs_SV), known.probability(size.budget, confidence), size, macs)

    def log_probs(self, samples_S: NDArray[np.float32], size: str | int | None = None) -> NDArray[np.float32]:
        """The log-probabilities (T', V) of mono samples at 16 kHz, of which there are at least 400."""
        return self._run(log_mel(samples_S), self.size(size))

    def milliseconds(self, size: str | int | None = None, seconds: float = 10.0) -> float:
        """The time that a size takes for features of ``seconds`` on this device: the best of several runs."""
        chosen, num_frames = self.size(size), round(seconds * SAMPLE_RATE / SHIFT)
        features_TF = np.random.default_rng(0).normal(-8, 3, (num_frames, NUM_BANDS)).astype(np.float32)
        return 1000 * timed(lambda: self._run(features_TF, chosen), _REPEATS, _WARM_UP).best

    def fit(self, ms: float, seconds: float = 10.0) -> Size:
        """The size with the lowest error rate of those that are fast enough on this device, measured now.

        Args:
            ms: The time allowed, in milliseconds.
            seconds: The duration of the recording.

        Raises:
            ArgumentError: No size is fast enough.
        """
        taken = {size.budget: self.milliseconds(size.budget, seconds) for size in self.sizes}
        fitting = [size for size in self.sizes if taken[size.budget] <= ms]
        if not fitting:
            raise ArgumentError(
                ["ms"],
                f"`ms` must be at least {min(taken.values()):.1f}, the time that the fastest size takes for "
                f"{seconds:g} s of audio on this device, but is {ms:g} instead.",
            )
        return min(fitting, key=lambda size: (1.0 if size.rate is None else size.rate, -size.macs))

    def _subnet(self, kept: Sequence[bool], size: str | int | None) -> Size:
        """Any subnet, as if it were a size."""
        folder, problems = self._folder, list[str]()
        if not folder.is_on_demand:
            problems.append(
                f"`kept` must go with an export on demand, but '{folder.folder}' has a graph for each size."
            )
        if size is not None:
            problems.append(f"`kept` must be given without `size`, but is given with size {size}.")
        if len(kept) != len(folder.units):
            problems.append(
                f"`kept` must have a boolean for each of the {len(folder.units)} units, but has {len(kept)}."
            )
        if problems:
            raise ArgumentError(["kept", "size"], *problems)
        return replace(self.sizes[-1], kept=tuple(map(bool, kept)), rate=None)

    def _text(self, log_probs_SV: NDArray[np.float32]) -> str:
        return self._folder.symbols.text(log_probs_SV.argmax(-1).tolist())

    def _run(self, features_TF: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
        seconds, most = len(features_TF) / FRAMES_PER_SECOND, self._folder.longest_seconds
        if seconds > most:
            raise ArgumentError(
                ["samples"],
                f"`samples` must last at most {most:g} s, for which this network has positions, but last "
                f"{seconds:.1f} s: cut them at pauses.",
            )
        return run_graph(self._folder, size, self._session(size), features_TF)

    def _session(self, size: Size) -> Any:
        if size.file not in self._sessions:
            session = open_graph(self._folder, size, self._threads)
            check_rounding(self._folder, size, session, self._threads)
            self._sessions[size.file] = session
        return self._sessions[size.file]


def mono(samples: NDArray[Any], rate: int) -> NDArray[np.float32]:
    """Samples (S,) or (S, C) as mono floats (S,) in [-1, 1].

    Raises:
        ArgumentError: They are not numbers of such a shape at 16 kHz.
    """
    problems = []
    if rate != SAMPLE_RATE:
        problems.append(f"`rate` must be {SAMPLE_RATE}, but is {rate} instead: resample the samples.")
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi" or not np.isfinite(samples).all():
        problems.append(
            "`samples` must be finite floats or integers of the shape (S,) or (S, C), but are "
            f"{samples.dtype} of {samples.shape} instead, or not finite."
        )
    if problems:
        raise ArgumentError(["rate", "samples"], *problems)
    scale = 1.0 if samples.dtype.kind == "f" else 1.0 / (np.iinfo(samples.dtype).max + 1)
    samples = samples.astype(np.float32) * np.float32(scale)
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def _features(samples_S: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Features (T, F), at least one frame; None if the recording is silent."""
    if not samples_S.size or np.abs(samples_S).max() < SILENCE:
        return None
    return log_mel(np.pad(samples_S, (0, max(0, WINDOW - len(samples_S)))))
