"""The part of a run's page about a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from selection.comparing.comparison import Comparison, Contest, Row
from selection.reporting import tables
from selection.reporting.pictures import LEARNED, is_open
from selection.reporting.tables import kind, p_text, percent, points
from supernet.budget import Quantity, shown
from supernet.reporting.pages import page_environment
from supernet.reporting.picture import Picture
from supernet.reporting.pictures import short_name
from supernet.text.unit_names import short_names

WHAT = {"units": "units", "params": "parameters", "macs": "MACs", "latency": "of latency"}


def section(comparison: Comparison, pictures: Mapping[str, Picture]) -> Markup:
    """Render the part of the page, with ``pictures`` from ``draw_all``."""
    environment = page_environment("selection")
    texts = (
        percent,
        points,
        p_text,
        short_name,
        short_names,
        cost_text,
        tables.duration,
    )
    environment.filters.update({function.__name__: function for function in texts})
    about = (sentences, limit_text, tables.ordered, tables.cost, tables.verdict, kind)
    environment.globals.update({function.__name__: function for function in about})
    environment.filters["drawn"] = Markup
    contests = [contest for contest in comparison.contests if is_open(contest, comparison.units)]
    template = environment.get_template("reporting/selection.html.jinja")
    return Markup(
        template.render(
            c=comparison,
            contests=contests,
            summary=summary(contests),
            pictures=pictures,
            elsewhere=elsewhere(comparison),
        )
    )


def elsewhere(comparison: Comparison) -> list[str]:
    """Strategies with a choice that was made on other validation utterances than the current ones."""
    rows = [row for contest in comparison.contests for row in contest.rows]
    return sorted({row.strategy for row in rows if row.num_valid not in (0, comparison.num_valid)})


def summary(contests: Sequence[Contest]) -> list[tuple[str, list[tuple[float, str] | None]]]:
    """Regret and verdict of each strategy for each budget, the lowest mean regret first."""
    rows = [{row.strategy: row for row in contest.rows} for contest in contests]
    names = list(dict.fromkeys(row.strategy for contest in contests for row in tables.ordered(contest)))
    lines = [
        (name, [_entry(contest, mine.get(name)) for contest, mine in zip(contests, rows, strict=True)])
        for name in names
    ]
    return sorted(lines, key=lambda line: _average([entry[0] for entry in line[1] if entry]))


def _entry(contest: Contest, row: Row | None) -> tuple[float, str] | None:
    return None if row is None else (row.regret, kind(contest, row))


def _average(regrets: Sequence[float]) -> float:
    return sum(regrets) / len(regrets)


def limit_text(contest: Contest, num_units: int) -> str:
    """``6 of 12 units``, or ``at most 20.00 ms of latency``."""
    if contest.quantity == "units":
        return f"{contest.limit:g} of {num_units} units"
    return f"at most {cost_text(contest.limit, contest.quantity)} {WHAT[contest.quantity]}"


def cost_text(amount: float, quantity: Quantity) -> str:
    return shown(quantity, amount)


def sentences(contest: Contest) -> list[str]:
    """The outcome in sentences."""
    rows = tables.ordered(contest)
    best = next(row for row in rows if row.strategy == contest.yardstick)
    how = "was the only one to choose" if len(rows) == 1 else "did best"
    low, high = (100 * end for end in best.rate_ci95)
    return [
        f"{best.strategy} {how}: validation loss {best.loss:.4f}, "
        f"test {contest.measure.upper()} {percent(best.rate)} (95 % interval {low:.1f} to {high:.1f}).",
        _certainty(contest),
        *_company(contest, rows),
        *_about_learned(contest, rows),
    ]


def _certainty(contest: Contest) -> str:
    if contest.num_scored is None:
        return (
            "Not all subnets were scored, so this is the best that these strategies found; "
            "a better one may exist."
        )
    which = "of this size" if contest.quantity == "units" else "that fit the budget"
    return (
        f"All {contest.num_scored:,} subnets {which} were scored: no other one has a lower validation loss."
    )


def _company(contest: Contest, rows: Sequence[Row]) -> list[str]:
    """Strategies with the same choice, with a tie, and with a significant difference."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(kind(contest, row), []).append(row.strategy)
    return [
        f"{_listed(names[who])} {_verb(names[who], one, several)} {what}"
        for who, (one, several, what) in _VERDICTS.items()
        if who in names
    ]


_VERDICTS = {
    "same": ("keeps", "keep", "the same units."),
    "tie": (
        "keeps",
        "keep",
        "other units, tied with it: the difference in test errors may be due to chance.",
    ),
    "worse": ("makes", "make", "more errors on the test split."),
    "better": (
        "makes",
        "make",
        "fewer errors on the test split, although the validation loss is higher.",
    ),
}
"""Verb, singular and plural, and object of the sentence for each verdict."""


def _about_learned(contest: Contest, rows: Sequence[Row]) -> list[str]:
    """The distance between the choice by learned scores and the best one."""
    learned = next((row for row in rows if row.strategy == LEARNED), None)
    if learned is None or learned.strategy == contest.yardstick:
        return []
    beats = "" if learned.beats is None else f" They beat {100 * learned.beats:.1f} % of all subnets."
    if learned.difference.same:
        return [f"The learned scores lead to the same units as the best choice.{beats}"]
    d = learned.difference
    more = "higher" if d.rate > 0 else "lower"
    tie = ": a tie" if d.verdict == "tie" else ""
    return [
        f"The learned scores are {learned.regret:.4f} above the best in validation loss (regret). "
        f"Their test {contest.measure.upper()} is {abs(100 * d.rate):.2f} points {more} "
        f"(95 % interval {points(d.ci95[0])} to {points(d.ci95[1])}, {p_text(d.p)}{tie}).{beats}"
    ]


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _verb(names: Sequence[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
