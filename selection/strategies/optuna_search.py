"""Search with any of Optuna's samplers, over one importance per unit."""

from __future__ import annotations

from typing import Annotated, Any

import optuna
from optuna.trial import Trial
from pydantic import Field, model_validator

from selection.evidence import Evidence
from selection.strategies import samplers
from selection.strategy import Strategy
from supernet.budget import Budget
from supernet.config import Section
from supernet.units import Kept

Positive = Annotated[int, Field(ge=1)]


class OptunaSearchOptions(Section):
    """Options of ``optuna``."""

    sampler: str = "TPESampler"
    """Name of a class in ``optuna.samplers``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the sampler."""
    trials: Positive = 128
    """Number of subnets to score."""
    batch: Positive = 8
    """Number of subnets to score at once; those with the same first units share computation."""
    seed: int = 0
    """Seed of the sampler."""

    @model_validator(mode="after")
    def _check(self) -> OptunaSearchOptions:
        if found := samplers.problems("sampler", self.sampler, self.options):
            raise ValueError("; ".join(problem.rstrip(".") for problem in found))
        return self


class OptunaSearch(Strategy[OptunaSearchOptions]):
    """Sample an importance for each unit, keep the most important units that fit, report the loss."""

    Options = OptunaSearchOptions

    def select(self, evidence: Evidence, budget: Budget) -> Kept:
        o = self.options
        study = optuna.create_study(sampler=samplers.make_sampler(o.sampler, o.options, o.seed))
        losses: dict[Kept, float] = {}
        for start in range(0, o.trials, o.batch):
            trials = [study.ask() for _ in range(min(o.batch, o.trials - start))]
            subnets = [_subnet(trial, budget) for trial in trials]
            found = evidence.losses(subnets)
            losses |= zip(subnets, found, strict=True)
            for trial, loss in zip(trials, found, strict=True):
                study.tell(trial, loss)
        return min(losses, key=lambda kept: losses[kept])


def _subnet(trial: Trial, budget: Budget) -> Kept:
    importance = [trial.suggest_float(str(unit), 0.0, 1.0) for unit in range(budget.num_units)]
    return budget.fill(sorted(range(budget.num_units), key=lambda unit: -importance[unit]))
