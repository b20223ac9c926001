"""Intervals for the differences of several trainings' error rates that hold all at once, also where the one
that all are compared with was chosen because it looks best on the same test set.

Where the yardstick is the best of k, each of the k (k - 1) / 2 differences might have been the one looked at,
so they have to hold for all of them (the multiple comparisons of Tukey and Hsu; Hsu, 1996); a yardstick named
beforehand needs those with itself alone (Dunnett, 1955). Two things are left to chance: the test utterances,
which are the same for all, and the seeds. Few seeds say little about how far trainings stray: the variance is
one for all contenders, as in those procedures, and is drawn from what so few leave possible (generalized
confidence intervals; Weerahandi, 1993), which is Student's t where seeds are all there is.

Shapes: K contenders, R seeds, N test utterances, D draws, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from supernet.scoring.statistics import Floats, Ints

LEVEL = 0.95
NUM_DRAWS = 5000

Pairs = Sequence[tuple[int, int]]


def half_widths(errors: Sequence[Ints], words_N: Ints, pairs: Pairs, seed: int = 0) -> Floats:
    """What to add to, and take from, the difference of each of ``pairs`` (P,), so that with 95 % all of these
    intervals hold the truth. ``errors``: (R, N) of each contender, on the same utterances.

    With one seed it is the truth about these trainings, not about others.
    """
    spread, rng = _Spread.of(errors, words_N), np.random.default_rng(seed)
    first, second = np.array(pairs).T
    drawn_DK = spread.by_utterance(rng) + spread.by_seed(rng)
    off_DP = np.abs(drawn_DK[:, first] - drawn_DK[:, second])
    error_P = spread.standard_errors(first, second)
    largest_D = np.max(off_DP / np.where(error_P > 0, error_P, np.inf), axis=1)
    return np.asarray(np.quantile(largest_D, LEVEL) * error_P)


@dataclass(frozen=True)
class _Spread:
    """How far the contenders' mean error rates may be from the truth."""

    utterances_KK: Floats
    """Covariance, with what utterances do in one training only."""
    seeds: float
    """Variance."""
    shared: float
    """The part of ``seeds`` that ``utterances_KK`` holds as well."""
    freedom: int
    """Degrees of freedom of ``seeds``."""

    @classmethod
    def of(cls, errors: Sequence[Ints], words_N: Ints) -> _Spread:
        (num_seeds, num_utterances), total = errors[0].shape, max(1, int(words_N.sum()))
        free, repeats = max(1, num_utterances - 1) / num_utterances, num_seeds * max(1, num_seeds - 1)
        means, seeds, shared = [], [], []
        for errors_RN in errors:
            rate = errors_RN.sum() / (num_seeds * total)
            residual_RN = (errors_RN - rate * words_N) / total
            means.append(residual_RN.mean(axis=0))
            seed_R1 = residual_RN.sum(axis=1, keepdims=True)
            seeds.append(np.square(seed_R1).sum() / repeats)
            shared.append(
                np.square(residual_RN - means[-1] - seed_R1 / num_utterances).sum() / free / repeats
            )
        mean_KN = np.stack(means)
        freedom = len(errors) * (num_seeds - 1)
        return cls(mean_KN @ mean_KN.T / free, float(np.mean(seeds)), float(np.mean(shared)), freedom)

    def standard_errors(self, first: Ints, second: Ints) -> Floats:
        """Of the differences (P,)."""
        c = self.utterances_KK
        by_utterance_P = c[first, first] + c[second, second] - 2 * c[first, second]
        by_seed = 2 * max(0.0, self.seeds - self.shared) if self.freedom else 0.0
        return np.asarray(np.sqrt(np.maximum(by_utterance_P, 0) + by_seed))

    def by_utterance(self, rng: np.random.Generator) -> Floats:
        """Draws (D, K)."""
        values, vectors = np.linalg.eigh(self.utterances_KK)
        drawn_DK = rng.standard_normal((NUM_DRAWS, len(values)))
        return np.asarray(drawn_DK * np.sqrt(np.maximum(values, 0)) @ vectors.T)

    def by_seed(self, rng: np.random.Generator) -> Floats:
        """Draws (D, K); nothing where there is one seed."""
        size = NUM_DRAWS, len(self.utterances_KK)
        if not self.freedom:
            return np.zeros(size)
        variance_D1 = self.seeds * self.freedom / rng.chisquare(self.freedom, (NUM_DRAWS, 1)) - self.shared
        return np.asarray(rng.standard_normal(size) * np.sqrt(np.maximum(variance_D1, 0)))
