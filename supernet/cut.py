"""Cut a subnet out as a small ordinary model that computes exactly what the supernet computes with it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.checkpoint import Model, description, fingerprint, load, num_parameters, save, weights
from supernet.cli import main_guard
from supernet.config import Config
from supernet.console.options import add_subnet_options
from supernet.console.text import say
from supernet.model import Recogniser
from supernet.opening import choose, open_selection
from supernet.run import Run
from supernet.selections import Choice, Selection
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


@dataclass(frozen=True)
class Cut:
    """A cut model that says where it comes from."""

    model: Model
    subnet: Subnet
    provenance: dict[str, str]

    @classmethod
    def of(cls, run: Run, model: Model, selection: Selection, choice: Choice) -> Cut:
        """``choice`` of ``selection``, cut out of the ``model`` of ``run``."""
        provenance = {
            "run": run.folder.resolve().name,
            "network": fingerprint(run.model_stem),
            "selection": selection.strategy,
            "budget": choice.budget,
        }
        return cls(Model(cut(model.recogniser, choice.subnet), model.tokens), choice.subnet, provenance)

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``model.json`` and ``tokens.txt``."""
        save(self.model, folder / "model", self.provenance)

    def description(self) -> dict[str, Any]:
        """What ``model.json`` holds."""
        return description(self.model, self.provenance)


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
        selection = open_selection(run, model, args.selection)
        small = Cut.of(run, model, selection, choose(selection, args.size))
        args.out.mkdir(parents=True, exist_ok=True)
        small.save(args.out)
        size, kind = small.subnet.size, small.subnet.granularity
        parameters = num_parameters(small.model.recogniser)
        say(f"{args.out}: {size} {kind}{'' if size == 1 else 's'}, {parameters:,} parameters")


if __name__ == "__main__":
    main()
