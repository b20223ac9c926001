"""Given masks, trained jointly: the control for every method that learns which units to keep."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from supernet.budget import Budget
from supernet.config import Section
from supernet.method import Method, Phase
from supernet.scorer import Context
from supernet.training.phases import joint_training
from supernet.units import Kept, Subnet


class FixedOptions(Section):
    masks: Literal["first-k", "last-k", "every-other", "random"] = "first-k"
    """The units that each size keeps: the first, the last, evenly spaced ones, or random ones, always with
    those of the next smaller size.
    """
    mask_seed: int = 0
    """Seed of random masks, independent of the seed of the training."""
    selection: Path | None = None
    """A file of subnets, such as selections/greedy.json of a run, or a run folder, instead of
    `method.masks`.
    """
    kept: dict[str, tuple[str, ...]] | None = None
    """Names of the units of each size or budget, instead of `method.masks`; filled in from
    `method.selection`. The whole network need not be among them.
    """

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: Any) -> Any:
        """Fill in ``kept``, so that the saved configuration does not depend on the file."""
        if not isinstance(data, Mapping) or data.get("kept") is not None:
            return data
        if not isinstance(path := data.get("selection"), (str, Path)):
            return data
        subnets = Subnet.load_each(Path(path).expanduser())
        return {**data, "kept": {name: subnet.kept for name, subnet in subnets.items()}}


class Fixed(Method[FixedOptions]):
    """Train all sizes jointly with masks that are given instead of learned."""

    Options = FixedOptions

    def phases(self) -> Sequence[Phase]:
        return joint_training(self.config.train.num_steps, self.config)

    def problems(self) -> list[str]:
        return [] if self.options.kept is None else [p for b in self.budgets for p in self._problems_of(b)]

    def _problems_of(self, budget: Budget) -> list[str]:
        try:
            kept = self._given(budget)
        except ValueError as e:
            return [str(e)]
        if budget.counts_units and sum(kept) != budget.limit:
            rule = f"`method.kept` must name {budget.limit:g} units for size {budget.name}"
            return [f"{rule}, but names {sum(kept)} instead"]
        return [] if budget.fits(kept) else [f"`method.kept` must fit the budget {budget.name}, but does not"]

    def choose(self, context: Context, budget: Budget) -> Kept:
        if self.options.kept is not None:
            return self._given(budget)
        kept = (False,) * len(self.table)
        for one in (*(smaller for smaller in self.budgets if smaller.limit < budget.limit), budget):
            kept = self._grown(kept, one)
        return kept

    def _given(self, budget: Budget) -> Kept:
        assert self.options.kept is not None
        names = self.options.kept.get(budget.name)
        if names is None and budget.fits(self.table.full):
            return self.table.full
        if names is None:
            named = ", ".join(self.options.kept)
            rule = f"`method.kept` must name the units of {budget.name}"
            raise ValueError(f"{rule}, but names those of {named} instead")
        return self.table.kept(Subnet(self.config.granularity, names))

    def _grown(self, kept: Kept, budget: Budget) -> Kept:
        """``kept`` with as many units more as fit ``budget``."""
        order = list(range(len(kept)))
        match self.options.masks:
            case "last-k":
                order.reverse()
            case "random":
                random.Random(self.options.mask_seed).shuffle(order)
            case "every-other":
                return spread(kept, budget)
        return budget.fill(order, kept)


def spread(kept: Kept, budget: Budget) -> Kept:
    """``kept`` with as many evenly spaced ones of the other units as fit ``budget``."""
    free = [unit for unit, keep in enumerate(kept) if not keep]
    for count in range(len(free), 0, -1):
        added = {free[i * len(free) // count] for i in range(count)}
        grown = tuple(keep or unit in added for unit, keep in enumerate(kept))
        if budget.fits(grown):
            return grown
    return budget.fill(range(len(kept)), kept)
