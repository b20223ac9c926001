"""Selection files: a subnet for each budget, and its provenance. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.runs.records import ChoiceRecord, SelectionRecord, checked
from supernet.system.files import as_name, read_json, safe_name, write_json
from supernet.units import Subnet

FORMAT = 1


@dataclass(frozen=True)
class Choice:
    """The subnet chosen for one budget."""

    budget: str
    """The budget as given by the user: ``6`` or ``params=50%``."""
    subnet: Subnet
    head: str = "shared"
    """The head of the subnet, also for ``loss``."""
    loss: float | None = None
    """Validation CTC loss per frame, if measured."""


@dataclass(frozen=True)
class Selection:
    """The subnets that a strategy chose."""

    strategy: str
    choices: tuple[Choice, ...]
    network: str | None = None
    """Fingerprint of the weights that it was made for. None: any network with these units."""

    def choice(self, budget: str | None = None) -> Choice:
        """The choice for a budget, or with that many units; the smallest if None.

        Raises:
            ValueError: There is none, or more than one.
        """
        if budget is None:
            return min(self.choices, key=lambda c: c.subnet.size)
        named = [c for c in self.choices if c.budget == budget]
        found = named or [c for c in self.choices if str(c.subnet.size) == budget]
        if len(found) == 1:
            return found[0]
        names = ", ".join(c.budget for c in found or self.choices)
        raise ValueError(f"must be one of {names}, the budgets there are, but is {budget} instead")

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        data = {"format": FORMAT, "strategy": self.strategy, "network": self.network}
        data["choices"] = [_as_data(choice) for choice in self.choices]
        write_json(path, data)

    @classmethod
    def load(cls, path: Path) -> Selection:
        """Read a file written by ``save`` or ``Subnet.save``.

        Raises:
            UserError: The file is neither.
        """
        data = read_json(path)
        if "choices" not in data:
            subnet = Subnet.from_json(data, str(path))
            return cls(as_name(path.stem), (Choice(str(subnet.size), subnet),))
        record = checked(SelectionRecord, data, path)
        strategy = as_name(path.stem) if record.strategy is None else record.strategy
        choices = tuple(_choice(choice, path) for choice in record.choices)
        return cls(safe_name(strategy, "strategy"), choices, record.network)


def _as_data(choice: Choice) -> dict[str, Any]:
    return {
        "budget": choice.budget,
        "size": choice.subnet.size,
        "granularity": choice.subnet.granularity,
        "kept": list(choice.subnet.kept),
        "head": choice.head,
        "loss": choice.loss,
    }


def _choice(data: dict[str, Any], file: Path) -> Choice:
    subnet, record = Subnet.from_json(data, str(file)), checked(ChoiceRecord, data, file)
    budget = str(subnet.size) if record.budget is None else record.budget
    return Choice(safe_name(budget, "budget"), subnet, record.head, record.loss)
