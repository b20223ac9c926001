"""Similarity of the residual stream at different depths.

Both measures compare two representations of the same frames, and ignore rotation, scale and mean: linear
centered kernel alignment (CKA, arXiv 1905.00414) and singular-vector canonical correlation (SVCCA, arXiv
1706.05806).

Shapes: N frames, D channels (the model dimension), K features, S stream frames, U units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selection.evidence import Measure
from selection.measuring.frozen import frozen
from supernet.network.lanes import Lane, LaneWalk, Padding
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import Body, Map
from supernet.task import Batch, ProgressCallback

Floats = NDArray[np.float64]

MAX_FRAMES = 4000
"""Frames to compare: several times the number of channels, so that chance correlations stay small."""
MAX_BYTES = 2**30
"""Memory limit for the features of all streams, in float64."""
VARIANCE = 0.99
"""Share of a stream's variance that SVCCA keeps."""
_CONSTANT = 1e-7
"""A stream whose deviation from its mean is this small, relative to its norm, is float32 rounding noise."""


def linear_cka(x_ND: Floats, y_ND: Floats) -> float:
    """Linear CKA of two sets of channels, which may differ in number, in [0, 1] (arXiv 1905.00414, eq. 5)."""
    return _alike("cka", _cka_features(x_ND), _cka_features(y_ND))


def svcca(x_ND: Floats, y_ND: Floats, variance: float = VARIANCE) -> float:
    """Mean canonical correlation of the leading directions that hold ``variance`` of each, in [0, 1]
    (arXiv 1706.05806, section 2.1); the mean is over as many as the smaller of the two has.
    """
    return _alike("svcca", _svcca_features(x_ND, variance), _svcca_features(y_ND, variance))


def stream_similarities(
    recognizer: SupernetCTC,
    batches: Iterable[Batch],
    measure: Measure,
    report: ProgressCallback,
    *,
    max_frames: int = MAX_FRAMES,
) -> Floats:
    """Pairwise similarities of the full network's stream before its first unit and after each unit.

    The stream is read directly after a unit, before what remains of its layer (a block's final norm, the
    posteriors that self-conditioning adds). Units that run together leave the same stream, which is compared
    once. A constant stream is similar only to other constant streams.

    Args:
        recognizer: The trained supernet.
        batches: Utterances to run.
        measure: ``cka`` or ``svcca``.
        report: Called after each batch and after each stream.
        max_frames: Most valid frames to compare, evenly spread over ``batches``; fewer where memory is short.

    Returns:
        A symmetric matrix (U + 1, U + 1) with values in [0, 1], and 1 on the diagonal.

    Raises:
        ValueError: ``batches`` is empty.
    """
    streams, make = _collect(recognizer, list(batches), max_frames, report), _FEATURES[measure]
    features: list[Floats] = []
    while streams:  # one by one, so that streams and features are not all in memory at once
        features.append(make(streams.pop(0)))
    matrix = np.eye(len(features))
    for i, x_NK in enumerate(features):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = _alike(measure, x_NK, features[j])
        report("comparing streams", i + 1, len(features))
    groups = recognizer.table.groups
    place = np.repeat(np.arange(len(groups) + 1), [1, *map(len, groups)])
    return np.asarray(matrix[np.ix_(place, place)])


def _cka_features(x_ND: Floats) -> Floats:
    """Centered channels, scaled so that the squared norm of the cross-covariance of two streams is their CKA;
    no channels where ``x_ND`` is constant.
    """
    x_ND = _centered(x_ND)
    return np.asarray(x_ND / np.sqrt(np.linalg.norm(x_ND.T @ x_ND))) if x_ND.size else x_ND


def _svcca_features(x_ND: Floats, variance: float = VARIANCE) -> Floats:
    """An orthonormal basis (N, K) of the leading directions; K is 0 where ``x_ND`` is constant.

    From the eigenvectors of the covariance, which is small. They square the condition number, but every
    direction kept holds at least ``(1 - variance) / D`` of the variance.
    """
    x_ND = _centered(x_ND)
    if not x_ND.size:
        return x_ND
    variances_D, directions_DD = np.linalg.eigh(x_ND.T @ x_ND)
    variances_D, directions_DD = variances_D[::-1], directions_DD[:, ::-1]
    held_D = np.cumsum(variances_D)
    rank = np.count_nonzero(variances_D > 1e-12 * variances_D[0])
    count = min(rank, int(np.searchsorted(held_D, variance * held_D[-1])) + 1)
    return np.asarray(x_ND @ (directions_DD[:, :count] / np.sqrt(variances_D[:count])))


def _centered(x_ND: Floats) -> Floats:
    x_ND = np.asarray(x_ND, dtype=np.float64)
    centered_ND = x_ND - x_ND.mean(axis=0)
    is_constant = np.linalg.norm(centered_ND) <= _CONSTANT * np.linalg.norm(x_ND)
    return np.asarray(centered_ND[:, :0] if is_constant else centered_ND)


_FEATURES: dict[Measure, Callable[[Floats], Floats]] = {"cka": _cka_features, "svcca": _svcca_features}


def _alike(measure: Measure, x_NK: Floats, y_NK: Floats) -> float:
    """The similarity of two streams from their features."""
    count = min(x_NK.shape[1], y_NK.shape[1])
    if count == 0:  # means are ignored, so that all constant streams are equal
        return float(x_NK.shape == y_NK.shape)
    cross_KK = x_NK.T @ y_NK
    if measure == "cka":
        return min(1.0, float(np.square(cross_KK).sum()))
    return min(1.0, float(np.linalg.svd(cross_KK, compute_uv=False).mean()))


def _collect(
    recognizer: SupernetCTC, batches: Sequence[Batch], max_frames: int, report: ProgressCallback
) -> list[Floats]:
    """The same frames before the first unit and after each group of units, each (N, D)."""
    num_streams, dim = len(recognizer.table.groups) + 1, recognizer.config.model.dim
    chosen = _chosen_frames(batches, min(max_frames, MAX_BYTES // (num_streams * dim * 8)))
    parts = []
    with frozen(recognizer), torch.no_grad():
        for i, (batch, (rows, frames)) in enumerate(zip(batches, chosen, strict=True)):
            if len(rows):
                parts.append(_streams_of(recognizer, batch, rows, frames))
            report("running the full network", i + 1, len(batches))
    return [np.concatenate(stream) for stream in zip(*parts, strict=True)]


def _chosen_frames(batches: Sequence[Batch], most: int) -> list[tuple[Tensor, Tensor]]:
    """For each batch, rows and stream frames of at most ``most`` valid frames, evenly spread over all."""
    lengths = np.array([n for batch in batches for n in batch.stream_lengths], dtype=np.int64)
    if not len(lengths):
        raise ValueError("`batches` must hold at least one utterance, but are empty instead.")
    ends, total = np.cumsum(lengths), int(lengths.sum())
    count = min(total, max(1, most))
    wanted = np.arange(count) * total // count
    utterances = np.searchsorted(ends, wanted, side="right")
    frames = wanted - (ends - lengths)[utterances]
    chosen, start = [], 0
    for batch in batches:
        here = (utterances >= start) & (utterances < start + len(batch))
        chosen.append((torch.from_numpy(utterances[here] - start), torch.from_numpy(frames[here])))
        start += len(batch)
    return chosen


def _streams_of(recognizer: SupernetCTC, batch: Batch, rows: Tensor, frames: Tensor) -> list[Floats]:
    batch.to(recognizer.device)
    lane = Lane(range(len(batch)), recognizer.table.full)
    walk = recognizer.walk(batch, [lane], partial(_NotingWalk, rows=rows, frames=frames))
    return [x_ND.cpu().numpy() for x_ND in walk.noted]


class _NotingWalk:
    """Records some frames of the stream before the first unit and after each group of units."""

    def __init__(
        self, x_BSD: Tensor, padding: Padding, lanes: Sequence[Lane], *, rows: Tensor, frames: Tensor
    ) -> None:
        self._walk = LaneWalk(x_BSD, padding, lanes)
        self._frames = rows.to(x_BSD.device), frames.to(x_BSD.device)
        self.noted = [self._walk.x_RSD[self._frames]]

    def run(self, units: Sequence[int], body: Body) -> None:
        self._walk.run(units, body)
        self.noted.append(self._walk.x_RSD[self._frames])

    def apply(self, map: Map) -> None:
        self._walk.apply(map)

    def read(self, position: int, norm: Map) -> None:
        self._walk.read(position, norm)
