"""Cut models, with the run and selection from which they were cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.network.cutting import cut
from supernet.runs.background import background_of
from supernet.runs.model_file import Model, description, save
from supernet.runs.opening import network_of
from supernet.runs.run import Run
from supernet.runs.selection_file import Choice, Selection
from supernet.units import Subnet


@dataclass(frozen=True)
class Cut:
    """A cut model and its provenance."""

    model: Model
    subnet: Subnet
    provenance: dict[str, str]

    @classmethod
    def of(cls, model: Model, choice: Choice, origin: Mapping[str, str]) -> Cut:
        """Cut ``choice`` out of ``model``; ``origin`` is the provenance of all cuts of its selection."""
        small = Model(cut(model.recognizer, choice.subnet), model.tokens, model.lengths)
        return cls(small, choice.subnet, {**origin, "budget": choice.budget})

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``model.json`` and ``tokens.txt``."""
        save(self.model, folder / "model", self.provenance)

    def description(self) -> dict[str, Any]:
        """The contents of ``model.json``."""
        return description(self.model, self.provenance)


def origin_of(run: Run, selection: Selection) -> dict[str, str]:
    """The provenance of the cuts of a selection: the run, its weights, which are read whole, and the
    strategy.
    """
    known = background_of(run.folder)
    found = {"origin": known.origin, "license": known.license}
    return {
        "run": run.folder.resolve().name,
        "network": network_of(run),
        "selection": selection.strategy,
        **{name: value for name, value in found.items() if value is not None},
    }
