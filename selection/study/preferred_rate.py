"""The learning rate that the validation split prefers, so that each way of training has its own best one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated

from optuna.study import Study
from pydantic import Field

from supernet.errors import Divergence

LearningRates = tuple[Annotated[float, Field(gt=0)], ...]
RATES = "rates of "
"""Beginning of the names of a study's attributes that hold the error rate found for each learning rate."""


def preferred_rate(
    study: Study,
    training: str,
    rates: Sequence[float],
    error: Callable[[float], float],
    say: Callable[[str], object],
) -> float:
    """The learning rate with the lowest validation error rate, which is found only once in a study.

    Args:
        study: Remembers the error rates, for other trials and other workers.
        training: The name of what is trained.
        rates: The learning rates to try.
        error: Trains with a learning rate and returns the error rate on the validation split.
        say: Tells the user the error rates.

    Raises:
        Divergence: The training diverges with every learning rate.
    """
    if (known := tried(study, training)) is None:
        known = {rate: _error(error, rate, say) for rate in rates}
        study.set_user_attr(RATES + training, json.dumps({str(rate): known[rate] for rate in rates}))
    best = min(known, key=lambda rate: known[rate])
    if math.isinf(known[best]):
        raise Divergence(f"`rates` must have one with which `{training}` does not diverge, but has none.")
    shown = ", ".join(f"{rate:g}: {100 * value:.2f}%" for rate, value in known.items())
    say(f"{training}: learning rate {best:g} (validation errors {shown})")
    return best


def tried(study: Study, training: str) -> dict[float, float] | None:
    """The validation error rate by learning rate, infinite where the training diverged; None: not tried."""
    found = study.user_attrs.get(RATES + training)
    return None if found is None else {float(rate): float(error) for rate, error in json.loads(found).items()}


def _error(error: Callable[[float], float], rate: float, say: Callable[[str], object]) -> float:
    try:
        return error(rate)
    except Divergence as e:
        say(str(e))
        return math.inf
