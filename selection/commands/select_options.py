"""The options of ``select``, checked as far as possible without importing a strategy."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from supernet.budget import BudgetError, Wish
from supernet.console.option_names import option_problems
from supernet.settings.names import nearest, plugin_names


def words(text: str) -> list[str]:
    """The comma-separated parts of ``text`` without repetitions."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def wishes(texts: Sequence[str], option: str, problems: list[str]) -> list[Wish]:
    """Budgets without repetitions; problems are added to ``problems``."""
    found: dict[str, Wish] = {}
    for text in texts:
        if option == "--sizes" and not text.isdigit():
            problems.append(f"`--sizes` must be numbers of units, e.g. 4,6,8, but is '{text}' instead.")
            continue
        try:
            wish = Wish.parse(text)
        except BudgetError as e:
            problems += option_problems(e)
        else:
            found[wish.name] = wish
    return list(found.values())


def problems_of(args: argparse.Namespace) -> Iterator[str]:
    """Problems with names, budgets and numbers."""
    known, problems = plugin_names("strategy"), list[str]()
    names = known if args.strategies is None else words(args.strategies)
    if not names:
        yield "`--strategies` must name at least one strategy, but names none."
    for name in names:
        if name not in known:
            near = nearest(name, known)
            yield f"`strategy` must be one of {', '.join(known)}, but is '{name}' instead.{near}"
    wishes(words(args.sizes or ""), "--sizes", problems)
    wishes(args.budget, "--budget", problems)
    yield from problems
    if isinstance(args.seconds, float) and not 0.1 <= args.seconds <= 3600:
        yield f"`--seconds` must lie between 0.1 and 3600, but is {args.seconds:g} instead."
