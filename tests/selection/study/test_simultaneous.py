"""Coverage of simultaneous confidence intervals, from false alarms in simulated studies."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from selection.study.simultaneous import Pairs, half_widths
from supernet.scoring.statistics import Ints

WORDS = np.full(200, 10)


def study(rng: np.random.Generator, contenders: int, seeds: int, seed_std: float) -> list[Ints]:
    """Errors (R, N) of equally good contenders: they share hard and easy utterances, and the error rates of
    their trainings have the standard deviation ``seed_std``.
    """
    hard_N = rng.beta(1, 19, len(WORDS))
    own_KR = rng.normal(0, seed_std, (contenders, seeds))
    return [rng.binomial(10, np.clip(hard_N + own_R[:, None], 0, 1)) for own_R in own_KR]


def alarms(errors: list[Ints], yardstick: int, pairs: Pairs) -> bool:
    """Whether any interval of a difference from the yardstick excludes 0."""
    rates = [e.sum() / (len(e) * WORDS.sum()) for e in errors]
    widths = half_widths(errors, WORDS, pairs)
    found = zip(pairs, widths, strict=True)
    return any(abs(rates[i] - rates[j]) > width for (i, j), width in found if yardstick in (i, j))


def best_of(errors: list[Ints]) -> int:
    return int(np.argmin([e.sum() for e in errors]))


@pytest.mark.parametrize(("seeds", "seed_std"), [(1, 0.0), (3, 0.004), (5, 0.004)])
def test_the_best_of_equal_contenders_is_rarely_called_better(seeds: int, seed_std: float) -> None:
    rng, count, num = np.random.default_rng(seeds), 0, 200
    for _ in range(num):
        errors = study(rng, 5, seeds, seed_std)
        count += alarms(errors, best_of(errors), list(combinations(range(5), 2)))
    assert count / num <= 0.085  # 5 %, plus two standard deviations for 200 studies


def test_intervals_for_a_named_yardstick_are_too_narrow_for_the_best() -> None:
    """They raise too many false alarms, because the best contender is the extreme of ten pairs."""
    rng, named, num = np.random.default_rng(0), 0, 200
    for _ in range(num):
        errors = study(rng, 5, 1, 0.0)
        best = best_of(errors)
        named += alarms(errors, best, [(best, i) for i in range(5) if i != best])
    assert named / num > 0.085


def test_a_named_yardstick_needs_only_pairs_with_itself() -> None:
    rng, count, num = np.random.default_rng(2), 0, 200
    pairs = [(0, i) for i in range(1, 5)]
    for _ in range(num):
        count += alarms(study(rng, 5, 3, 0.004), 0, pairs)
    assert 0.005 <= count / num <= 0.085
    errors = study(rng, 5, 3, 0.004)
    every = half_widths(errors, WORDS, [*pairs, *combinations(range(1, 5), 2)])
    assert (half_widths(errors, WORDS, pairs) < every[:4]).all()


def test_three_seeds_are_enough_for_the_variance_between_trainings() -> None:
    """With a standard deviation of 0.6 points between trainings, the coverage is 95 %."""
    rng, held, num = np.random.default_rng(3), 0, 200
    for _ in range(num):
        held += not alarms(study(rng, 2, 3, 0.006), 0, [(0, 1)])
    assert held / num >= 0.92


def test_a_clear_difference_is_found() -> None:
    rng = np.random.default_rng(4)
    good, fair = study(rng, 2, 3, 0.002)
    bad = rng.binomial(10, 0.15, good.shape)
    errors = [good, fair, bad]
    assert alarms(errors, best_of(errors), [(0, 1), (0, 2), (1, 2)])


def test_utterances_are_compared_in_pairs() -> None:
    """Both systems make errors in the same utterances, so paired intervals are much narrower."""
    rng = np.random.default_rng(5)
    hard = rng.poisson(3, (1, len(WORDS)))
    better = hard - (rng.random(hard.shape) < 0.05) * (hard > 0)
    (paired,) = half_widths([hard, better], WORDS, [(0, 1)])
    (apart,) = half_widths([hard, rng.permutation(better[0])[None]], WORDS, [(0, 1)])
    assert paired < apart / 5
