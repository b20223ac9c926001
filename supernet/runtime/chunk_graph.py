"""A graph for streaming, run by onnxruntime chunk by chunk.

Shapes: T feature frames, F mel bands, S stream frames, V tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supernet.audio.specification import LOUDER

Floats = NDArray[np.floating[Any]]
_MOST_AHEAD = 100_000
"""The longest possible look-ahead in stream frames, that of the longest possible network."""


class ChunkGraph:
    """A file of an export for streaming.

    Args:
        file: The graph.
        left: The number of chunks before its own that attention sees.
        threads: The threads that compute.
    """

    def __init__(self, file: Path, left: int, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of inputs that the graph does not need
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
        known = self._session.get_modelmeta().custom_metadata_map
        self.subsampling, self.ahead = int(known["subsampling_factor"]), int(known.get("look_ahead", 0))
        self.shortest = int(known["right_context"]) + 1 - self.ahead * self.subsampling
        self.num_tokens, self._left = int(known["vocab_size"]), left
        self.chunk = int(known["chunk_size"])
        """The stream frames of a chunk: at first those with which the file was checked."""
        if min(self.subsampling, self.shortest, self.chunk) < 1 or not 0 <= self.ahead <= _MOST_AHEAD:
            raise ValueError("its metadata must have lengths that are possible, but have not")
        self.mean_F = np.array(known["feature_mean"].split(), np.float32)
        self._sizes = tuple(int(known[name]) for name in ("num_blocks", "head", "output_size"))
        self._kernel = int(known["cnn_module_kernel"])

    def begin(self) -> GraphRun:
        """Begin an utterance."""
        return GraphRun(self)

    def memory(self) -> tuple[Floats, Floats]:
        """The empty memory, see ``run``."""
        blocks, heads, width = self._sizes
        attended = np.zeros((blocks, heads, self.chunk * self._left, 2 * width // heads), np.float32)
        return attended, np.zeros((blocks, 1, width, self._kernel - 1), np.float32)

    def run(
        self, x_TF: Floats, done: int, rest: int, attended: Floats, convolved: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Run a chunk with its look-ahead, before which are ``done`` stream frames, and of which ``rest`` or
        all are there.

        Returns:
            Its log-probabilities (S, V), and the memory of attentions and of convolutions for the next one.
        """
        count = (len(x_TF) - self.shortest) // self.subsampling + 1
        before = attended.shape[2]
        frames_S = np.arange(before + count)
        mask_11S = ((frames_S >= before - done) & (frames_S < before + rest))[None, None]
        x_1TF = x_TF[None] + np.float32(LOUDER)
        values = x_1TF, np.array([before + done]), np.array([before]), attended, convolved, mask_11S
        names = (entry.name for entry in self._session.get_inputs())
        log_probs_1SV, *memory = self._session.run(None, dict(zip(names, values, strict=True)))
        return log_probs_1SV[0], memory[0], memory[1]


class GraphRun:
    """An utterance on its way through a graph; the outputs are those of the network it was exported from."""

    def __init__(self, graph: ChunkGraph) -> None:
        self._graph, self._memory, self._done = graph, graph.memory(), 0
        self._features_TF: Floats = np.zeros((0, len(graph.mean_F)), np.float32)

    def accept(self, features_TF: Floats) -> Floats:
        """Take further feature frames; returns the log-probabilities (S, V) of the chunks that they end."""
        graph = self._graph
        self._features_TF = np.concatenate([self._features_TF, features_TF])
        whole = graph.chunk + graph.ahead
        found = [np.zeros((0, graph.num_tokens), np.float32)]
        while self._num_there() >= whole:
            found.append(self._run(graph.chunk, whole))
        return np.concatenate(found)

    def finish(self) -> Floats:
        """End the utterance; returns the log-probabilities (S, V) of what is left, whose last chunk may be
        shorter.
        """
        found = [np.zeros((0, self._graph.num_tokens), np.float32)]
        while (rest := self._num_there()) >= 1 or (len(self._features_TF) and not self._done):
            found.append(self._run(min(max(1, rest), self._graph.chunk), max(1, rest)))
        return np.concatenate(found)

    def _num_there(self) -> int:
        """The number of stream frames whose features are there."""
        return (len(self._features_TF) - self._graph.shortest) // self._graph.subsampling + 1

    def _run(self, num_frames: int, rest: int) -> Floats:
        """Run the next chunk, of ``num_frames``, in a window of ``rest`` stream frames to the end."""
        graph = self._graph
        needed = (num_frames + graph.ahead - 1) * graph.subsampling + graph.shortest
        padding_TF = np.repeat(graph.mean_F[None], max(0, needed - len(self._features_TF)), axis=0)
        features_TF = np.concatenate([self._features_TF[:needed], padding_TF])
        log_probs_SV, *memory = graph.run(features_TF, self._done, rest, *self._memory)
        self._memory, self._done = (memory[0], memory[1]), self._done + num_frames
        self._features_TF = self._features_TF[num_frames * graph.subsampling :]
        return log_probs_SV
