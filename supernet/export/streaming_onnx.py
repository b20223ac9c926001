"""ONNX for recognition while someone speaks: one file for sherpa-onnx's `OnlineRecognizer.from_wenet_ctc` and
plain onnxruntime alike.

The length of chunks and the number of chunks to the left are chosen when the file is used; their look-ahead
is that of the file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.export.onnx import metadata, save_tokens
from supernet.export.onnx_graph import quantize, save, trace
from supernet.export.streaming_graph import OUTPUTS, StreamingGraph
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import FULL, Precision, suffix
from supernet.runtime.record import STREAMING


class StreamingOnnx(Format):
    """``model.onnx``, optionally ``model.int8.onnx`` and ``model.int4.onnx``, and ``tokens.txt``.

    Args:
        chunking: The chunks in which the files are compared with the cut model.
    """

    name = STREAMING
    extra = "export"
    packages = ("onnx", "onnxscript", "onnxruntime")
    rounds = True

    def __init__(self, chunking: Chunking) -> None:
        assert chunking.left is not None
        self._chunking, self._left = chunking, chunking.left

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        # From now on, the cut model reads as the files do, with which it is compared.
        cut.model.recognizer.encoder.chunking = self._chunking
        written = [Written(folder / f"model{suffix(p)}.onnx", p) for p in (FULL, *rounded)]
        graph = StreamingGraph(cut.model.recognizer, self._chunking.ahead)
        dynamic = torch.export.Dim.DYNAMIC
        shapes: tuple[dict[int, Any], ...] = ({1: dynamic}, {}, {}, {2: dynamic}, {}, {2: dynamic})
        with quiet():
            proto = trace(graph, graph.example(), OUTPUTS, shapes)
            save(proto, self._metadata(cut, graph), written[0].file)
            for one in written[1:]:
                quantize(written[0].file, one.file, one.precision)
        save_tokens(cut.model.tokens, folder)
        return written

    def _metadata(self, cut: Cut, graph: StreamingGraph) -> dict[str, str]:
        """The keys of WeNet's networks, and what other programs need for the last chunk."""
        recognizer, model = cut.model.recognizer, cut.model.recognizer.config.model
        frontend, ahead = recognizer.frontend, self._chunking.ahead
        assert isinstance(frontend, StreamingFrontend)
        numbers = {
            "chunk_size": self._chunking.frames,
            "left_chunks": self._left,
            "head": model.num_heads,
            "num_blocks": graph.num_blocks,
            "output_size": model.dim,
            "cnn_module_kernel": graph.num_remembered + 1,
            "right_context": recognizer.input.shortest - 1 + ahead * recognizer.input.subsampling,
            "look_ahead": ahead,
        }
        mean = " ".join(f"{value:.9g}" for value in frontend.mean_F.tolist())
        keys = {"model_type": "wenet_ctc", "feature_mean": mean}
        return {**metadata(cut), **keys, **{name: str(value) for name, value in numbers.items()}}

    def open(self, file: Path) -> Runtime:
        return ChunkSession(file, self._chunking.frames, self._left)


class ChunkSession:
    """A file run by onnxruntime, chunk by chunk.

    Args:
        file: A file written by ``StreamingOnnx``.
        chunk: Stream frames of a chunk.
        left: The number of chunks before its own that attention sees.
    """

    def __init__(self, file: Path, chunk: int, left: int) -> None:
        from supernet.runtime.chunk_graph import ChunkGraph

        self._graph = ChunkGraph(file, left)
        self._graph.chunk = chunk

    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        rows = [self._row(x_TF[:n].float()) for x_TF, n in zip(features_BTF, num_frames, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [len(row) for row in rows]

    def _row(self, features_TF: Tensor) -> Tensor:
        run = self._graph.begin()
        return torch.from_numpy(np.concatenate([run.accept(features_TF.numpy()), run.finish()]))
