"""Division of a batch among processes, each of which runs a step on some of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from supernet.plan import Step
from supernet.task import Batch


def divide_rows(costs: Sequence[float], count: int) -> list[tuple[int, ...]]:
    """Divide rows so that the sums of their costs are about equal.

    The most expensive row that is left goes to the part that has the least (Graham, "Bounds on
    multiprocessing timing anomalies", SIAM Journal on Applied Mathematics 17, 1969).

    Args:
        costs: The cost of each row.
        count: The number of parts.

    Returns:
        The rows of each part in ascending order; the last parts are empty where there are fewer rows.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    sums = [0.0] * count
    for row in sorted(range(len(costs)), key=lambda row: -costs[row]):
        least = min(range(count), key=sums.__getitem__)
        parts[least].append(row)
        sums[least] += costs[row]
    return [tuple(sorted(part)) for part in parts]


def row_costs(step: Step, num_frames: Sequence[int]) -> list[float]:
    """The relative cost of each row of a batch: its frames times the units that it runs in all passes.

    What runs once for a row, such as the frontend, counts as one unit in twelve.
    """
    always = len(step.plan.passes[0].kept) / 12
    return [
        frames
        * (
            always
            + sum(sum(p.kept) for p, rows in zip(step.plan.passes, step.rows, strict=True) if i in rows)
        )
        for i, frames in enumerate(num_frames)
    ]


def part_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of ``batch``, without padding that only the others need."""
    frames, targets = [batch.num_frames[i] for i in rows], [batch.num_targets[i] for i in rows]

    def of(values: Tensor, width: int) -> Tensor:
        return values[list(rows), :width]

    return replace(
        batch,
        features_BTF=of(batch.features_BTF, max(frames)),
        num_frames=frames,
        targets_BL=of(batch.targets_BL, max(targets)),
        num_targets=targets,
        ids=[batch.ids[i] for i in rows],
        texts=[batch.texts[i] for i in rows],
        hidden_BTF=None if batch.hidden_BTF is None else of(batch.hidden_BTF, max(frames)),
    )
