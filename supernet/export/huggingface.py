"""Folders for `transformers`: a cut of layers as an ordinary smaller model with a CTC head.

Shapes: T samples, S stream frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from supernet.audio.features import INPUTS
from supernet.audio.specification import SAMPLE_RATE
from supernet.export.formats import Format, Runtime, Written, quiet
from supernet.network.huggingface.library_model import described, library_model
from supernet.network.huggingface.mel import MelFeatures
from supernet.pretrained.huggingface import BERT, FEATURES, PARAKEET
from supernet.pretrained.reading import read_checkpoint
from supernet.pretrained.tensors import SAFE
from supernet.pretrained.tokenizer_files import tokenizer_of
from supernet.runs.cut_model import Cut
from supernet.runtime.precision import Precision
from supernet.settings.plugins import find_plugin
from supernet.system.files import write_json

_ONE_FILE = "1000GB"


class HuggingFace(Format):
    """``config.json``, ``model.safetensors``, and the files of the tokenizer and of the features."""

    name = "huggingface"

    def write(self, cut: Cut, folder: Path, rounded: Collection[Precision] = ()) -> list[Written]:
        with quiet():
            model = library_model(cut.model.recognizer)
            model.save_pretrained(folder, max_shard_size=_ONE_FILE)
            _save_processor(cut, model.config, folder)
        return [Written(folder / SAFE)]

    def open(self, file: Path) -> Runtime:
        with quiet():
            return InLibrary(file.parent)


def _save_processor(cut: Cut, configuration: Any, folder: Path) -> None:
    import transformers

    tokenizer = tokenizer_of(cut.model.tokens)
    features = described(cut.model.recognizer).features
    if configuration.model_type == PARAKEET:  # its extractor can only be made with another library
        name = "ParakeetFeatureExtractor"
        settings = {**features, "sampling_rate": SAMPLE_RATE, "feature_extractor_type": name}
        write_json(folder / FEATURES, {**settings, "processor_class": "ParakeetProcessor"})
        tokenizer.save_pretrained(folder)
    elif configuration.model_type == BERT:
        extractor = transformers.SeamlessM4TFeatureExtractor()
        transformers.Wav2Vec2BertProcessor(extractor, tokenizer).save_pretrained(folder)
    else:
        extractor = transformers.Wav2Vec2FeatureExtractor(
            do_normalize=bool(features.get("do_normalize", True)),
            # Networks whose convolutions normalize over time were trained without masks.
            return_attention_mask=configuration.feat_extract_norm == "layer",
        )
        transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)


class InLibrary:
    """A folder, read and run by `transformers`, one utterance at a time."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self._model = transformers.AutoModelForCTC.from_pretrained(folder, local_files_only=True).eval()
        self._kind: str = self._model.config.model_type
        checkpoint = read_checkpoint(folder)
        self._input = INPUTS[find_plugin("encoder", checkpoint.family).input]
        self._extractor: Any = (
            MelFeatures(checkpoint.features)
            if self._kind == PARAKEET
            else transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        )

    @torch.inference_mode()
    def __call__(self, features_BTF: Tensor, num_frames: Sequence[int]) -> tuple[Tensor, list[int]]:
        lengths = [self._input.num_stream_frames(n) for n in num_frames]
        rows = zip(features_BTF, num_frames, lengths, strict=True)
        outputs = [self._log_probs(x_TF[:n, 0].float(), length) for x_TF, n, length in rows]
        return torch.nn.utils.rnn.pad_sequence(outputs, batch_first=True), lengths

    def _log_probs(self, samples_T: Tensor, length: int) -> Tensor:
        """The log-probabilities (S, V) of one utterance."""
        logits_SV: Tensor = self._model(**self._inputs(samples_T)).logits[0, :length]
        return logits_SV.log_softmax(-1)

    def _inputs(self, samples_T: Tensor) -> Mapping[str, Tensor]:
        missing = max(0, self._input.shortest - len(samples_T))
        if self._kind == PARAKEET:
            return {"input_features": self._extractor(samples_T)[None]}
        if self._kind == BERT:
            return self._extracted(F.pad(samples_T, (0, missing)))
        return {"input_values": F.pad(self._extracted(samples_T)["input_values"], (0, missing))}

    def _extracted(self, samples_T: Tensor) -> Mapping[str, Tensor]:
        found: Mapping[str, Tensor] = self._extractor(
            samples_T.cpu().numpy(), sampling_rate=SAMPLE_RATE, return_tensors="pt"
        )
        return found
