"""Cut a subnet out as a small ordinary model that computes exactly what the supernet computes with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.config import Config
from supernet.network.supernet_ctc import Recogniser
from supernet.runs.checkpoint import Model, description, fingerprint, save, weights
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
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
        return cls(
            Model(cut(model.recogniser, choice.subnet), model.tokens, model.lengths),
            choice.subnet,
            provenance,
        )

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``model.json`` and ``tokens.txt``."""
        save(self.model, folder / "model", self.provenance)

    def description(self) -> dict[str, Any]:
        """What ``model.json`` holds."""
        return description(self.model, self.provenance)
