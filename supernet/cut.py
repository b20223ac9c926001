"""Cut a subnet out as a small ordinary model: safetensors and JSON, computing exactly what the supernet
computes with it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from supernet.config import Config, ModelConfig, PassesConfig
from supernet.model import Recogniser
from supernet.run import Run, RunError
from supernet.tokens import Tokens
from supernet.units import Subnet

FORMAT = 1
_TRAINING_ONLY = ("masks", "phase", "skipped_updates", "skipped_in_a_row")


@dataclass(frozen=True)
class Model:
    """A recogniser with what it needs to write text."""

    recogniser: Recogniser
    tokens: Tokens


def cut(recogniser: Recogniser, subnet: Subnet, size: int | None = None) -> Recogniser:
    """What ``subnet`` keeps of ``recogniser``, as a model of its own, read by the head of ``size``
    (default: its own).
    """
    size = subnet.size if size is None else size
    small = Recogniser(_small_config(recogniser.config, subnet.size), recogniser.num_tokens, subnet=subnet)
    small.to(recogniser.scores.device, recogniser.scores.dtype)  # else copying rounds
    state = recogniser.state_dict()
    head = f"heads.{recogniser.head(size)}."
    wanted = {
        name: state[name.replace("heads.shared.", head)]
        for name in small.state_dict()
        if name in _weights(small)
    }
    small.load_state_dict(wanted, strict=False)
    return small.eval()


def _small_config(config: Config, size: int) -> Config:
    model = config.model.model_copy(update={"num_layers": config.num_layers, "heads": "shared"})
    return config.model_copy(
        update={"sizes": (size,), "model": model, "passes": PassesConfig(**_without_shares(config.passes))}
    )


def _without_shares(passes: PassesConfig) -> dict[str, Any]:
    return {**passes.model_dump(), "shares": None}


def _weights(model: Recogniser) -> set[str]:
    """The names of what recognises: everything but scores and the schedule's memory."""
    return {name for name in model.state_dict() if name not in (*_TRAINING_ONLY, "scores")}


def num_parameters(model: Recogniser) -> int:
    """Parameters that recognise."""
    weights = _weights(model)
    return sum(p.numel() for name, p in model.named_parameters() if name in weights)


def save(model: Model, stem: Path) -> None:
    """Write ``STEM.safetensors`` and ``STEM.json``."""
    recogniser = model.recogniser
    names = _weights(recogniser) | {"scores"}
    tensors = {name: t.contiguous().cpu() for name, t in recogniser.state_dict().items() if name in names}
    save_file(tensors, stem.with_name(stem.name + ".safetensors"))
    config = recogniser.config
    description = {
        "format": FORMAT,
        "granularity": config.granularity,
        "num_layers": config.num_layers,
        "sizes": list(recogniser.sizes),
        "kept": [unit.name for unit in recogniser.table.units],
        "tokens": {"kind": model.tokens.kind, "symbols": list(model.tokens.symbols)},
        "model": config.model.model_dump(mode="json"),
        "intermediate_weight": config.passes.intermediate_weight,
    }
    stem.with_name(stem.name + ".json").write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def load(stem: Path) -> Model:
    """Read what :func:`save` wrote. Raises :class:`~supernet.run.RunError` where it is missing or damaged."""
    try:
        data = json.loads(stem.with_name(stem.name + ".json").read_text(encoding="utf-8"))
        tensors = load_file(stem.with_name(stem.name + ".safetensors"))
        return _build(data, tensors)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as e:
        raise RunError(
            f"'{stem}.safetensors' and '{stem}.json' must be a model, but are not: {_first_line(e)}."
        ) from None


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    return (str(error) or type(error).__name__).splitlines()[0]


def _build(data: Any, tensors: Any) -> Model:
    model = ModelConfig.model_validate({**data["model"], "num_layers": data["num_layers"]})
    passes = PassesConfig(intermediate_weight=data["intermediate_weight"])
    config = Config(granularity=data["granularity"], sizes=tuple(data["sizes"]), model=model, passes=passes)
    tokens = Tokens(tuple(data["tokens"]["symbols"]), data["tokens"]["kind"])
    recogniser = Recogniser(config, len(tokens), subnet=Subnet(data["granularity"], tuple(data["kept"])))
    missing, unexpected = recogniser.load_state_dict(tensors, strict=False)
    if unexpected or set(missing) - set(_TRAINING_ONLY):
        raise ValueError(f"its tensors do not fit its description, e.g. {[*unexpected, *missing][0]}")
    return Model(recogniser.eval(), tokens)


def main(arguments: list[str] | None = None) -> None:
    """``python -m supernet.cut RUN --size 6 --out FOLDER``"""
    from supernet.cli import choose_subnet, main_guard

    parser = argparse.ArgumentParser(
        prog="python -m supernet.cut", description="Cut one size out of a trained supernet."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--size", type=int, help="size to cut out (default: the smallest)")
    parser.add_argument("--selection", type=Path, help="a selection file instead of the run's own choice")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for model.safetensors, model.json and tokens.txt"
    )
    args = parser.parse_args(arguments)
    with main_guard():
        run = Run.open(args.run)
        model = load(run.model_stem)
        size, subnet = choose_subnet(run, model, args.size, args.selection)
        args.out.mkdir(parents=True, exist_ok=True)
        small = Model(cut(model.recogniser, subnet, size), model.tokens)
        save(small, args.out / "model")
        model.tokens.save(args.out / "tokens.txt")
        print(
            f"{args.out}: {subnet.size} {subnet.granularity}s, "
            f"{num_parameters(small.recogniser):,} parameters"
        )


if __name__ == "__main__":
    main()
