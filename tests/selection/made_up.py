"""Synthetic comparisons without a network: every unit has a worth, which strategies know up to noise."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, replace

import numpy as np

from selection.comparing.comparison import Comparison, Contest, Difference, Row, UnitFacts
from supernet.budget import Quantity
from tests.supernet.tiny import units_of

FULL_LOSS, FULL_WER = 0.31, 0.082
BLURS = {
    "exhaustive": 0.0,
    "greedy": 0.0,
    "evolution": 0.0,
    "optuna": 0.0,
    "greedy-forward": 0.15,
    "learned": 0.3,
    "simple-top-k": 0.4,
    "iterative-zero-out": 0.4,
    "gradient": 0.7,
    "leave-one-out": 0.5,
    "similarity": 1.0,
    "similarity-svcca": 1.0,
    "random": 9.0,
}
"""The noise in each strategy's estimate of the worth of units, as a standard deviation of its logarithm."""
RULES = ("tail", "every-other")
EVALUATIONS = {
    "exhaustive": 924,
    "greedy": 57,
    "evolution": 216,
    "optuna": 128,
    "greedy-forward": 63,
    "leave-one-out": 12,
}
UNFIT = "it would have to score 32,247,603,683,100 subnets, more than `exhaustive.max_subnets` (5,000)"


@dataclass(frozen=True)
class World:
    """A synthetic supernet, which consists of numbers only."""

    units: tuple[str, ...]
    worth: tuple[float, ...]
    """The approximate increase of the loss without each unit."""
    prices: tuple[dict[str, float], ...]
    base: dict[str, float]

    @classmethod
    def of(cls, granularity: str) -> World:
        units = units_of(12, granularity).units
        rng = random.Random(granularity)
        worth = [math.exp(-0.25 * unit.layer) * rng.uniform(0.3, 1.0) for unit in units]
        total = 1.2 / sum(worth)
        factors = [rng.uniform(0.9, 1.1) for _ in units]
        prices = [
            {
                "units": 1.0,
                "params": 14e6 * f / len(units),
                "macs": 9e9 * f / len(units),
                "latency": 0.03 * f**2 / len(units),
            }
            for f in factors
        ]
        base = {"units": 0.0, "params": 1.1e6, "macs": 1.3e9, "latency": 0.004}
        return cls(tuple(unit.name for unit in units), tuple(total * w for w in worth), tuple(prices), base)

    def costs(self, kept: tuple[int, ...]) -> dict[str, float]:
        return {name: base + sum(self.prices[i][name] for i in kept) for name, base in self.base.items()}

    def loss(self, kept: tuple[int, ...]) -> float:
        missing = sum(worth for i, worth in enumerate(self.worth) if i not in kept)
        return FULL_LOSS + missing + 0.8 * missing**2

    def seen(self, strategy: str) -> list[int]:
        """The units, in the order in which ``strategy`` would keep them."""
        rng, num_units = random.Random(strategy), len(self.units)
        if strategy == "tail":
            return list(range(num_units))
        if strategy == "every-other":
            return [*range(0, num_units, 2), *range(1, num_units, 2)]
        blurred = [worth * math.exp(BLURS[strategy] * rng.gauss(0, 1)) for worth in self.worth]
        return sorted(range(num_units), key=lambda i: -blurred[i])

    def fill(self, strategy: str, quantity: str, limit: float) -> tuple[int, ...]:
        kept: tuple[int, ...] = ()
        for unit in self.seen(strategy):
            if self.costs((*kept, unit))[quantity] <= limit:
                kept = (*kept, unit)
        return tuple(sorted(kept))


def wer_of(loss: float) -> float:
    return min(0.99, FULL_WER + 0.45 * (loss - FULL_LOSS))


def difference(row: Row, best: Row) -> Difference:
    """A difference such as that of a paired test on a few hundred utterances."""
    rate, same = row.rate - best.rate, row.kept == best.kept
    half = 0.004 + 0.15 * abs(rate)
    p = 1.0 if same else max(1e-4, math.erfc(abs(rate) / (half / 1.96) / math.sqrt(2)))
    return Difference(rate, (rate - half, rate + half), p, same)


def contest(
    world: World, budget: str, quantity: Quantity, limit: float, num_subnets: int | None = None
) -> Contest:
    """The choices of all strategies for one budget; exact if ``num_subnets`` is given."""
    strategies = [*BLURS, *RULES] if num_subnets else [*list(BLURS)[1:], *RULES]
    choices = {name: world.fill(name, quantity, limit) for name in strategies}
    losses = {name: world.loss(kept) for name, kept in choices.items()}
    spread = _spread(world, int(limit)) if num_subnets else []
    lowest = min(losses.values())
    yardstick = next(name for name in strategies if losses[name] == lowest)
    rows = [_row(world, name, choices[name], losses[name] - lowest, spread) for name in strategies]
    best = rows[strategies.index(yardstick)]
    rows = [replace(row, difference=difference(row, best)) for row in rows]
    return Contest(budget, quantity, limit, tuple(rows), yardstick, num_subnets, _five(spread), _pairs(rows))


def _row(world: World, name: str, kept: tuple[int, ...], regret: float, spread: list[float]) -> Row:
    loss = world.loss(kept)
    wer = wer_of(loss)
    return Row(
        name,
        tuple(world.units[i] for i in kept),
        world.costs(kept),
        "own",
        loss,
        regret,
        wer,
        0.4 * wer,
        wer,
        (wer - 0.011, wer + 0.012),
        EVALUATIONS.get(name, 0),
        0.031 * EVALUATIONS.get(name, 1),
        Difference(0.0, (0.0, 0.0), 1.0, True),
        sum(other > loss for other in spread) / len(spread) if spread else None,
    )


def _spread(world: World, size: int) -> list[float]:
    return [world.loss(kept) for kept in itertools.combinations(range(len(world.units)), size)]


def _five(losses: list[float]) -> tuple[float, ...]:
    return tuple(float(x) for x in np.quantile(losses, [0, 0.25, 0.5, 0.75, 1])) if losses else ()


def _pairs(rows: list[Row]) -> dict[str, dict[str, float]]:
    return {a.strategy: {b.strategy: difference(a, b).p for b in rows} for a in rows}


def all_units(world: World, budget: str, quantity: Quantity, limit: float) -> Contest:
    """A budget that the full network meets."""
    kept = tuple(range(len(world.units)))
    row = _row(world, "all units", kept, 0.0, [])
    return Contest(budget, quantity, limit, (row,), row.strategy)


def facts(world: World) -> tuple[UnitFacts, ...]:
    rng = random.Random(0)
    return tuple(
        UnitFacts(
            name,
            math.log(worth) + rng.gauss(0, 0.3),
            worth * rng.uniform(0.7, 1.3) - 0.01,
            0.1 * worth**2 * rng.uniform(0.5, 2),
            {"cka": 1 - min(0.9, worth * rng.uniform(0.5, 1)), "svcca": 1 - min(0.9, 1.5 * worth)},
            None if name.count(".") > 1 else 0.9 * 0.7**i,
        )
        for i, (name, worth) in enumerate(zip(world.units, world.worth, strict=True))
    )


def similarities(world: World) -> dict[str, list[list[float]]]:
    depth = np.cumsum([0.0, *world.worth])
    apart = np.abs(depth[:, None] - depth[None])
    return {"cka": np.exp(-apart).tolist(), "svcca": np.exp(-1.6 * apart).tolist()}


def _timed(row: Row) -> tuple[float, float]:
    return row.costs["latency"], row.costs["latency"] * random.Random(row.strategy).uniform(0.96, 1.08)


def _comparison(world: World, contests: tuple[Contest, ...], budget: str) -> Comparison:
    timed = next(contest for contest in contests if contest.budget == budget)
    return Comparison(
        run="generated-speech-simple-top-k-s0",
        machine="Intel Xeon, 1 thread",
        seconds_of_audio=10.0,
        num_valid=200,
        num_test=400,
        full_costs=world.costs(tuple(range(len(world.units)))),
        full_loss=FULL_LOSS,
        full_rate=FULL_WER,
        units=world.units,
        contests=contests,
        facts=facts(world),
        similarities=similarities(world),
        latency_error={budget: {row.strategy: _timed(row) for row in timed.rows}},
        unfit=(("exhaustive", "macs=50%", UNFIT), ("learned", "3", "the training method learned no scores")),
    )


def layers() -> Comparison:
    """A comparison of 12 layers: two sizes with all subnets scored, a latency budget, and all units."""
    world = World.of("layer")
    contests = (
        contest(world, "6", "units", 6, 924),
        contest(world, "9", "units", 9, 220),
        contest(world, "latency=15ms", "latency", 0.015),
        all_units(world, "12", "units", 12),
    )
    return _comparison(world, contests, "latency=15ms")


def modules() -> Comparison:
    """A comparison of 12 layers of 4 modules, which have too many subnets to score them all."""
    world = World.of("module")
    contests = (
        contest(world, "24", "units", 24),
        contest(world, "macs=50%", "macs", 5.15e9),
        contest(world, "latency=25ms", "latency", 0.025),
    )
    return _comparison(world, contests, "latency=25ms")
