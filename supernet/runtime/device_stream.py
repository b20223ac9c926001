"""Speech that is recognized on a device while it is spoken.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from supernet.audio.live_features import LiveFeatures
from supernet.audio.specification import FRAMES_PER_SECOND, SAMPLE_RATE
from supernet.errors import ArgumentError, UserError
from supernet.runtime.chunk_graph import ChunkGraph
from supernet.runtime.device_recognizer import mono
from supernet.runtime.export_folder import streaming_symbols
from supernet.runtime.log_mel import log_mel
from supernet.runtime.precision import Precision, suffix
from supernet.runtime.symbols import Symbols
from supernet.text.durations import chunk_and_ahead_in_frames


class DeviceStream:
    """An export for streaming, opened; takes audio in blocks of any length.

    >>> stream = DeviceStream.load("RUN/export/6-streaming", chunk="320ms")
    >>> for block in microphone:
    ...     print(stream.accept(block))
    >>> print(stream.final())
    """

    def __init__(self, graph: ChunkGraph, symbols: Symbols) -> None:
        self._graph, self._symbols = graph, symbols
        self._begin()

    @classmethod
    def load(
        cls,
        folder: str | PathLike[str],
        *,
        chunk: str | None = None,
        left: int = 8,
        precision: Precision = "float32",
        threads: int = 1,
    ) -> DeviceStream:
        """Open an export.

        Args:
            folder: The folder of the export.
            chunk: The duration of a chunk: a multiple of a frame after the frontend, with or without the
                look-ahead, which is that of the export. None: as exported.
            left: The number of chunks before its own that attention sees.
            precision: That of the weights.
            threads: The threads that compute.

        Raises:
            ArgumentError: An argument cannot be used.
            UserError: The folder is no such export, or is damaged.
        """
        symbols = streaming_symbols(Path(folder))
        file = Path(folder) / f"model{suffix(precision)}.onnx"
        if left < 0:
            raise ArgumentError(["left"], f"`left` must be at least 0 chunks, but is {left} instead.")
        if not file.is_file():
            raise UserError(f"'{file}' must exist, but does not.")
        with _streaming(file):
            graph = ChunkGraph(file, left, threads)
            frame = 1000 * graph.subsampling / FRAMES_PER_SECOND
        if chunk is not None:
            graph.chunk = _chunk(graph, chunk, frame)
        with _streaming(file):
            graph.memory()  # raises where sizes are impossible, and where there is no room for such chunks
        return cls(graph, symbols)

    def _begin(self) -> None:
        self._features, self._run = LiveFeatures(log_mel), self._graph.begin()
        self._path: list[int] = []

    @property
    def partial(self) -> str:
        """The text so far; its last word may be unfinished."""
        return self._symbols.text(self._path)

    def accept(self, samples: NDArray[Any], rate: int = SAMPLE_RATE) -> str:
        """Take further samples; returns the text so far.

        Args:
            samples: Samples (S,) or (S, C): floats in [-1, 1], or integers.
            rate: Their sampling rate, which must be 16 kHz.

        Raises:
            ArgumentError: An argument cannot be used.
        """
        found = self._run.accept(self._features.accept(mono(samples, rate)))
        self._path += found.argmax(-1).tolist()
        return self.partial

    def final(self) -> str:
        """End the recording; returns its text. The next samples begin another one."""
        for found in (self._run.accept(self._features.finish()), self._run.finish()):
            self._path += found.argmax(-1).tolist()
        text = self.partial
        self._begin()
        return text


@contextlib.contextmanager
def _streaming(file: Path) -> Iterator[None]:
    """Tell that ``file`` is no graph for streaming if what is done with it fails."""
    try:
        yield
    # The exceptions of onnxruntime have no base class of their own.
    except Exception as e:
        reason = (" ".join(str(e).split()) or type(e).__name__)[:200].rstrip(".")
        raise UserError(f"'{file}' must be a graph for streaming, but is not: {reason}.") from None


def _chunk(graph: ChunkGraph, chunk: str, frame: float) -> int:
    """The frames, of ``frame`` milliseconds, of a chunk. A look-ahead must be that of the graph."""
    try:
        frames, ahead = chunk_and_ahead_in_frames(chunk, frame)
    except ValueError as e:
        raise ArgumentError(["chunk"], f"`chunk` {e}") from None
    if "+" in chunk and ahead != graph.ahead:
        raise ArgumentError(
            ["chunk"],
            f"`chunk` must have the look-ahead of the export, {graph.ahead * frame:g}ms, but is {chunk} "
            "instead.",
        )
    return frames
