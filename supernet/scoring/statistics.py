"""Bootstrap intervals, permutation tests and corrections for several of them.

Samples are drawn in blocks, so that memory does not grow with the number of utterances; the size of a block
does not affect results.

Shapes: N utterances, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

NUM_RESAMPLES = 2000
NUM_SHUFFLES = 10_000
BLOCK = 1 << 18
"""Random numbers drawn at once."""


def interval(errors_N: Ints, words_N: Ints, seed: int = 0, num: int = NUM_RESAMPLES) -> tuple[float, float]:
    """95 % percentile bootstrap interval of an error rate.

    Utterances are resampled, because errors within an utterance are not independent.

    Args:
        errors_N: Errors of each utterance, or differences in errors between two systems.
        words_N: Reference words of each utterance.
        seed: Seed of the samples.
        num: The number of samples.
    """
    low, high = np.quantile(resampled_rates(errors_N, words_N, seed, num), [0.025, 0.975])
    return float(low), float(high)


def resampled_rates(errors_N: Ints, words_N: Ints, seed: int = 0, num: int = NUM_RESAMPLES) -> Floats:
    """Error rates (R,) of ``num`` samples of N utterances drawn with replacement."""
    rng, size = np.random.default_rng(seed), len(errors_N)
    errors_R, words_R = np.zeros(num, np.int64), np.zeros(num, np.int64)
    for rows, edges, places in _blocks(num, size):
        picks = rng.integers(0, size, len(places))
        errors_R[rows] += np.add.reduceat(errors_N[picks], edges)
        words_R[rows] += np.add.reduceat(words_N[picks], edges)
    return errors_R / np.maximum(words_R, 1)


def permutation_p(errors_N: Ints, other_N: Ints, seed: int = 0, num: int = NUM_SHUFFLES) -> float:
    """Two-sided p-value of a paired permutation test of two systems (approximate randomization).

    The null hypothesis is that both make the same number of errors; the results of the two systems are
    exchanged at random for each utterance.
    """
    change_N = (errors_N - other_N)[errors_N != other_N]
    if len(change_N) == 0:
        return 1.0
    rng, sums_R = np.random.default_rng(seed), np.zeros(num, np.int64)
    for rows, edges, places in _blocks(num, len(change_N)):
        signs = 2 * rng.integers(0, 2, len(places)) - 1
        sums_R[rows] += np.add.reduceat(signs * change_N[places], edges)
    as_large = np.abs(sums_R) >= abs(change_N.sum())
    return float((1 + as_large.sum()) / (1 + num))


def paired_difference(
    errors_N: Ints, other_N: Ints, words_N: Ints, seed: int = 0
) -> tuple[float, float, float]:
    """Difference of two error rates with its 95 % interval, by a paired bootstrap over utterances."""
    change_N = errors_N - other_N
    return float(change_N.sum() / words_N.sum()), *interval(change_N, words_N, seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values with the correction for multiple comparisons by Holm (1979), in the order given."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _blocks(num_rows: int, size: int) -> Iterator[tuple[slice, NDArray[np.intp], NDArray[np.intp]]]:
    """Split ``num_rows`` concatenated rows of ``size`` numbers into blocks.

    Yields:
        The rows that a block overlaps, the position in the block at which each of them begins, and the
        position of every number within its row.
    """
    for start in range(0, num_rows * size, BLOCK):
        stop = min(start + BLOCK, num_rows * size)
        rows = np.arange(start // size, (stop - 1) // size + 1)
        places = np.arange(start, stop) % size
        yield slice(rows[0], rows[-1] + 1), np.maximum(rows * size - start, 0), places
