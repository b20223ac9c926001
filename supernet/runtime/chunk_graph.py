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


class ChunkGraph:
    """A file of an export for streaming.

    Args:
        file: The graph.
        chunk: Stream frames of a chunk.
        left: The number of chunks before its own that attention sees.
        threads: The threads that compute.
    """

    def __init__(self, file: Path, chunk: int, left: int, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of inputs that the graph does not need
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self._session = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
        known = self._session.get_modelmeta().custom_metadata_map
        self.subsampling, self.shortest = int(known["subsampling_factor"]), int(known["right_context"]) + 1
        self.num_tokens, self.chunk = int(known["vocab_size"]), chunk
        self.mean_F = np.array(known["feature_mean"].split(), np.float32)
        blocks, heads, width = (int(known[name]) for name in ("num_blocks", "head", "output_size"))
        self._attended = np.zeros((blocks, heads, chunk * left, 2 * width // heads), np.float32)
        self._convolved = np.zeros((blocks, 1, width, int(known["cnn_module_kernel"]) - 1), np.float32)

    def begin(self) -> GraphRun:
        """Begin an utterance."""
        return GraphRun(self)

    def memory(self) -> tuple[Floats, Floats]:
        """The empty memory, see ``run``."""
        return self._attended, self._convolved

    def run(
        self, x_TF: Floats, done: int, attended: Floats, convolved: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """Run a chunk, before which are ``done`` stream frames.

        Returns:
            Its log-probabilities (S, V), and the memory of attentions and of convolutions for the next one.
        """
        count = (len(x_TF) - self.shortest) // self.subsampling + 1
        before = attended.shape[2]
        mask_11S = (np.arange(before + count) >= before - done)[None, None]
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
        wanted = (graph.chunk - 1) * graph.subsampling + graph.shortest
        found = [np.zeros((0, graph.num_tokens), np.float32)]
        while len(self._features_TF) >= wanted:
            found.append(self._run(self._features_TF[:wanted]))
            self._features_TF = self._features_TF[graph.chunk * graph.subsampling :]
        return np.concatenate(found)

    def finish(self) -> Floats:
        """End the utterance; returns the log-probabilities (S, V) of the last chunk, which may be shorter."""
        missing = self._graph.shortest - len(self._features_TF)
        if missing > 0 and (self._done or not len(self._features_TF)):
            return np.zeros((0, self._graph.num_tokens), np.float32)
        padding_TF = np.repeat(self._graph.mean_F[None], max(0, missing), axis=0)
        return self._run(np.concatenate([self._features_TF, padding_TF]))

    def _run(self, features_TF: Floats) -> Floats:
        log_probs_SV, *memory = self._graph.run(features_TF, self._done, *self._memory)
        self._memory, self._done = (memory[0], memory[1]), self._done + len(log_probs_SV)
        return log_probs_SV
