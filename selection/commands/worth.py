"""Compare the cost of one supernet with that of training each size alone."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.console.fitted import Fitted
from supernet.console.front import command, program, say_next
from supernet.console.screen import console
from supernet.errors import UserError
from supernet.runs.former import updated
from supernet.runs.resolve import Resolved, resolve_trained
from supernet.runs.run import Run, RunError
from supernet.scoring.error_rates import COLUMN, count_errors, count_words, judged_by, measure_of
from supernet.scoring.statistics import paired_difference
from supernet.training.compute import expected_unit_steps, update_alone

COMMON = ("task", "granularity", "model")
"""Settings that two runs must share to be comparable."""


def bill_note() -> str:
    return (
        "Enough: the cheapest known trainings alone that are no worse than the supernet's networks.\n"
        f"Unknown: no such training was found next to this run; see `{program('study')} compare`."
    )


@dataclass(frozen=True)
class Alone:
    """A size trained alone, compared with the supernet's network of this size on the same test utterances."""

    name: str
    size: int
    updates: int
    cost: float
    """Unit-steps: units run by a row, summed over updates; see ``supernet.training.compute``."""
    rate: float
    gain: float
    """Its error rate minus the supernet's: negative if training alone is better."""
    ci95: tuple[float, float]

    @property
    def verdict(self) -> str:
        low, high = self.ci95
        return "better alone" if high < 0 else "worse alone" if low > 0 else "a tie"


@dataclass(frozen=True)
class Bill:
    """The cost of one set of sizes, in unit-steps."""

    sizes: tuple[int, ...]
    joint: float
    """One supernet of these sizes, trained for as many updates as the run."""
    as_long: float
    """Each size trained alone for as many updates."""
    enough: float | None
    """The cheapest known trainings alone that are no worse than the run's networks, if known."""

    @property
    def cheaper(self) -> str:
        if self.enough is None:
            return "unknown"
        return "alone" if self.enough < self.joint else "one supernet"


def found_alone(run: Run, folders: Iterable[Path]) -> list[Alone]:
    """Finished trainings of one size alone among ``folders`` that are comparable with ``run``."""
    mine = updated(run.config_data())
    found = []
    for folder in sorted(folders):
        other = Run(folder)
        if not (other.is_finished and other.config_file.is_file()):
            continue
        try:
            data = updated(other.config_data())
        except UserError:  # damaged, or of another version
            continue
        alone = data["method"]["name"] == "individual" and len(data["sizes"]) == 1
        if alone and data["sizes"][0] in mine["sizes"] and all(data[key] == mine[key] for key in COMMON):
            found.append(_against(run, other, data["sizes"][0], data["train"]["num_steps"]))
    return sorted(found, key=lambda alone: (-alone.size, alone.cost))


def _against(run: Run, other: Run, size: int, updates: int) -> Alone:
    ours = {id: (reference, said) for id, reference, said in run.transcripts(f"test-{size}")}
    theirs = {id: (reference, said) for id, reference, said in other.transcripts(f"test-{size}")}
    if ours.keys() != theirs.keys():
        raise RunError(
            f"'{other.folder}' must have been tested on the utterances of '{run.folder}', but was not."
        )
    references = [reference for reference, _ in ours.values()]
    column = COLUMN[measure_of(references)]
    words_N = count_words(references)[:, column]
    errors = [
        count_errors(*zip(*(side[id] for id in ours), strict=True))[:, column] for side in (theirs, ours)
    ]
    gain, low, high = paired_difference(errors[0], errors[1], words_N)
    cost = float(_results(other)["unit_steps"])
    return Alone(other.name, size, updates, cost, errors[0].sum() / words_N.sum(), gain, (low, high))


def bills(resolved: Resolved, alone: Sequence[Alone]) -> list[Bill]:
    """The costs of each set of the run's sizes, small sets first."""
    enough: dict[int, float] = {}
    for one in alone:
        if one.verdict != "worse alone":
            enough[one.size] = min(one.cost, enough.get(one.size, one.cost))
    if not resolved.config.sizes:
        raise RunError("`RUN` must have been trained for sizes, but was trained for budgets instead.")
    sizes, steps = sorted(resolved.config.sizes), resolved.config.train.num_steps
    each = {size: update_alone(resolved.config, resolved.config.table.first(size)) for size in sizes}
    sets = (chosen for n in range(1, len(sizes) + 1) for chosen in itertools.combinations(sizes, n))
    return [
        Bill(
            chosen,
            expected_unit_steps(_with_sizes(resolved, chosen).method),
            steps * sum(each[size] for size in chosen),
            sum(enough[size] for size in chosen) if set(chosen) <= set(enough) else None,
        )
        for chosen in sets
    ]


def _with_sizes(resolved: Resolved, sizes: tuple[int, ...]) -> Resolved:
    """The same training for fewer sizes, with default shares, as those of the run name other sizes, and with
    its stages of these sizes.
    """
    passes, smaller = resolved.config.passes, {str(size) for size in sorted(sizes)[:-1]}
    stages = passes.stages and {name: share for name, share in passes.stages.items() if name in smaller}
    passes = passes.model_copy(update={"shares": None, "stages": stages})
    config = resolved.config.model_copy(update={"passes": passes})
    return Resolved(config, resolved.method, resolved.task).with_sizes(sizes)


def _results(run: Run) -> dict[str, Any]:
    """The results of a run, which must include the cost of its training; very old runs have none."""
    results = run.results()
    if missing := [name for name in ("steps", "unit_steps") if results.get(name) is None]:
        raise RunError(f"'{run.results_file}' must say `{missing[0]}`, but does not: train it again.")
    return results


def worth(args: argparse.Namespace) -> None:
    """The command ``worth``."""
    run = Run.open(args.run)
    if not run.is_finished:
        raise RunError(f"`RUN` must have been trained to the end, but '{args.run}' has no results yet.")
    alone = found_alone(run, args.alone or args.run.absolute().parent.iterdir())
    resolved = resolve_trained(run.config_data())
    console.print(reach_table(run, alone))
    console.print(bill_table(run, bills(resolved, alone)))
    say_next(*missing(run, resolved, alone))


def missing(run: Run, resolved: Resolved, alone: Sequence[Alone]) -> Iterator[tuple[str, str]]:
    """Suggest trainings for sizes of which none alone is known to be as good: for as many updates as the run,
    or twice as many as the longest training that was worse.
    """
    for size in sorted(resolved.config.sizes):
        mine = [one for one in alone if one.size == size]
        if any(one.verdict != "worse alone" for one in mine):
            continue
        steps = max([one.updates * 2 for one in mine], default=resolved.config.train.num_steps)
        out = run.beside(f"alone-{size}-{steps}")
        options = ("--method", "individual", "--sizes", size, "--steps", steps, "--out", out)
        yield command("train", "--config", run.config_file, *options), f"size {size} alone"


def reach_table(run: Run, alone: Sequence[Alone]) -> Fitted:
    """Error rates of each size in the supernet and alone, with their costs."""
    results = _results(run)
    measure = judged_by(results)
    made = Fitted(f"{run.name}: {results['unit_steps']:,} unit-steps in {results['steps']:,} updates")
    for name in (
        "size",
        "training",
        "updates",
        "unit-steps",
        f"test {measure.upper()}, %",
        "alone - supernet, 95\u00a0%",
        "",
    ):
        text = name in ("training", "")
        made.add_column(name, left=text, wraps=text or name in ("unit-steps", "alone - supernet, 95\u00a0%"))
    for size, row in sorted(results["sizes"].items(), key=lambda item: -int(item[0])):
        cost = f"{results['unit_steps']:,} for all sizes"
        made.add_row(size, "the supernet", f"{results['steps']:,}", cost, f"{100 * row['test'][measure]:.2f}")
        for one in (one for one in alone if str(one.size) == size):
            low, high = (100 * end for end in one.ci95)
            gain = f"{100 * one.gain:+.2f} [{low:+.2f}, {high:+.2f}]"
            cells = (f"{one.updates:,}", f"{one.cost:,.0f}", f"{100 * one.rate:.2f}", gain, one.verdict)
            made.add_row("", one.name, *cells)
    return made


def bill_table(run: Run, found: Sequence[Bill]) -> Fitted:
    """Costs of each set of sizes in one supernet and alone."""
    made = Fitted("Unit-steps for each set of sizes", bill_note())
    for name in ("sizes", "one supernet", "alone, as many updates", "alone, enough updates", "cheaper"):
        made.add_column(name, left=name in ("sizes", "cheaper"), wraps=True)
    for bill in found:
        enough = "unknown" if bill.enough is None else f"{bill.enough:,.0f}"
        sizes = ", ".join(map(str, bill.sizes))
        made.add_row(sizes, f"{bill.joint:,.0f}", f"{bill.as_long:,.0f}", enough, bill.cheaper)
    return made
