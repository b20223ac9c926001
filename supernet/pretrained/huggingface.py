"""Folders as Hugging Face writes them for models with a CTC head."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from supernet.audio.features import SAMPLES
from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import UserError
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.pieces import FILE, read_pieces
from supernet.pretrained.places import CONFIG
from supernet.pretrained.tensors import files_of, read_tensors
from supernet.pretrained.vocabulary import Vocabulary, read_vocabulary
from supernet.system.files import read_json
from supernet.text.tokens import BLANK, Tokens

FEATURES, PROCESSOR = "preprocessor_config.json", "processor_config.json"
BERT, PARAKEET = "wav2vec2-bert", "parakeet_ctc"
FAMILIES = {
    "wav2vec2": "hf-wav2vec2",
    "hubert": "hf-wav2vec2",
    "wavlm": "hf-wav2vec2",
    "wav2vec2-conformer": "hf-conformer",
    BERT: "hf-w2v-bert",
    PARAKEET: "hf-fastconformer",
}
"""The family of encoders for each type of model."""
_ARCHITECTURES = {
    "Wav2Vec2ForCTC": "wav2vec2",
    "HubertForCTC": "hubert",
    "WavLMForCTC": "wavlm",
    "Wav2Vec2ConformerForCTC": "wav2vec2-conformer",
    "Wav2Vec2BertForCTC": BERT,
    "ParakeetForCTC": PARAKEET,
}
_IRRELEVANT = ("architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path", "auto_map")
"""Keys of configurations that do not describe the encoder."""
_FEATURES = ("do_normalize", "feature_size", "n_fft", "win_length", "hop_length", "preemphasis")
"""Keys of feature extractors that decide what the network reads."""


def read(folder: Path) -> Checkpoint:
    """Read the checkpoint in ``folder``, whose tensors are not read yet.

    Raises:
        UserError: It is of an unknown architecture, has no CTC head, or its files are damaged.
    """
    file = folder / CONFIG
    configuration = {name: x for name, x in read_json(file).items() if not name.startswith(("id2", "label2"))}
    model_type, problems = _model_type(file, configuration), list[str]()
    num_rows = configuration.get("vocab_size")
    if type(num_rows) is not int or num_rows < 2:
        raise UserError(
            f"'{file}' must have a `vocab_size` of at least 2, but has {str(num_rows)[:40]} instead."
        )
    problems += _architecture_problems(file, configuration)
    features = _features(folder, problems)
    files = files_of(folder, problems)
    tokens, order = _vocabulary(folder, model_type, num_rows, configuration.get("pad_token_id"), problems)
    described = configuration["encoder_config"] if model_type == PARAKEET else configuration
    architecture = {name: x for name, x in described.items() if name not in _IRRELEVANT}
    return Checkpoint(
        folder.resolve().name,
        FAMILIES[model_type],
        model_type,
        {**architecture, "model_type": model_type},
        features,
        tokens,
        order,
        problems,
        files,
        partial(read_tensors, files if all(file.is_file() for file in files) else []),
    )


def _model_type(file: Path, configuration: Mapping[str, Any]) -> str:
    named = configuration.get("architectures")
    names = [str(name) for name in named] if isinstance(named, list) else []
    if known := [_ARCHITECTURES[name] for name in names if name in _ARCHITECTURES]:
        return known[0]
    wanted = ", ".join(_ARCHITECTURES)
    kinds = tuple(name.removesuffix("ForCTC") for name in _ARCHITECTURES)
    if names[0].startswith(kinds) if names else configuration.get("model_type") in FAMILIES:
        raise UserError(
            f"'{file}' must describe a model with a CTC head ({wanted}), but describes "
            f"{', '.join(names) or 'one without'} instead. Fine-tune it for recognition first."
        )
    what = ", ".join(names) or configuration.get("model_type") or "nothing"
    raise UserError(f"'{file}' must describe one of {wanted}, but describes {str(what)[:80]} instead.")


def _architecture_problems(file: Path, configuration: Mapping[str, Any]) -> list[str]:
    """Variants of the architectures that no family has."""
    found = []
    if configuration.get("model_type") == PARAKEET:
        return _subsampling_problems(file, configuration.get("encoder_config"))
    kernels, strides = (configuration.get(f"conv_{name}") for name in ("kernel", "stride"))
    if isinstance(kernels, list) and isinstance(strides, list):
        given = tuple(zip(kernels, strides, strict=False))
        if given != SAMPLES.convolutions:
            wanted = " and ".join(str(list(numbers)) for numbers in zip(*SAMPLES.convolutions, strict=True))
            found.append(
                f"'{file}' must have the kernels and strides of the published convolutions, {wanted}, but "
                f"has {kernels} and {strides} instead."
            )
    if configuration.get("model_type") == BERT:
        found += _bert_problems(file, configuration)
    if configuration.get("add_adapter"):
        found.append(f"'{file}' must have no convolutions after the encoder (`add_adapter`), but has some.")
    return found


def _bert_problems(file: Path, configuration: Mapping[str, Any]) -> list[str]:
    wanted = {"feature_projection_input_dim": 160, "use_intermediate_ffn_before_adapter": False}
    return [
        f"'{file}' must have a `{name}` of {value}, but has {str(configuration[name])[:40]} instead."
        for name, value in wanted.items()
        if configuration.get(name, value) != value
    ]


def _subsampling_problems(file: Path, encoder: object) -> list[str]:
    if not isinstance(encoder, Mapping):
        raise UserError(f"'{file}' must have an `encoder_config`, but has not.")
    wanted = {"subsampling_factor": 8, "subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2}
    return [
        f"'{file}' must have a `{name}` of {number}, but has {str(encoder[name])[:40]} instead."
        for name, number in wanted.items()
        if encoder.get(name, number) != number
    ]


def _features(folder: Path, problems: list[str]) -> dict[str, Any]:
    try:
        file, data = _extractor(folder)
    except UserError as e:
        problems.append(str(e))
        return {}
    rate = data.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        problems.append(f"'{file}' must have a `sampling_rate` of {SAMPLE_RATE}, but has {str(rate)[:40]}.")
    return {name: data[name] for name in _FEATURES if name in data}


def _extractor(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """The settings of the feature extractor, and their file: since release 5, `transformers` writes them with
    those of the processor.
    """
    file, processor = folder / FEATURES, folder / PROCESSOR
    if file.is_file():
        return file, read_json(file)
    data = read_json(processor).get("feature_extractor") if processor.is_file() else None
    if not isinstance(data, Mapping):
        raise UserError(
            f"'{file}' must exist, or '{processor}' must have a `feature_extractor`, but neither is the case."
        )
    return processor, data


def _vocabulary(
    folder: Path, model_type: str, num_rows: int, blank: object, problems: list[str]
) -> Vocabulary:
    try:
        has_pieces = model_type == PARAKEET or (folder / FILE).is_file()
        is_pieces = has_pieces and not (folder / "vocab.json").is_file()
        return (read_pieces if is_pieces else read_vocabulary)(folder, num_rows, blank)
    except UserError as e:
        problems.append(str(e))
        return Tokens((BLANK,)), list(range(num_rows))
