"""Saved models, supernets and cut ones, as safetensors and JSON. Nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from supernet.audio.lengths import Lengths
from supernet.config import Config, ModelConfig, PassesConfig
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.network.tensor_names import SCORES, TRAINING_ONLY, renamed
from supernet.runs.records import ModelRecord, TokensRecord, checked
from supernet.runs.run import RunError
from supernet.settings.plugins import validated
from supernet.system.files import read_json, whole_file, write_json
from supernet.text.tokens import MODEL_FILE, Tokens
from supernet.units import Subnet

FORMAT = 1


@dataclass(frozen=True)
class Model:
    """A recognizer with its tokens."""

    recognizer: SupernetCTC
    tokens: Tokens
    lengths: Lengths | None = None
    """The lengths of the utterances that it was trained on, if known."""


def save(model: Model, stem: Path, provenance: Mapping[str, str] | None = None) -> None:
    """Write ``STEM.safetensors`` and ``STEM.json``, and the files of the tokens in the same folder.

    Args:
        model: The model.
        stem: The path without extension.
        provenance: The origin of a cut model.
    """
    recognizer = model.recognizer
    names, state = weights(recognizer), recognizer.state_dict()
    tensors = {name: t.contiguous().cpu() for name, t in state.items() if name in names}
    tensors[SCORES] = recognizer.scorer.importance().detach().contiguous().cpu()
    with whole_file(stem.with_name(stem.name + ".safetensors")) as file:
        save_file(tensors, file)
    write_json(stem.with_name(stem.name + ".json"), description(model, provenance))
    model.tokens.save(stem.with_name("tokens.txt"))


def description(model: Model, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The contents of ``STEM.json``: all that is needed, besides the tensors, to use the model elsewhere."""
    config = model.recognizer.config
    return {
        "format": FORMAT,
        "granularity": config.granularity,
        "num_layers": config.num_layers,
        "sizes": list(model.recognizer.sizes),
        "kept": [unit.name for unit in model.recognizer.table.units],
        "tokens": {"kind": model.tokens.kind, "symbols": list(model.tokens.symbols)},
        "model": _network(config.model),
        "features": dict(model.recognizer.input.description),
        "intermediate_weight": config.passes.intermediate_weight,
        **({} if model.lengths is None else {"lengths": model.lengths.as_json()}),
        **({} if provenance is None else {"provenance": dict(provenance)}),
    }


def _network(model: ModelConfig) -> dict[str, Any]:
    """The network's settings, without the folder of `model.init`, as models are shared with others."""
    data = model.model_dump(mode="json")
    return data | {"init": data["init"] and Path(data["init"]).name}


def fingerprint(stem: Path) -> str:
    """A hash that identifies a model's weights, to which selections and losses belong."""
    path = stem.with_name(stem.name + ".safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def checkpoint_of(stem: Path) -> str | None:
    """The fingerprint of the checkpoint of another program that was saved whole at ``stem``. None: the model
    has another origin.
    """
    origin = read_json(stem.with_name(stem.name + ".json")).get("provenance")
    if not isinstance(origin, Mapping) or "checkpoint" not in origin:
        return None
    return str(origin.get("network"))


def load(stem: Path) -> Model:
    """Read a saved model. Raises ``RunError`` if it is missing or damaged."""
    described, file = stem.with_name(stem.name + ".json"), stem.with_name(stem.name + ".safetensors")
    record = _record(described)
    try:
        file.open("rb").close()
    except OSError as e:
        raise RunError(f"'{file}' must be readable, but is not: {e.strerror}.") from None
    try:
        with safe_open(file, "pt") as opened:
            names = opened.keys()
            shapes = {renamed(name): tuple(opened.get_slice(name).get_shape()) for name in names}
        tokens = _tokens(record.tokens, stem.with_name(MODEL_FILE))
        recognizer = _built(record, len(tokens), shapes)
        recognizer.load_state_dict(_finite(load_file(file)), strict=False)
    # With arbitrary settings, PyTorch and the engine can fail in many ways.
    except Exception as e:
        reason = (str(e) or type(e).__name__).splitlines()[0][:300].rstrip(".")
        raise RunError(f"'{file}' and '{described}' must be a model, but are not: {reason}.") from None
    lengths = None if record.lengths is None else Lengths(**record.lengths.model_dump())
    return Model(recognizer.eval(), tokens, lengths)


def load_tokens(stem: Path) -> Tokens:
    """Read the tokens of a saved model alone. Raises ``RunError`` if they are missing or damaged."""
    described = stem.with_name(stem.name + ".json")
    record = _record(described)
    try:
        return _tokens(record.tokens, stem.with_name(MODEL_FILE))
    except (ValueError, OSError, RuntimeError) as e:
        raise RunError(f"'{described}' must describe a model, but does not: {e}.") from None


def _record(described: Path) -> ModelRecord:
    try:
        return checked(ModelRecord, read_json(described), described)
    except UserError as e:
        raise RunError(str(e)) from None


def _tokens(record: TokensRecord, pieces: Path) -> Tokens:
    if record.kind == "pieces" and not pieces.is_file():
        raise ValueError(f"its tokens are pieces, but '{pieces.name}' is not in its folder")
    model = pieces.read_bytes() if record.kind == "pieces" else None
    return Tokens(tuple(record.symbols), record.kind, model)


def _built(record: ModelRecord, num_tokens: int, shapes: Mapping[str, tuple[int, ...]]) -> SupernetCTC:
    """The described network, if its tensors have these ``shapes``. Checked first, so that a malicious
    description cannot allocate more memory than the tensors.
    """
    if len(record.kept) > len(shapes):
        raise ValueError(f"`kept` names {len(record.kept)} units, but there are {len(shapes)} tensors")
    problems: list[str] = []
    settings = {**record.model, "num_layers": record.num_layers}
    model = validated(ModelConfig, settings, "model.", problems)
    if problems:
        raise ValueError(" ".join(problems))
    passes = PassesConfig(intermediate_weight=record.intermediate_weight)
    config = Config(granularity=record.granularity, sizes=tuple(record.sizes), model=model, passes=passes)
    subnet = Subnet(record.granularity, tuple(record.kept))
    with torch.device("meta"), _Unfilled():
        wanted = SupernetCTC(config, num_tokens, subnet=subnet).state_dict()
    for name in (name for name in {**wanted, **shapes} if name not in TRAINING_ONLY):
        is_shape = tuple(wanted[name].shape) if name in wanted else None
        if shapes.get(name) != is_shape:
            raise ValueError(
                f"tensor '{name}' must be of shape {_shown(is_shape)}, but is of {_shown(shapes.get(name))} "
                "instead"
            )
    return SupernetCTC(config, num_tokens, subnet=subnet)


class _Unfilled(TorchFunctionMode):
    """Leaves tensors as they are made, for networks without values.

    Filling them would import PyTorch's compiler, which computes the shapes of the results: a second.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):  # in place
            return [*args, *(kwargs or {}).values()][0]
        return func(*args, **(kwargs or {}))


def _shown(shape: tuple[int, ...] | None) -> str:
    return "none at all" if shape is None else " × ".join(map(str, shape)) or "a number"


def _finite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for name, tensor in tensors.items():
        if not (tensor.is_floating_point() and bool(tensor.isfinite().all())):
            raise ValueError(f"tensor '{name}' must hold finite numbers, but does not")
    return tensors
