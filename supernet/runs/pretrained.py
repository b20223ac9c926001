"""Networks that begin as a pretrained encoder: what `model.init` names, what it decides, and its weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from fairseq2.assets import AssetCard, get_asset_store
from fairseq2.models.wav2vec2 import Wav2Vec2Model, get_wav2vec2_model_hub
from torch import nn

from supernet.config import ModelConfig
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.wav2vec2 import as_data, is_supported, normalizes_behind
from supernet.runs import warm_start
from supernet.system.files import read_yaml
from supernet.text.tokens import Tokens

Data = dict[str, Any]
T = TypeVar("T")

_MEANINGLESS = ("layer_type", "kernel", "convolution_bias", "positions", "frontend_channels", "start_scale")
"""Settings of networks that begin with random weights."""


class PretrainedError(UserError):
    """`model.init` cannot be used; the message says why."""


def completed(data: Data, problems: list[str]) -> Data:
    """``data`` with all that `model.init` decides; what contradicts it goes to ``problems``."""
    model = data.get("model")
    if not isinstance(model, Mapping) or model.get("init") is None:
        return data
    try:
        if warm_start.is_own(str(model["init"])):
            return warm_start.completed(data, problems)
        if model.get("init_weights") is not None and not Path(str(model["init"])).exists():
            return data  # a saved configuration, complete
        encoder = _encoder(str(model["init"]), model.get("wav2vec2"))
    except (PretrainedError, warm_start.WarmStartError) as e:
        problems.append(str(e))
        ours = ("init", "init_weights", "wav2vec2", "freeze_frontend_steps")
        return {**data, "model": {name: value for name, value in model.items() if name not in ours}}
    decided = _decided(encoder)
    if model.get("wav2vec2") not in (None, encoder):
        problems.append(
            f"`model.init` must be what `model.wav2vec2` describes, but '{model['init']}' is not."
        )
    problems += [
        f"`model.{name}` must be {value!r} or left out with `model.init`, but is {model[name]!r} instead."
        for name, value in decided.items()
        if model.get(name, value) not in (value, None)
    ]
    if data.get("granularity") == "module" and normalizes_behind(encoder):
        problems.append(
            "`granularity` must be 'layer' with this `model.init`, whose layers normalize behind each module "
            "so that none can be left out, but is 'module' instead."
        )
    return {
        **data,
        "model": {**_dropout(encoder), **model, **decided, "wav2vec2": encoder},
        "task": {"input": "samples", **data.get("task", {})},
    }


def _decided(encoder: Data) -> Data:
    defaults = {name: ModelConfig.model_fields[name].default for name in _MEANINGLESS}
    return {
        **defaults,
        "layer_type": "transformer",
        "num_layers": encoder["num_encoder_layers"],
        "dim": encoder["model_dim"],
        "num_heads": encoder["num_encoder_attn_heads"],
        "ffn_dim": encoder["ffn_inner_dim"],
    }


def _dropout(encoder: Data) -> Data:
    """As in pretraining, unless it is set."""
    names = {
        "dropout": "dropout_p",
        "ffn_dropout": "ffn_inner_dropout_p",
        "attention_dropout": "attn_dropout_p",
    }
    return {ours: encoder[theirs] for ours, theirs in names.items()}


def _encoder(init: str, known: Data | None) -> Data:
    """What `model.wav2vec2` is to hold. A saved configuration knows it, should ``init`` be gone."""
    try:
        card = _card(init)
        config = _attempt(init, lambda: get_wav2vec2_model_hub().get_model_config(card).encoder_config)
    except PretrainedError:
        if known is None:
            raise
        return known
    if not is_supported(config):
        raise PretrainedError(
            "`model.init` must be a wav2vec 2.0 encoder that reads samples through the published convolutions"
            f" and has Transformer layers, but '{init}' is of another architecture instead."
        )
    return as_data(config)


def begin(recognizer: SupernetCTC, tokens: Tokens) -> None:
    """Give a new ``recognizer`` the weights of its `model.init`, if it has one.

    Raises ``PretrainedError``.
    """
    model = recognizer.config.model
    if model.init is None:
        return
    if model.init_weights is None:
        load_into(recognizer, model.init)
    else:
        warm_start.load_into(recognizer, tokens, model.init)


def load_into(recognizer: nn.Module, init: str) -> None:
    """Give ``recognizer``, built for it, the weights of ``init``. Raises ``PretrainedError``."""
    card, cpu = _card(init), torch.device("cpu")

    def load() -> None:
        model = get_wav2vec2_model_hub().load_model(card, device=cpu, dtype=torch.float32)
        missing, unexpected = recognizer.load_state_dict(weights(model), strict=False)
        if lost := [*unexpected, *(n for n in missing if n.startswith(("frontend.", "encoder.")))]:
            raise ValueError(f"its weights do not fit its configuration, e.g. {lost[0]}")

    _attempt(init, load)


def weights(model: Wav2Vec2Model) -> dict[str, torch.Tensor]:
    """The encoder's weights by our names."""
    return {
        name.replace("encoder_frontend.", "frontend.body.").replace("encoder.layer_norm.", "encoder.norm."): x
        for name, x in model.state_dict().items()
        if name.startswith(("encoder_frontend.", "encoder."))
    }


def _card(init: str) -> AssetCard:
    """What fairseq2 knows of ``init``."""
    path = Path(init)
    if path.is_dir():
        return _card_of_checkpoints(init, path)
    if path.is_file():
        return _card_of_file(init, path)
    if os.sep in init:
        raise PretrainedError(
            "`model.init` must be a run folder, a cut model, or a card of fairseq2's, its YAML file or a "
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
            f"`model.init` must be a card, which says what the weights belong to, but '{init}' is a file of "
            "weights alone. Write a YAML file with `name`, `model_family: wav2vec2`, `model_arch: base` (or "
            "large, large_lv60k) and `checkpoint: PATH`, and give that."
        )
    # A relative path in a card begins where the card is.
    return AssetCard(init, {**_metadata(init, file), "__base_path__": file.resolve().parent})


def _metadata(init: str, file: Path) -> Data:
    data = _attempt(init, lambda: read_yaml(file))
    if not isinstance(data, dict):
        raise PretrainedError(f"`model.init` must be a card of one model, but '{file}' holds none.")
    return {**data, "restrict": True}  # a stranger's card may not ask for code in its weights to be run


def _attempt(init: str, work: Callable[[], T]) -> T:
    try:
        return work()
    # fairseq2, PyTorch, YAML and the file system each have their own exceptions for what cannot be used.
    except Exception as e:
        reason = " ".join(str(e.__cause__ or e).split())[:300] or type(e).__name__
        raise PretrainedError(
            f"`model.init` must be a wav2vec 2.0 encoder, but '{init}' is not: {reason}"
        ) from e
