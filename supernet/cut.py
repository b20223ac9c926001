"""Cut a subnet out as a small ordinary model that computes exactly what the supernet computes with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from supernet.checkpoint import Model, load, num_parameters, save, weights
from supernet.cli import choose_subnet, main_guard
from supernet.config import Config
from supernet.model import Recogniser
from supernet.run import Run
from supernet.units import Subnet


def cut(recogniser: Recogniser, subnet: Subnet, size: int | None = None) -> Recogniser:
    """What ``subnet`` keeps of ``recogniser``, as a model of its own, read by the head of ``size``
    (default: its own).
    """
    size = subnet.size if size is None else size
    small = Recogniser(_small_config(recogniser.config, subnet.size), recogniser.num_tokens, subnet=subnet)
    small.to(recogniser.scores.device, recogniser.scores.dtype)  # else copying rounds
    state = recogniser.state_dict()
    head = f"heads.{recogniser.head(size)}."
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
