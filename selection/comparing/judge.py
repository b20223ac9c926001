"""Judging of choices: costs, error rates, regrets and paired tests of all choices for a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from selection.comparing.comparison import Contest, Difference, Row, against, all_pairs
from selection.measuring.oracle import Oracle
from supernet.budget import SLACK, Budget, Prices
from supernet.runs.model_file import Model
from supernet.scoring.error_rates import COLUMN, Measure, score_counts
from supernet.scoring.statistics import Ints, paired_difference
from supernet.units import Kept


@dataclass(frozen=True)
class Candidate:
    """One strategy's choice for one budget and the effort that it took, before it is judged."""

    strategy: str
    kept: Kept
    loss: float
    evaluations: int
    seconds: float
    is_exact: bool
    scored: tuple[float, ...]
    """Losses of all subnets of the budget, if the strategy is exact."""
    num_valid: int = 0
    """Number of validation utterances that the choice was made on."""

    def with_loss(self, loss: float) -> Candidate:
        return replace(self, loss=loss)


class Judge:
    """Judges choices by their losses on the validation split and their errors on the test split."""

    def __init__(
        self,
        model: Model,
        valid: Oracle,
        test: Oracle,
        prices: Sequence[Prices],
        whole: Callable[[Kept], float],
    ) -> None:
        """Judge choices from ``model``; ``whole`` measures the latency of a subnet in seconds."""
        self._model, self._valid, self._test, self._prices = model, valid, test, prices
        self._whole = whole

    def full(self) -> tuple[float, float]:
        """Validation loss and test error rate of the full network."""
        full = self._model.recognizer.table.full
        (judged,) = self._valid.judge([full])
        return self._valid.loss(judged), score_counts(self._errors([full])[0], self._words, self.measure).rate

    def contest(self, budget: Budget, candidates: Sequence[Candidate]) -> Contest:
        """Compare all ``candidates`` for ``budget``; the rows are ordered by validation loss."""
        # Ties go to the exact strategy, which becomes the yardstick, and then by name, so that the order in
        # which strategies were asked has no effect.
        ordered = sorted(candidates, key=lambda c: (c.loss, not c.is_exact, c.strategy))
        errors = dict(
            zip((c.strategy for c in ordered), self._errors([c.kept for c in ordered]), strict=True)
        )
        counted = {name: counts[:, COLUMN[self.measure]] for name, counts in errors.items()}
        best, exact = ordered[0], [c for c in ordered if c.is_exact]
        p = against(best.strategy, counted)
        spread = np.quantile(exact[0].scored, [0, 0.25, 0.5, 0.75, 1]) if exact else ()
        return Contest(
            budget=budget.name,
            quantity=budget.prices.quantity,
            limit=budget.limit,
            rows=tuple(self._row(budget, c, best, exact, errors, p[c.strategy]) for c in ordered),
            yardstick=best.strategy,
            num_scored=len(exact[0].scored) if exact else None,
            spread=tuple(float(x) for x in spread),
            pairs=all_pairs(counted),
            measure=self.measure,
        )

    def _row(
        self,
        budget: Budget,
        c: Candidate,
        best: Candidate,
        exact: Sequence[Candidate],
        errors: dict[str, Ints],
        p: float,
    ) -> Row:
        table, words, column = self._model.recognizer.table, self._words, COLUMN[self.measure]
        score = score_counts(errors[c.strategy], words, self.measure)
        mine, theirs = (errors[name][:, column] for name in (c.strategy, best.strategy))
        rate, low, high = paired_difference(mine, theirs, words[:, column])
        costs: dict[str, float] = {prices.quantity: prices.of(c.kept) for prices in self._prices}
        if budget.is_measured:
            costs["latency"] = self._whole(c.kept)
        over = costs[budget.prices.quantity] / budget.limit - 1
        return Row(
            strategy=c.strategy,
            kept=table.subnet(c.kept).kept,
            costs=costs,
            over=over if over > SLACK - 1 else 0.0,
            head=self._model.recognizer.head(sum(c.kept)),
            loss=c.loss,
            regret=c.loss - best.loss,
            wer=score.wer,
            cer=score.cer,
            rate=score.rate,
            rate_ci95=score.rate_ci95,
            evaluations=c.evaluations,
            seconds=c.seconds,
            difference=Difference(rate, (low, high), p, c.kept == best.kept),
            num_valid=c.num_valid,
            beats=float(np.mean(np.array(exact[0].scored) > c.loss)) if exact else None,
        )

    @property
    def measure(self) -> Measure:
        """The measure by which the test texts are judged."""
        return self._test.sample.facts.measure

    @property
    def _words(self) -> Ints:
        return self._test.sample.facts.words

    def _errors(self, subnets: Sequence[Kept]) -> list[Ints]:
        found = [judged.errors_N2 for judged in self._test.judge(subnets, with_errors=True)]
        return [errors for errors in found if errors is not None]
