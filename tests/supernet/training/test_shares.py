"""Over a training, every pass gets its share of the rows for any sizes and any lengths of batches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.engine.readers import StepBudget
from supernet.method import Moment, Progress
from supernet.network.passes import IntermediateCTC, jobs_of
from supernet.plan import Pass, Plan
from supernet.training.phases import Joint, default_shares
from supernet.training.shares import RowAccount, assign_rows, divide
from supernet.training.step import step_of
from tests.supernet.tiny import tiny_config, units_of

shares = st.lists(st.floats(0.001, 100), min_size=1, max_size=9)
counts = st.lists(st.integers(0, 40), min_size=1, max_size=100)


def passes_of(parts: Sequence[float]) -> list[Pass]:
    return [Pass(str(size), (True,), share=share) for size, share in enumerate(parts, 1)]


def given_rows(parts: Sequence[float], lengths: Sequence[int]) -> list[list[int]]:
    """The rows of each pass, batch by batch."""
    account, passes, rows = RowAccount(), passes_of(parts), []
    for length in lengths:
        rows.append([len(r) for r in assign_rows(passes, length, account.owed)])
        account.settle(passes, length)
    return rows


@given(shares, counts)
def test_no_pass_is_ever_a_row_ahead_or_behind(parts: list[float], lengths: list[int]) -> None:
    total, got, rows = sum(parts), [0] * len(parts), 0
    for length, batch in zip(lengths, given_rows(parts, lengths), strict=True):
        assert sum(batch) == length
        assert min(batch) >= 0
        rows += length
        got = [a + b for a, b in zip(got, batch, strict=True)]
        assert max(abs(a - s / total * rows) for a, s in zip(got, parts, strict=True)) < 1


@pytest.mark.parametrize("sizes", [(6, 9, 12), (4, 6, 8, 10, 12), tuple(range(3, 13)), (2, 48)])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 12, 30, None])
def test_every_size_is_trained_with_the_default_shares(sizes: tuple[int, ...], length: int | None) -> None:
    rng = random.Random(0)
    lengths = [length or rng.randint(1, 24) for _ in range(100)]
    parts = default_shares([str(size) for size in reversed(sizes)])
    batches = given_rows(list(parts.values()), lengths)
    for size, column in zip(parts, zip(*batches, strict=True), strict=True):
        assert sum(column) == pytest.approx(parts[size] * sum(lengths), abs=1)
    assert sum(lengths) < 200 or all(sum(column) for column in zip(*batches, strict=True))


@pytest.mark.parametrize(
    ("parts", "lengths", "rows"),
    [
        ([0.5, 0.5], [1, 1, 1, 1], [[1, 0], [0, 1], [1, 0], [0, 1]]),
        ([1, 1, 1], [16, 16, 16], None),
        ([0.2, 0.5, 0.3], [10], [[2, 5, 3]]),
        ([0.0, 1.0], [3, 1], [[0, 3], [0, 1]]),
        ([1.0], [3, 0], [[3], [0]]),
    ],
)
def test_divisions_equal_hand_computed_ones(
    parts: list[float], lengths: list[int], rows: list[list[int]] | None
) -> None:
    found = given_rows(parts, lengths)
    if rows is not None:
        assert found == rows
    else:
        assert [sum(column) for column in zip(*found, strict=True)] == [16, 16, 16]
        assert all(max(batch) - min(batch) == 1 for batch in found)


@given(shares, st.integers(1, 40), st.data())
def test_slices_are_neighbors_in_the_order_of_the_passes(
    parts: list[float], batch_size: int, data: st.DataObject
) -> None:
    passes = passes_of(parts)
    account = RowAccount()
    for length in data.draw(counts):
        account.settle(passes, length)
    rows = assign_rows(passes, batch_size, account.owed)
    assert [row for slice_ in rows for row in slice_] == list(range(batch_size))


def test_passes_without_a_share_get_all_rows() -> None:
    passes = [Pass("2", (True,)), Pass("1", (True,), share=0.25), Pass("3", (True,), share=0.75)]
    assert assign_rows(passes, 4) == [range(4), range(1), range(1, 4)]


def test_a_step_follows_the_account() -> None:
    plan = Plan((Pass("2", (True, True), share=0.5), Pass("1", (True, False), share=0.5)))
    account, reader, sizes = RowAccount(), IntermediateCTC((), (0, 1), 0.5), []
    for _ in range(4):
        jobs = jobs_of(step_of(plan, 1, owed=account.owed), reader, lambda gate: torch.ones(2))
        sizes.append([job.pass_.budget for job in jobs])
        account.settle(plan.passes, 1)
    assert sizes == [["2"], ["1"], ["2"], ["1"]]


def test_passes_of_one_name_have_accounts_of_their_own() -> None:
    passes = [Pass("2", (True,), share=0.5), Pass("2", (True,), share=0.5)]
    account = RowAccount()
    account.settle(passes, 1)
    assert sorted(account.owed.values()) == [-0.5, 0.5]


def test_a_plan_that_changes_from_step_to_step_has_no_account() -> None:
    """Each step draws two of three sizes."""
    rng, account, due, got = random.Random(0), RowAccount(), [0.0] * 3, [0] * 3
    for step in range(300):
        account.begin(step, 0)
        chosen = sorted(rng.sample(range(3), 2))
        passes = [Pass(str(i), (True,), share=(0.9, 0.07, 0.03)[i]) for i in chosen]
        length = rng.randint(1, 12)
        for i, p, rows in zip(chosen, passes, assign_rows(passes, length, account.owed), strict=True):
            got[i] += len(rows)
            due[i] += length * (p.share or 0) / sum(q.share or 0 for q in passes)
        account.settle(passes, length)
    assert max(abs(a - b) for a, b in zip(got, due, strict=True)) < 2


def test_beginning_a_step_is_idempotent() -> None:
    passes = passes_of([0.6, 0.3, 0.1])
    once, twice = RowAccount(), RowAccount()
    for step in range(7):
        for account in (once, twice):
            account.begin(step, 0)
            account.settle(passes, 5)
            account.settle(passes, 4)
        if step % 2:
            twice.begin(step, 0)
            twice.settle(passes, 5)
            twice.settle(passes, 4)
    assert twice.owed == once.owed


def test_each_phase_has_a_new_account() -> None:
    account = RowAccount()
    account.begin(0, 0)
    account.settle(passes_of([0.6, 0.4]), 1)
    account.begin(1, 1)
    assert account.owed == {}


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_a_resumed_training_divides_rows_the_same(stop: int) -> None:
    """The account is saved with the position in the data, of which every rank has its own."""

    class Endless:
        def state_dict(self) -> dict[str, object]:
            return {}

        def load_state_dict(self, state: dict[str, object]) -> None:
            assert state == {}

    def budget() -> StepBudget:
        return StepBudget(Endless(), 10, 1)  # type: ignore[arg-type]

    config, table = tiny_config(sizes=(1, 2, 3, 4)), units_of(4, "layer")
    subnets = {str(size): tuple(i < size for i in range(4)) for size in config.sizes}
    plan = Joint(10, config).plan(Moment(Progress(0, 10), table, subnets, random.Random(0)))
    found: list[list[range]] = []
    reader = budget()
    for step, length in zip(range(10), itertools.cycle([3, 1, 7]), strict=False):
        if step == stop:
            state = reader.state_dict()
            reader = budget()
            reader.load_state_dict(state)
        reader.rows.begin(step, 2)
        found.append(assign_rows(plan.passes, length, reader.rows.owed))
        reader.rows.settle(plan.passes, length)
    whole = given_rows(
        [p.share or 0 for p in plan.passes], list(itertools.islice(itertools.cycle([3, 1, 7]), 10))
    )
    assert [[len(rows) for rows in batch] for batch in found] == whole


def test_a_checkpoint_without_an_account_starts_one() -> None:
    class Endless:
        def state_dict(self) -> dict[str, object]:
            return {}

        def load_state_dict(self, state: dict[str, object]) -> None:
            assert state == {}

    reader = StepBudget(Endless(), 10, 1)  # type: ignore[arg-type]
    reader.load_state_dict({"num_begun": 3, "reader": {}})
    assert (reader.state_dict()["num_begun"], reader.rows.owed) == (3, {})


def test_divide_returns_no_account_for_passes_without_one() -> None:
    assert divide([], 0, []) == []
