"""Latency budgets, met as measured: the sum of the units' prices is an estimate, so a subnet that was chosen
by it is cut out and timed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from selection.measuring.evidence_store import EvidenceStore
from supernet.budget import SLACK, Budget
from supernet.network.cutting import cut
from supernet.network.model_costs import latency
from supernet.network.supernet_ctc import SupernetCTC
from supernet.units import Kept

ROUNDS = 8
"""Most choices of a strategy, each for a lower limit, until the measured latency meets the budget."""


class WholeTimer:
    """Latency of subnets in seconds, each cut out and timed once, so that choices are reproducible."""

    def __init__(
        self,
        recognizer: SupernetCTC,
        seconds: float,
        store: EvidenceStore,
        network: str,
        name: str,
        anew: bool,
    ) -> None:
        """Time subnets of ``recognizer``.

        Args:
            recognizer: The supernet.
            seconds: Length of the audio.
            store: Where times are kept.
            network: Fingerprint of the weights.
            name: Name of the machine and the length of the audio in the store.
            anew: Whether to ignore times in the store.
        """
        self._recognizer, self._seconds, self._anew = recognizer, seconds, anew
        self._store, self._network, self._name = store, network, name
        self._known: dict[Kept, float] = {}
        self.is_busy = False
        """Whether the machine was busy with other work while any subnet was timed."""

    def __call__(self, kept: Kept) -> float:
        if kept not in self._known:
            self._known[kept] = self._measured(kept)
        return self._known[kept]

    def _measured(self, kept: Kept) -> float:
        fact = f"{self._name}/whole/{''.join('1' if keep else '0' for keep in kept)}"
        found = None if self._anew else self._store.fact(self._network, fact, (2,))
        if found is None:
            timing = latency(cut(self._recognizer, self._recognizer.table.subnet(kept)), self._seconds)
            found = np.array([timing.best, float(timing.is_busy)]), 0.0
            self._store.add_fact(self._network, fact, *found)
        seconds, is_busy = (float(x) for x in found[0])
        self.is_busy = self.is_busy or bool(is_busy)
        return seconds


def fit_measured(
    choose: Callable[[Budget], Kept], budget: Budget, whole: Callable[[Kept], float]
) -> tuple[Kept, Budget]:
    """Choose a subnet whose measured latency meets a budget.

    Args:
        choose: A strategy, which meets budgets by the sum of the units' prices.
        budget: The latency budget.
        whole: Measures the latency of a whole subnet in seconds.

    Returns:
        The subnet, and the budget, perhaps a lower one, for which it was chosen. If no choice meets the
        budget, the one that comes closest.
    """
    asked, nearest = budget, None
    for left in reversed(range(ROUNDS)):
        kept = asked.full if asked.fits(asked.full) else choose(asked)
        took = whole(kept)
        if took <= budget.limit * SLACK:
            return kept, asked
        if nearest is None or took < nearest[0]:
            nearest = took, kept, asked
        price, cheapest = budget.prices.of(kept), budget.prices.cheapest
        if price <= cheapest * SLACK:
            break
        # Lower by the excess, and below the price of this subnet; in the last round, a single unit.
        limit = min(asked.limit, price * min(1 - 1e-6, budget.limit / took))
        asked = replace(budget, limit=max(cheapest, limit if left > 1 else cheapest))
    assert nearest is not None
    return nearest[1:]


def sums_and_wholes(
    budgets: Iterable[Budget], chosen: Mapping[str, Mapping[str, Kept]], whole: Callable[[Kept], float]
) -> dict[str, dict[str, tuple[float, float]]]:
    """For latency budgets, by strategy: the sum over the chosen units and the measured latency, in seconds.

    The full network is included: if its two times differ as well, the speed of the machine has changed since
    the units were timed.
    """
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for budget in (b for b in budgets if b.is_measured):
        kept = {"full network": budget.full, **chosen[budget.name]}
        found[budget.name] = {name: (budget.prices.of(k), whole(k)) for name, k in kept.items()}
    return found
