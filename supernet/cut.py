"""Cut a subnet out as a small ordinary model that computes exactly what the supernet computes with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.checkpoint import Model, load, num_parameters, save, weights
from supernet.cli import add_subnet_options, main_guard, open_subnet
from supernet.config import Config
from supernet.model import Recogniser
from supernet.run import Run
from supernet.units import Subnet


def cut(recogniser: Recogniser, subnet: Subnet) -> Recogniser:
    """What ``subnet`` keeps of ``recogniser``, as a model of its own, read by the head of its size."""
    small = Recogniser(_small_config(recogniser.config, subnet.size), recogniser.num_tokens, subnet=subnet)
    small.to(recogniser.scores.device, recogniser.scores.dtype)  # else copying rounds
    state = recogniser.state_dict()
    head = f"heads.{recogniser.head(subnet.size)}."
    wanted = {name: state[name.replace("heads.shared.", head)] for name in weights(small)}
    small.load_state_dict(wanted, strict=False)
    return small.eval()


def _small_config(config: Config, size: int) -> Config:
    model = config.model.model_copy(update={"num_layers": config.num_layers, "heads": "shared"})
    passes = config.passes.model_copy(update={"shares": None})
    return config.model_copy(update={"sizes": (size,), "model": model, "passes": passes})


def main(arguments: list[str] | None = None) -> None:
    """``python -m supernet.cut RUN --size 6 --out FOLDER``"""
    parser = argparse.ArgumentParser(
        prog="python -m supernet.cut", description="Cut one size out of a trained supernet."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    add_subnet_options(parser)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for model.safetensors, model.json and tokens.txt"
    )
    args = parser.parse_args(arguments)
    with main_guard():
        run = Run.open(args.run)
        model = load(run.model_stem)
        subnet = open_subnet(run, model, args)
        args.out.mkdir(parents=True, exist_ok=True)
        small = Model(cut(model.recogniser, subnet), model.tokens)
        save(small, args.out / "model")
        model.tokens.save(args.out / "tokens.txt")
        print(
            f"{args.out}: {subnet.size} {subnet.granularity}{'' if subnet.size == 1 else 's'}, "
            f"{num_parameters(small.recogniser):,} parameters"
        )


if __name__ == "__main__":
    main()
