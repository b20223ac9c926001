"""The cost of units, and limits on the cost of subnets: plain data without PyTorch."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from supernet.errors import ArgumentError
from supernet.units import Kept

Quantity = Literal["units", "params", "macs", "latency"]

SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "ms": 1e-3, "s": 1.0}
SLACK = 1 + 1e-9
"""Tolerance for the rounding of sums, so that a subnet that costs exactly the limit fits."""


@dataclass(frozen=True)
class SharedPrice:
    """What the parts of a module cost together, however many of them are kept: its norm, for example."""

    units: tuple[int, ...]
    price: float


@dataclass(frozen=True)
class Prices:
    """The cost of each unit in one quantity; ``base`` is the cost of all parts that always run."""

    quantity: Quantity
    base: float
    units: tuple[float, ...]
    shared: tuple[SharedPrice, ...] = ()

    @classmethod
    def counting(cls, num_units: int) -> Prices:
        """Every unit costs 1."""
        return cls("units", 0.0, (1.0,) * num_units)

    def of(self, kept: Kept) -> float:
        """The cost of a subnet."""
        together = sum(one.price for one in self.shared if any(kept[unit] for unit in one.units))
        alone = sum(price for price, keep in zip(self.units, kept, strict=True) if keep)
        return self.base + alone + together

    @property
    def full(self) -> float:
        return self.of((True,) * len(self.units))

    @property
    def cheapest_unit(self) -> int:
        """The unit of the cheapest subnet, which has no other."""
        alone = list(self.units)
        for one in self.shared:
            for unit in one.units:
                alone[unit] += one.price
        return alone.index(min(alone))

    @property
    def cheapest(self) -> float:
        """The cost of the cheapest subnet."""
        return self.of(tuple(unit == self.cheapest_unit for unit in range(len(self.units))))


@dataclass(frozen=True)
class Budget:
    """An upper limit on the cost of a subnet."""

    name: str
    """As the user wrote it: ``6``, or ``params=50%``."""
    limit: float
    prices: Prices

    @classmethod
    def of_size(cls, size: int, num_units: int) -> Budget:
        """At most ``size`` units."""
        return cls(str(size), float(size), Prices.counting(num_units))

    @property
    def counts_units(self) -> bool:
        """Whether this is a size, for which a strategy keeps exactly ``limit`` units."""
        return self.prices.quantity == "units"

    @property
    def is_measured(self) -> bool:
        """Whether the costs of units are estimates, so that a whole subnet must be timed."""
        return self.prices.quantity == "latency"

    @property
    def num_units(self) -> int:
        """The number of units of the supernet, not of the subnet."""
        return len(self.prices.units)

    @property
    def full(self) -> Kept:
        return (True,) * self.num_units

    def fits(self, kept: Kept) -> bool:
        """Whether the subnet has at least one unit and costs no more than the limit."""
        return any(kept) and self.prices.of(kept) <= self.limit * SLACK

    def fill(self, ranking: Iterable[int], start: Kept | None = None) -> Kept:
        """Add to ``start`` (default: no units) each unit of ``ranking``, in order, that still fits."""
        kept = list(start or (False,) * self.num_units)
        for unit in ranking:
            added = [*kept[:unit], True, *kept[unit + 1 :]]
            if self.fits(tuple(added)):
                kept = added
        return tuple(kept)

    def fill_by_worth(self, importance: Sequence[float], start: Kept | None = None) -> Kept:
        """Add to ``start`` the units of the highest importance per cost, skipping those that do not fit.

        Importance is measured relative to the least important unit. For a size, the most important units are
        added. Ties are broken in favor of earlier units.
        """
        least = min(importance)
        worth = [
            value if self.counts_units else (value - least) / max(price, 1e-12)
            for value, price in zip(importance, self.prices.units, strict=True)
        ]
        return self.fill(sorted(range(len(worth)), key=lambda unit: (-worth[unit], unit)), start)

    def addable(self, kept: Kept) -> list[int]:
        """The dropped units, each of which alone still fits in addition to ``kept``."""
        return [i for i, keep in enumerate(kept) if not keep and self.fits(toggled(kept, i))]

    @property
    def typical_size(self) -> int:
        """The number of units of average cost that fit, at least one, for methods that count units."""
        average = (self.prices.full - self.prices.base) / self.num_units
        count = (self.limit * SLACK - self.prices.base) / average if average else self.num_units
        return int(max(1.0, min(float(self.num_units), count)))  # the count may be plus or minus infinity


def toggled(kept: Kept, unit: int) -> Kept:
    """``kept`` with ``unit`` flipped."""
    return (*kept[:unit], not kept[unit], *kept[unit + 1 :])


class BudgetError(ArgumentError):
    """A malformed or impossible budget; the message is a sentence for the user."""

    def __init__(self, problem: str) -> None:
        super().__init__(["budget"], problem)


@dataclass(frozen=True)
class Wish:
    """A requested budget, before the cost of units is known."""

    name: str
    quantity: Quantity
    amount: float
    is_share: bool
    """Whether ``amount`` is a fraction of the supernet's cost."""

    @classmethod
    def parse(cls, text: str) -> Wish:
        """Parse ``params=50%``, ``params=1.5M``, ``macs=1.2G``, ``latency=20ms``, ``units=6`` or a size.

        Raises ``BudgetError``.
        """
        text = text.strip()
        quantity, _, amount = text.partition("=") if "=" in text else ("units", "=", text)
        match = re.fullmatch(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(%|[a-z]*)", amount.strip().lower())
        number, unit = (float(match[1]), match[2]) if match else (math.inf, "")  # so is 1e999
        if quantity not in get_args(Quantity) or number == math.inf or not _fits_quantity(quantity, unit):
            raise BudgetError(
                f"`budget` must look like params=50%, macs=1.2G, latency=20ms or units=6, "
                f"but is '{text}' instead."
            )
        if quantity == "units" and unit == "" and number != int(number):
            raise BudgetError(f"`budget` must count whole units, but is '{text}' instead.")
        name = f"{number:g}" if quantity == "units" and unit == "" else text
        return cls(name, quantity, number / 100 if unit == "%" else number * SCALES[unit], unit == "%")  # type: ignore[arg-type]

    @property
    def is_size(self) -> bool:
        """Whether this is a plain number of units."""
        return self.quantity == "units" and not self.is_share

    def priced(self, prices: Prices) -> Budget:
        """The budget for units of these costs.

        Raises ``BudgetError``, which names the lowest possible budget, if no subnet fits.
        """
        limit = self.amount * prices.full if self.is_share else self.amount
        budget = Budget(self.name, limit, prices)
        if prices.quantity == "units":
            if not 1 <= limit <= prices.full:
                raise BudgetError(
                    f"`size` must lie between 1 and {prices.full:g}, the units of this network, "
                    f"but is {self.name} instead."
                )
            return Budget(self.name, float(int(limit * SLACK)), prices)
        if limit * SLACK < prices.cheapest:
            raise BudgetError(
                f"`budget` {self.name} must leave room for at least one unit, but the cheapest subnet "
                f"costs {shown(prices.quantity, prices.cheapest)}, including "
                f"{shown(prices.quantity, prices.base)} for the frontend and the head, which always run. "
                f"Ask for {self._enough(prices)} or more."
            )
        return budget

    def _enough(self, prices: Prices) -> str:
        if self.is_share:
            return f"{self.quantity}={100 * prices.cheapest / prices.full + 0.05:.1f}%"
        # Add as much as `shown` may round away, so that the amount in the message is enough.
        margin = 0.000005 if prices.quantity == "latency" else 0.0005 * prices.cheapest
        return f"{self.quantity}={shown(prices.quantity, prices.cheapest + margin).replace(' ', '')}"


def budgets_problem(texts: Sequence[str]) -> str | None:
    """The reason why ``texts`` cannot be the budgets of one training, for the user; None if they can."""
    wishes = []
    for text in texts:
        try:
            wishes.append(Wish.parse(text))
        except BudgetError as e:
            return str(e).rstrip(".")
    if len({(wish.quantity, wish.is_share) for wish in wishes}) != 1:
        return (
            "`budgets` must limit one quantity, all by amounts or all by shares of the supernet, such as "
            f"macs=50%,75%,100%, but are {', '.join(texts) or 'empty'} instead"
        )
    if len({wish.amount for wish in wishes}) < len(wishes):
        return f"`budgets` must differ from each other, but are {', '.join(texts)} instead"
    return None


def parse_budgets(text: str) -> list[str]:
    """Split a list such as ``macs=50%,75%,100%``, in which a quantity applies until the next one."""
    found, quantity = list[str](), ""
    for part in (part.strip() for part in text.split(",") if part.strip()):
        quantity, amount = part.split("=", 1) if "=" in part else (quantity, part)
        found.append(f"{quantity}={amount}" if quantity else amount)
    return found


def budget_label(name: str) -> str:
    """A budget for use in a sentence: ``6 units`` or ``macs=50%``."""
    return f"{name} units" if name.isdecimal() else name


def _fits_quantity(quantity: str, unit: str) -> bool:
    allowed: Mapping[str, tuple[str, ...]] = {
        "units": ("", "%"),
        "params": ("", "k", "m", "g", "%"),
        "macs": ("", "k", "m", "g", "%"),
        "latency": ("ms", "s", "%"),
    }
    return unit in allowed[quantity]


def shown(quantity: Quantity, amount: float) -> str:
    """An amount in the user's notation."""
    if quantity == "units":
        return f"{amount:g}"
    if quantity == "latency":
        return f"{1000 * amount:.2f} ms"
    for letter, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if amount >= scale:
            return f"{amount / scale:.3f} {letter}"
    return f"{amount:.0f}"
