"""Plain data: which units a supernet has, and which of them a subnet keeps. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Literal

from supernet.errors import UserError
from supernet.system.files import read_json, write_json

LayerType = Literal["conformer", "conformer-conv-first", "transformer"]

MODULES: dict[LayerType, tuple[str, ...]] = {
    "conformer": ("ffn1", "self_attn", "conv", "ffn2"),
    "conformer-conv-first": ("ffn1", "conv", "self_attn", "ffn2"),
    "transformer": ("self_attn", "ffn"),
}
"""The residual branches of a layer, in the order in which they run."""

FORMAT = 1
"""Of the file of a subnet."""

Kept = tuple[bool, ...]
"""For each unit of a table, whether a subnet keeps it."""


@dataclass(frozen=True, slots=True)
class Module:
    """A residual branch of a layer, as granularities see it."""

    name: str
    kind: str
    """``feed-forward``, ``attention``, ``convolution``, or what the encoder's family calls it."""
    divisions: int = 1
    """Into how many equal parts that need not know of each other it could be divided: the heads of an
    attention, the inner features of a feed-forward.
    """
    components: int | None = None
    """The number of parts that are units of the granularity `component`, see ``Branch.division``. None: the
    module is a unit as a whole.
    """


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest thing that can be kept or dropped."""

    name: str
    """``layers.3``, or ``layers.3.conv`` at module granularity."""
    layer: int
    """The 0-based number of the layer."""
    module: str | None = None
    """The name of the residual branch. None: the whole layer."""
    part: int | None = None
    """The 0-based number of the parallel part of the branch. None: the whole branch."""


@dataclass(frozen=True)
class Subnet:
    """The units that are kept, by name. Valid for any checkpoint of the supernet."""

    granularity: str
    kept: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.kept)

    def save(self, path: Path) -> None:
        data = {"format": FORMAT, "granularity": self.granularity, "size": self.size, "kept": list(self.kept)}
        write_json(path, data)

    @classmethod
    def load(cls, path: Path) -> Subnet:
        """Read what ``save`` wrote; raises ``UserError`` for anything else."""
        return cls.from_json(read_json(path), str(path))

    @classmethod
    def load_each(cls, path: Path) -> dict[str, Subnet]:
        """The subnets of a file, or of a run folder, by their sizes or budgets; raises ``UserError``."""
        if path.is_dir():
            return {file.stem: cls.load(file) for file in sorted(path.glob("subnets/*.json"))}
        data = read_json(path)
        choices = data.get("choices")
        found = [data] if not isinstance(choices, list) else choices
        subnets = [cls.from_json(one, str(path)) for one in found]
        names = [one.get("budget") or str(subnet.size) for one, subnet in zip(found, subnets, strict=True)]
        return dict(zip(map(str, names), subnets, strict=True))

    @classmethod
    def from_json(cls, data: object, where: str) -> Subnet:
        """A subnet that ``where``, for messages, holds. Raises ``UserError``."""
        match data:
            case {"format": format} if type(format) is not int or format != FORMAT:
                raise UserError(f"'{where}' must be of format {FORMAT}, but is of {format!r:.40} instead.")
            case {"granularity": str(granularity), "kept": [_, *_] as kept}:
                if all(isinstance(name, str) for name in kept) and len({*kept}) == len(kept):
                    return cls(granularity, tuple(kept))
        raise UserError(
            f"'{where}' must hold a subnet with `granularity` and the units that are `kept`, each once, but "
            "does not."
        )


@dataclass(frozen=True)
class UnitTable:
    """All units of one encoder, in the order in which they run (and of its scores and gates)."""

    granularity: str
    units: tuple[Unit, ...]

    def __len__(self) -> int:
        return len(self.units)

    @cached_property
    def position(self) -> dict[str, int]:
        return {unit.name: i for i, unit in enumerate(self.units)}

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The places of the units that run in one call: the parts of one module, or a unit by itself."""
        numbered = groupby(enumerate(self.units), key=lambda item: (item[1].layer, item[1].module))
        return tuple(tuple(i for i, _ in group) for _, group in numbered)

    @property
    def divided(self) -> tuple[tuple[int, ...], ...]:
        """The places of the parts of each module with several."""
        return tuple(group for group in self.groups if len(group) > 1)

    def parts_of(self, unit: Unit) -> list[Unit]:
        """The units of the same module as ``unit``, in order."""
        return [one for one in self.of_layer(unit.layer) if one.module == unit.module]

    def of_layer(self, layer: int) -> Mapping[Unit, int]:
        """The units of a 0-based layer, and their places in this table."""
        return self._by_layer.get(layer, {})

    @cached_property
    def _by_layer(self) -> dict[int, dict[Unit, int]]:
        found: dict[int, dict[Unit, int]] = {}
        for i, unit in enumerate(self.units):
            found.setdefault(unit.layer, {})[unit] = i
        return found

    @property
    def full(self) -> Kept:
        return (True,) * len(self)

    def first(self, size: int) -> Kept:
        """The first ``size`` units."""
        return tuple(i < size for i in range(len(self)))

    def top(self, scores: Sequence[float], size: int) -> Kept:
        """The ``size`` units with the highest scores; among equals, the earlier one."""
        ranking = sorted(range(len(self)), key=lambda i: (-scores[i], i))
        chosen = set(ranking[:size])
        return tuple(i in chosen for i in range(len(self)))

    def subnet(self, kept: Iterable[bool]) -> Subnet:
        chosen = tuple(unit.name for unit, keep in zip(self.units, kept, strict=True) if keep)
        return Subnet(self.granularity, chosen)

    def kept(self, subnet: Subnet) -> Kept:
        """The mask of ``subnet``. Raises ``ValueError`` where it was made for another network."""
        if subnet.granularity != self.granularity:
            raise ValueError(
                f"`subnet` must have the granularity '{self.granularity}' of this network, but has "
                f"'{subnet.granularity}' instead. A layer subnet and a module subnet are different networks."
            )
        if unknown := [name for name in subnet.kept if name not in self.position]:
            raise ValueError(
                f"`subnet` must keep units of this network ('{self.units[0].name}' to "
                f"'{self.units[-1].name}'), but keeps '{unknown[0]}' instead. "
                "Was it made for another network?"
            )
        chosen = set(subnet.kept)
        return tuple(unit.name in chosen for unit in self.units)

    def restricted(self, subnet: Subnet) -> UnitTable:
        """The table of a model from which everything but ``subnet`` was cut away."""
        kept = self.kept(subnet)
        return UnitTable(self.granularity, tuple(u for u, keep in zip(self.units, kept, strict=True) if keep))
