"""The console table of a comparison, and the text of its numbers there and in the report."""

from __future__ import annotations

from selection.comparing.comparison import Comparison, Contest, Row
from supernet.budget import shown
from supernet.console.fitted import Fitted
from supernet.reporting.pictures import short_name
from supernet.system.timing import BUSY
from supernet.text.unit_names import SHORT_NAMES, short_names

COLUMNS = (
    "budget",
    "strategy",
    "kept",
    "cost",
    "loss",
    "regret",
    "{measure} %, 95\u00a0%",
    "against best",
    "beats",
    "evals",
    "s",
)
LESSER = ("cost", "beats", "evals", "s")
"""Columns left out on a narrow console; the report has them."""
TEXTS = ("budget", "strategy", "kept")
"""Columns of text."""
WRAPPED = ("kept", "{measure} %, 95\u00a0%", "against best")
"""Columns whose cells may wrap."""
NOTE = "loss, regret: validation; {measure}: test. against best: same units, a tie, or points more or fewer."
NOTES = {
    "beats": "beats: % of all subnets of the budget with a higher loss",
    "evals": "evals: subnets scored",
    "s": "s: computing time",
}

NEW = "+: new; the other choices are those of earlier selections from this network."


def table(comparison: Comparison, earlier: Comparison | None = None) -> Fitted:
    """All choices by budget, ordered by validation loss; those that are not in ``earlier`` are marked."""
    fresh = set() if earlier is None else _choices(comparison) - _choices(earlier)
    with_modules = any(unit.count(".") > 1 for unit in comparison.units)
    measure = comparison.measure.upper()
    caption = NOTE.format(measure=measure) + f"\n{NEW}" * bool(fresh) + f"\n{SHORT_NAMES}" * with_modules
    result = Fitted(f"Choices for {comparison.run}", caption)
    for name in COLUMNS:
        shown_name, is_text = name.format(measure=measure), name in TEXTS
        result.add_column(
            shown_name,
            left=is_text,
            wraps=name in WRAPPED,
            lesser=name in LESSER,
            note=NOTES.get(name, ""),
        )
    for contest in comparison.contests:
        for i, row in enumerate(ordered(contest)):
            cells = [contest.budget if i == 0 else "", *_cells(contest, row)]
            cells[1] += " +" * ((contest.budget, row.strategy) in fresh)
            result.add_row(*cells)
        result.add_section()
    return result


def _choices(comparison: Comparison) -> set[tuple[str, str]]:
    return {(contest.budget, row.strategy) for contest in comparison.contests for row in contest.rows}


def _cells(contest: Contest, row: Row) -> list[str]:
    low, high = row.rate_ci95
    return [
        row.strategy,
        short_names(row.kept),
        cost(contest, row),
        f"{row.loss:.4f}",
        f"{row.regret:.4f}",
        f"{100 * row.rate:.2f} {100 * low:.1f}–{100 * high:.1f}",
        verdict(contest, row),
        "" if row.beats is None else f"{100 * row.beats:.1f}",
        str(row.evaluations),
        duration(row.seconds),
    ]


def ordered(contest: Contest) -> list[Row]:
    """The rows ordered by validation loss; ties go to the yardstick."""
    return sorted(contest.rows, key=lambda row: (row.loss, row.strategy != contest.yardstick))


def kind(contest: Contest, row: Row) -> str:
    """The comparison with the yardstick: ``best``, ``same``, ``tie``, ``worse`` or ``better``."""
    return "best" if row.strategy == contest.yardstick else row.difference.verdict


def verdict(contest: Contest, row: Row) -> str:
    """``best``, ``same``, ``tie p=0.34``, or a significant difference in points; empty if alone."""
    if len(contest.rows) == 1:
        return ""
    found, p = kind(contest, row), p_text(row.difference.p)
    if found in ("best", "same"):
        return found
    return f"tie {p}" if found == "tie" else f"{points(row.difference.rate)} {p}"


def cost(contest: Contest, row: Row) -> str:
    """The cost of a choice in the budget's quantity, and the excess over the budget, if any."""
    found = shown(contest.quantity, row.costs[contest.quantity])
    return f"{found} ({over_text(row.over)})" if row.over else found


def over_text(share: float) -> str:
    return f"over by {100 * share:.1f} %" if share < 0.1 else f"over by {100 * share:.0f} %"


def p_text(p: float) -> str:
    if p < 0.001:
        return "p<0.001"
    return f"p={p:.3f}" if p < 0.1 else f"p={p:.2f}"


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def points(difference: float) -> str:
    """A difference of error rates in percentage points, with its sign."""
    return f"{100 * difference:+.2f}".replace("-", "−")


def duration(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"


def latency_lines(comparison: Comparison) -> list[str]:
    """For latency budgets: the sum over the units, the measured latency, and choices over the budget."""
    where = f"for {comparison.seconds_of_audio:g} s of audio on {comparison.machine}"
    rows = ((contest.budget, row) for contest in comparison.contests for row in contest.rows)
    over = {(budget, row.strategy): f", {over_text(row.over)}" for budget, row in rows if row.over}
    lines = [
        f"{budget}, {strategy}: {1000 * summed:.2f} ms as the sum of its units, {1000 * whole:.2f} ms "
        f"as a whole ({(summed - whole) / whole:+.1%}){over.get((budget, strategy), '')}, {where}"
        for budget, times in comparison.latency_error.items()
        for strategy, (summed, whole) in times.items()
    ]
    return [*lines, BUSY] if comparison.busy else lines


def units_table(comparison: Comparison) -> Fitted:
    """The evidence about each unit by itself."""
    measure = comparison.measure.upper()
    caption = (
        f"On validation utterances. {measure} after it: of what the head reads there. cka, svcca: similarity "
        "of the stream before and after it."
    )
    result = Fitted(f"Units of {comparison.run}", caption)
    result.add_column("unit", left=True)
    result.add_column("loss without it")
    result.add_column(f"{measure} after it")
    names = list(comparison.facts[0].similarity) if comparison.facts else []
    for name in names:
        result.add_column(name, lesser=name != names[0])
    for fact in comparison.facts:
        rate = "–" if fact.rate_after is None else percent(fact.rate_after)
        similarities = (f"{value:.4f}" for value in fact.similarity.values())
        result.add_row(short_name(fact.name), f"{fact.loss_without:+.4f}", rate, *similarities)
    return result
