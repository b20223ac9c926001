"""The inputs of exported graphs, and the kinds of recognizers of sherpa-onnx that run them.

Shapes: B utterances, T frames of the network's input, F mel bands.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from supernet.audio.features import INPUTS, InputName
from supernet.audio.specification import NUM_BANDS
from supernet.network.supernet_ctc import SupernetCTC


class Kind(ABC):
    """The input of a graph, which depends on the input of its network."""

    constructor: ClassVar[str]
    """The constructor of `sherpa_onnx.OfflineRecognizer` for this kind."""
    inputs: ClassVar[tuple[str, str]] = ("x", "x_lens")
    """The names of the graph's input and of its lengths."""
    output: ClassVar[str] = "log_probs"
    """The name of the graph's output, before that of its lengths."""
    time: ClassVar[int] = 1
    """The axis of time in the input."""
    default_lengths: ClassVar[bool] = False
    """Whether the lengths may be omitted, in which case all of the input is valid."""

    @abstractmethod
    def example(self, recognizer: SupernetCTC) -> tuple[Tensor, Tensor]:
        """Two utterances to trace with, one of them padded."""

    def problem(self, recognizer: SupernetCTC) -> str | None:
        """The reason why sherpa-onnx cannot run the graph of ``recognizer``, if there is one."""
        return None

    def arguments(self, recognizer: SupernetCTC) -> dict[str, int]:
        """Further arguments of ``constructor``."""
        return {}

    @abstractmethod
    def metadata(self, recognizer: SupernetCTC) -> dict[str, str]:
        """The metadata that sherpa-onnx requires, in addition to those of every file."""

    def read(
        self, features_BTF: Tensor, num_frames: Sequence[int], metadata: Mapping[str, str]
    ) -> tuple[Tensor, list[int]]:
        """The input of the graph and its lengths for the input of the network."""
        return features_BTF, list(num_frames)


class LogMel(Kind):
    """Log-mel features (B, T, 80)."""

    constructor = "from_zipformer_ctc"

    def example(self, recognizer: SupernetCTC) -> tuple[Tensor, Tensor]:
        return torch.zeros(2, 64, NUM_BANDS), torch.tensor([64, 32])

    def metadata(self, recognizer: SupernetCTC) -> dict[str, str]:
        return {"model_type": "zipformer2_ctc"}


class Samples(Kind):
    """Samples (B, T), whose lengths sherpa-onnx does not give."""

    constructor = "from_omnilingual_asr_ctc"
    default_lengths = True

    def example(self, recognizer: SupernetCTC) -> tuple[Tensor, Tensor]:
        return torch.zeros(2, 8000), torch.tensor([8000, 4000])

    def problem(self, recognizer: SupernetCTC) -> str | None:
        if getattr(recognizer.frontend, "normalizes", True):
            return None
        return "a network that normalizes its samples, as sherpa-onnx does, but this one does not"

    def metadata(self, recognizer: SupernetCTC) -> dict[str, str]:
        return {"model_type": "omnilingual-asr"}

    def read(
        self, features_BTF: Tensor, num_frames: Sequence[int], metadata: Mapping[str, str]
    ) -> tuple[Tensor, list[int]]:
        return features_BTF[..., 0], list(num_frames)


class NormalizedMel(Kind):
    """The normalized log-mel features (B, F, T) of NeMo, which the network itself computes from samples."""

    constructor = "from_nemo_ctc"
    inputs = ("audio_signal", "length")
    output = "logprobs"  # which onnx-asr asks for; sherpa-onnx takes outputs by their order
    time = 2

    def example(self, recognizer: SupernetCTC) -> tuple[Tensor, Tensor]:
        frontend: Any = recognizer.frontend
        return torch.zeros(2, frontend.features.options.feature_size, 64), torch.tensor([64, 32])

    def arguments(self, recognizer: SupernetCTC) -> dict[str, int]:
        frontend: Any = recognizer.frontend
        return {"feature_dim": frontend.features.options.feature_size}

    def metadata(self, recognizer: SupernetCTC) -> dict[str, str]:
        frontend: Any = recognizer.frontend
        return {
            "model_type": "EncDecCTCModelBPE",
            "normalize_type": "per_feature",
            "features": frontend.features.options.model_dump_json(),
        }

    def read(
        self, features_BTF: Tensor, num_frames: Sequence[int], metadata: Mapping[str, str]
    ) -> tuple[Tensor, list[int]]:
        from supernet.network.huggingface.mel import MelFeatures

        compute = MelFeatures(json.loads(metadata["features"]))
        rows = [compute(row_T1[:n, 0].float()) for row_T1, n in zip(features_BTF, num_frames, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).transpose(1, 2), [*map(len, rows)]


KINDS: dict[InputName, Kind] = {
    "log-mel": LogMel(),
    "log-mel-80ms": LogMel(),
    "samples": Samples(),
    "samples-20ms": Samples(),
    "samples-20ms-centered": Samples(),
    "samples-80ms": NormalizedMel(),
}


def kind_of(recognizer: SupernetCTC) -> Kind:
    """The kind of the graph of ``recognizer``."""
    return KINDS[recognizer.input.name]


def subsampling(recognizer: SupernetCTC) -> int:
    """Frames of 10 ms per output, from which sherpa-onnx computes times."""
    input = INPUTS[recognizer.input.name]
    return round(100 * input.stream_seconds)
