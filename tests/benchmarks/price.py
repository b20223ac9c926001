"""All sizes for the price of one? A supernet against its sizes trained alone, at equal compute and at equal
updates.

Run: ``python -m tests.benchmarks.price --out FOLDER --seeds 0,1,2 [options of supernet.train]``; ``--steps``
is what the full net alone gets, and its units x updates are the price. Stop at any time: the same command
continues.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from supernet.cli import console, main_guard
from supernet.compute import unit_steps
from supernet.model import Recogniser
from supernet.phases import Schedule
from supernet.resolve import Data, Resolved, resolve
from supernet.train import build_parser, layers, train_one


@dataclass(frozen=True)
class Prices:
    """How many updates each training gets."""

    full: int
    """The largest size alone."""
    supernet: int
    """The supernet, for as many units run forward and backward by a row; whole hundreds, not to exceed it."""
    share: int
    """Each size alone, where the trainings of all sizes together make as many."""
    by_size: Mapping[int, int]
    """A size alone, for as many."""

    @classmethod
    def of(cls, resolved: Resolved) -> Prices:
        sizes, full = sorted(resolved.config.sizes), resolved.config.train.num_steps
        budget = full * max(sizes)
        return cls(
            full,
            _whole_hundreds(full * budget / _price(resolved)),
            round(budget / sum(sizes)),
            {size: round(budget / size) for size in sizes},
        )


def _whole_hundreds(steps: float) -> int:
    return int(steps // 100 * 100) or int(steps)


def _price(resolved: Resolved) -> float:
    """Units x updates of this training, before it is made: which units it will choose hardly matters."""
    method, config = resolved.method, resolved.config
    model = Recogniser(config, num_tokens=2, initial_score=method.initial_score)
    schedule = Schedule(method, model, config.seed)
    schedule.begin(schedule.num_steps - 1)
    return unit_steps(schedule, torch.zeros_like(model.scores), config.seed)


@dataclass
class Trainings:
    """Trains what is asked for and not yet there."""

    options: list[Data]
    out: Path

    def resolved(self, *changes: Data) -> Resolved:
        return resolve([*self.options, *changes])

    def supernet(self, steps: int, seed: int) -> Mapping[str, Any]:
        return self._train(f"supernet-{steps}-seed{seed}", {"seed": seed, "train": {"num_steps": steps}})

    def alone(self, size: int, steps: int, seed: int) -> float:
        changes = {"seed": seed, "sizes": [size], "method": "individual", "train": {"num_steps": steps}}
        return wer(self._train(f"{size}-alone-{steps}-seed{seed}", changes), size)

    def _train(self, name: str, changes: Data) -> Mapping[str, Any]:
        console.print(f"[bold]{name}")
        return train_one(self.resolved(changes), self.out / name)


def wer(results: Mapping[str, Any], size: int) -> float:
    return 100 * float(results["sizes"][str(size)]["test"]["wer"])


COLUMNS = (
    "supernet, the price of one",
    "alone, its share of it",
    "alone, all of it",
    "supernet, equal updates",
    "alone, equal updates",
)


def one_seed(trainings: Trainings, prices: Prices, seed: int) -> dict[int, list[float]]:
    """By size, test WER in % for each of ``COLUMNS``."""
    paid, equal = (trainings.supernet(steps, seed) for steps in (prices.supernet, prices.full))
    return {
        size: [
            wer(paid, size),
            trainings.alone(size, prices.share, seed),
            trainings.alone(size, whole, seed),
            wer(equal, size),
            trainings.alone(size, prices.full, seed),
        ]
        for size, whole in sorted(prices.by_size.items(), reverse=True)
    }


def against(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Mean over the seeds of the relative difference, in %; against no errors at all, none or infinite."""
    return statistics.mean(
        100 * (a - b) / b if b else (a and math.inf) for a, b in zip(ours, theirs, strict=True)
    )


def table(by_seed: Sequence[Mapping[int, Sequence[float]]], prices: Prices) -> Table:
    """Test WER in % of every seed, its mean, and how far the supernet is ahead (-) or behind (+)."""
    buys = f"{prices.supernet:,} of the supernet or {prices.share:,} of each size"
    title = f"test WER, %: {prices.full:,} updates of the full net alone cost as much as {buys}"
    made = Table(title=title, title_justify="left")
    for name in ("size", *COLUMNS):
        made.add_column(name, justify="right")
    for size in prices.by_size:
        columns = [list(values) for values in zip(*(found[size] for found in by_seed), strict=True)]
        paid, share, whole, equal, updates = columns
        ahead: tuple[float | None, ...] = (
            None,
            against(paid, share),
            against(paid, whole),
            None,
            against(equal, updates),
        )
        cells = [_cell(values, a) for values, a in zip(columns, ahead, strict=True)]
        made.add_row(str(size), *cells)
    return made


def _cell(values: Sequence[float], ahead: float | None) -> str:
    each = " / ".join(f"{value:.2f}" for value in values)
    behind = "" if ahead is None else f"\nsupernet {ahead:+.0f} %"
    return f"{each}\nmean {statistics.mean(values):.2f}{behind}"


def main(arguments: list[str] | None = None) -> None:
    parser = build_parser()
    parser.prog, parser.description = "python -m tests.benchmarks.price", (__doc__ or "").partition("\n\n")[0]
    parser.add_argument("--seeds", metavar="0,1,2", default="0,1,2", help="seeds of everything, for each run")
    args = parser.parse_args(arguments)
    with main_guard():
        trainings = Trainings(layers(args), args.out or Path("runs/price"))
        prices = Prices.of(trainings.resolved())
        found = [one_seed(trainings, prices, int(seed)) for seed in args.seeds.split(",")]
    console.print(table(found, prices))


if __name__ == "__main__":
    main()
