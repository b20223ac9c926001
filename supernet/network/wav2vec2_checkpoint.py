"""Checkpoints of fairseq2's wav2vec 2.0 encoders: configuration and weights. No code in them is run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from fairseq2.assets import AssetCard, get_asset_store
from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import Wav2Vec2EncoderConfig, get_wav2vec2_model_hub
from fairseq2.models.wav2vec2.asr import WAV2VEC2_ASR_FAMILY, get_wav2vec2_asr_model_hub
from pydantic import TypeAdapter
from torch import Tensor, nn

from supernet.audio.features import SAMPLES
from supernet.encoder_family import PretrainedError
from supernet.pretrained.pieces import from_sentencepiece
from supernet.system.files import read_yaml
from supernet.text.tokens import Tokens

Data = dict[str, Any]
T = TypeVar("T")
_NAMES = (
    ("encoder_frontend.", "frontend.body."),
    ("encoder.layer_norm.", "encoder.norm."),
    ("encoder.", "encoder."),
    ("final_proj.", "heads.shared."),
)
"""The beginnings of names of weights in fairseq2 and in a network; the first that matches counts."""

CONFIGURATION = TypeAdapter(Wav2Vec2EncoderConfig)
"""Converts an encoder's configuration from and to fairseq2's format."""


def configuration_of(init: str, known: Data | None) -> Data:
    """The configuration of the encoder that ``init`` names, or the saved one, ``known``, if that is gone.

    Raises:
        PretrainedError: The checkpoint cannot be used.
    """
    try:
        card = _card(init)
        config = _attempt(init, lambda: _hub(card).get_model_config(card).encoder_config)
    except PretrainedError:
        if known is None:
            raise
        return known
    if not _is_supported(config):
        raise PretrainedError(
            "`model.init` must be a wav2vec 2.0 encoder that reads samples through the published convolutions"
            f" and has Transformer layers, but '{init}' has another architecture instead."
        )
    data: Data = CONFIGURATION.dump_python(config, mode="json")
    return data


def weights_of(init: str) -> Mapping[str, Tensor]:
    """The weights of the encoder, and of the head if there is one, by this project's names.

    Raises ``PretrainedError``.
    """
    card = _card(init)
    model: nn.Module = _attempt(
        init,
        lambda: _hub(card).load_model(card, device=torch.device("cpu"), dtype=torch.float32),
        _elsewhere(init, card),
    )
    renamed = ((_renamed(name), x) for name, x in model.state_dict().items())
    return {name: x for name, x in renamed if name is not None}


def _renamed(name: str) -> str | None:
    return next((new + name.removeprefix(old) for old, new in _NAMES if name.startswith(old)), None)


def _elsewhere(init: str, card: AssetCard) -> str | None:
    """What to do about the weights of ``card`` if they are on a server that cannot be reached."""
    if "://" not in (place := str(card.metadata.get("checkpoint", ""))) or place.startswith("file:"):
        return None
    return (
        f"`model.init` must be weights on this machine, but those of '{init}' are at {place} and could not "
        "be downloaded. Fetch the file by other means, and name a YAML file with `name`, `model_family`, "
        "`model_arch` and `checkpoint: PATH`; of a recognizer, `tokenizer: PATH` keeps the head, too"
    )


def tokens_of(init: str) -> Tokens | None:
    """The tokens of a recognizer whose card names the file of a SentencePiece model as its ``tokenizer``; the
    blank is the first piece. None: there is no head, or its tokens are not known.

    Raises ``PretrainedError``.
    """
    card = _card(init)
    given = card.metadata.get("tokenizer")
    if not _is_recognizer(card) or not isinstance(given, str) or "://" in given:
        return None
    file = Path(str(card.metadata.get("__base_path__", ""))) / given
    num_rows = _attempt(init, lambda: _hub(card).get_model_config(card).target_vocab_size)
    return _attempt(init, lambda: from_sentencepiece(file.read_bytes(), num_rows, str(file), blank=0)[0])


def _is_recognizer(card: AssetCard) -> bool:
    return card.metadata.get("model_family") == WAV2VEC2_ASR_FAMILY


def _hub(card: AssetCard) -> Any:
    return get_wav2vec2_asr_model_hub() if _is_recognizer(card) else get_wav2vec2_model_hub()


def _is_supported(encoder: Wav2Vec2EncoderConfig) -> bool:
    """Whether the architecture is the published one, in any width and depth."""
    strides = tuple((kernel, stride) for _, kernel, stride in encoder.feature_extractor_layer_descs)
    return (
        not (encoder.use_fbank or encoder.use_conformer)
        and encoder.pos_encoder_type == "conv"
        and encoder.pos_encoder_depth == 1
        and strides == SAMPLES.convolutions
        and encoder.norm_order in (TransformerNormOrder.PRE, TransformerNormOrder.POST)
    )


def _card(init: str) -> AssetCard:
    """The asset card of ``init``."""
    path = Path(init)
    if path.is_dir():
        return _card_of_checkpoints(init, path)
    if path.is_file():
        return _card_of_file(init, path)
    if os.sep in init:
        raise PretrainedError(
            "`model.init` must be a run folder, a cut model, a fairseq2 asset card, its YAML file, or a "
            f"folder of checkpoints, but there is no such file or folder: '{init}'."
        )
    return _attempt(init, lambda: get_asset_store().retrieve_card(init))


def _card_of_checkpoints(init: str, folder: Path) -> AssetCard:
    """The newest checkpoint of a training with fairseq2; ``folder`` is its output or its checkpoints."""
    if (folder / "checkpoints").is_dir():
        folder = folder / "checkpoints"
    steps = [
        int(found.name[5:]) for found in folder.glob("step_*") if found.name[5:].isdigit() and found.is_dir()
    ]
    if not steps or not (folder / "model.yaml").is_file():
        raise PretrainedError(
            "`model.init` must be a folder with fairseq2's checkpoints, model.yaml and step_N, but "
            f"'{init}' has none."
        )
    model = (folder / f"step_{max(steps)}" / "model").resolve()
    return AssetCard(init, {**_metadata(init, folder / "model.yaml"), "checkpoint": str(model)})


def _card_of_file(init: str, file: Path) -> AssetCard:
    if file.suffix not in (".yaml", ".yml"):
        raise PretrainedError(
            f"`model.init` must be an asset card, which describes the weights, but '{init}' is a file of "
            "weights alone. Write a YAML file with `name`, `model_family: wav2vec2`, `model_arch: base` (or "
            "large, large_lv60k) and `checkpoint: PATH`, and give that."
        )
    # A relative path in a card is relative to the card's folder.
    return AssetCard(init, {**_metadata(init, file), "__base_path__": file.resolve().parent})


def _metadata(init: str, file: Path) -> Data:
    data = _attempt(init, lambda: read_yaml(file))
    if not isinstance(data, dict):
        raise PretrainedError(f"`model.init` must be an asset card of one model, but '{file}' holds none.")
    return {**data, "restrict": True}  # a foreign card must not allow unpickling


def _attempt(init: str, work: Callable[[], T], otherwise: str | None = None) -> T:
    """What ``work`` returns. Raises ``PretrainedError``, which says ``otherwise`` if that is given."""
    try:
        return work()
    # fairseq2, PyTorch, YAML, and the file system all raise their own exceptions for invalid checkpoints.
    except Exception as e:
        reason = " ".join(str(e.__cause__ or e).split())[:300] or type(e).__name__
        if otherwise is not None:
            raise PretrainedError(f"{otherwise} ({reason.rstrip('.')}).") from e
        raise PretrainedError(
            f"`model.init` must be a wav2vec 2.0 encoder, but '{init}' is not: {reason}"
        ) from e
