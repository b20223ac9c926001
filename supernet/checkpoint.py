"""Models that are handed on: safetensors and JSON, a supernet's or a cut one's. Nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from supernet.config import Config, ModelConfig, PassesConfig
from supernet.files import read_json, whole_file, write_json
from supernet.model import Recogniser
from supernet.run import RunError
from supernet.tokens import MODEL_FILE, Tokens
from supernet.units import Subnet

FORMAT = 1
_TRAINING_ONLY = ("masks", "phase", "skipped_updates", "skipped_in_a_row")


@dataclass(frozen=True)
class Model:
    """A recogniser with what it needs to write text."""

    recogniser: Recogniser
    tokens: Tokens


def weights(model: Recogniser) -> set[str]:
    """The names of what recognises: everything but scores and the schedule's memory."""
    return {name for name in model.state_dict() if name not in (*_TRAINING_ONLY, "scores")}


def num_parameters(model: Recogniser) -> int:
    """Parameters that recognise."""
    names = weights(model)
    return sum(p.numel() for name, p in model.named_parameters() if name in names)


def save(model: Model, stem: Path, provenance: Mapping[str, str] | None = None) -> None:
    """Write ``STEM.safetensors`` and ``STEM.json``, and the tokens' files beside them; ``provenance`` says
    where a cut model comes from.
    """
    recogniser = model.recogniser
    names = weights(recogniser) | {"scores"}
    tensors = {name: t.contiguous().cpu() for name, t in recogniser.state_dict().items() if name in names}
    with whole_file(stem.with_name(stem.name + ".safetensors")) as file:
        save_file(tensors, file)
    write_json(stem.with_name(stem.name + ".json"), description(model, provenance))
    model.tokens.save(stem.with_name("tokens.txt"))


def description(model: Model, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything but the tensors that computing the same somewhere else needs."""
    config = model.recogniser.config
    return {
        "format": FORMAT,
        "granularity": config.granularity,
        "num_layers": config.num_layers,
        "sizes": list(model.recogniser.sizes),
        "kept": [unit.name for unit in model.recogniser.table.units],
        "tokens": {"kind": model.tokens.kind, "symbols": list(model.tokens.symbols)},
        "model": config.model.model_dump(mode="json"),
        "features": dict(model.recogniser.input.description),
        "intermediate_weight": config.passes.intermediate_weight,
        **({} if provenance is None else {"provenance": dict(provenance)}),
    }


def fingerprint(stem: Path) -> str:
    """What tells a model's weights from any others: selections and losses belong to one network."""
    path = stem.with_name(stem.name + ".safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def load(stem: Path) -> Model:
    """Read what :func:`save` wrote. Raises :class:`~supernet.run.RunError` where it is missing or damaged."""
    try:
        data = read_json(stem.with_name(stem.name + ".json"))
        tensors = load_file(stem.with_name(stem.name + ".safetensors"))
        return _build(data, tensors, _tokens(data["tokens"], stem.with_name(MODEL_FILE)))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        raise RunError(
            f"'{stem}.safetensors' and '{stem}.json' must be a model, but are not: {_first_line(e)}."
        ) from None


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (str(error) or type(error).__name__).splitlines()[0]


def _tokens(data: Any, pieces: Path) -> Tokens:
    if data["kind"] == "pieces" and not pieces.is_file():
        raise ValueError(f"its tokens are pieces, and '{pieces.name}' is not beside it")
    model = pieces.read_bytes() if data["kind"] == "pieces" else None
    return Tokens(tuple(data["symbols"]), data["kind"], model)


def _build(data: Any, tensors: Any, tokens: Tokens) -> Model:
    model = ModelConfig.model_validate({**data["model"], "num_layers": data["num_layers"]})
    passes = PassesConfig(intermediate_weight=data["intermediate_weight"])
    config = Config(granularity=data["granularity"], sizes=tuple(data["sizes"]), model=model, passes=passes)
    recogniser = Recogniser(config, len(tokens), subnet=Subnet(data["granularity"], tuple(data["kept"])))
    missing, unexpected = recogniser.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - set(_TRAINING_ONLY):
        raise ValueError(f"its tensors do not fit its description, e.g. {[*unexpected, *missing][0]}")
    return Model(recogniser.eval(), tokens)
