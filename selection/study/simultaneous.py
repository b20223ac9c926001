"""Simultaneous confidence intervals for differences between error rates, valid also where the yardstick was
chosen because it looks best on the same test set.

If the yardstick is the best of k contenders, any of the k (k - 1) / 2 differences might have been the one to
look at, so the intervals have to cover all of them (multiple comparisons with the best: Tukey; Hsu, 1996). A
yardstick that was named beforehand needs the comparisons with itself only (Dunnett, 1955). There are two
sources of randomness: the test utterances, which all contenders share, and the seeds. A few seeds say little
about the variance between trainings. As in those procedures it is assumed equal for all contenders, and it is
drawn from its generalized pivotal quantity (Weerahandi, 1993). Without variance between utterances this
reduces to Student's t.

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
    """Half-widths of simultaneous 95 % confidence intervals for the differences of pairs of contenders.

    Args:
        errors: Errors (R, N) of each contender on the same utterances.
        words_N: Words of each utterance.
        pairs: The pairs to compare, by their indices in ``errors``.
        seed: Seed of the draws.

    Returns:
        The half-width of the interval around each difference (P,). With one seed the intervals are about
        these trainings only, and say nothing about other seeds.
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
    """Sampling distribution of the contenders' mean error rates."""

    utterances_KK: Floats
    """Covariance due to utterances, including their interaction with single trainings."""
    seeds: float
    """Variance due to seeds."""
    shared: float
    """The part of ``seeds`` that ``utterances_KK`` contains as well."""
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
        """Standard errors of the differences (P,)."""
        c = self.utterances_KK
        by_utterance_P = c[first, first] + c[second, second] - 2 * c[first, second]
        by_seed = 2 * max(0.0, self.seeds - self.shared) if self.freedom else 0.0
        return np.asarray(np.sqrt(np.maximum(by_utterance_P, 0) + by_seed))

    def by_utterance(self, rng: np.random.Generator) -> Floats:
        """Draws (D, K) of the deviation due to utterances."""
        values, vectors = np.linalg.eigh(self.utterances_KK)
        drawn_DK = rng.standard_normal((NUM_DRAWS, len(values)))
        return np.asarray(drawn_DK * np.sqrt(np.maximum(values, 0)) @ vectors.T)

    def by_seed(self, rng: np.random.Generator) -> Floats:
        """Draws (D, K) of the deviation due to seeds; 0 if there is only one."""
        size = NUM_DRAWS, len(self.utterances_KK)
        if not self.freedom:
            return np.zeros(size)
        variance_D1 = self.seeds * self.freedom / rng.chisquare(self.freedom, (NUM_DRAWS, 1)) - self.shared
        return np.asarray(rng.standard_normal(size) * np.sqrt(np.maximum(variance_D1, 0)))
