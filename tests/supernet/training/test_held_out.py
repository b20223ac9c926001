"""Utterances that are held out for the scorer: disjoint, complete, and read again exactly after a stop."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from supernet.engine.readers import StepBudget
from supernet.errors import UserError
from supernet.task import Batch
from supernet.training.held_out import Side, joined, next_batch
from tests.supernet import tiny

FRAMES = [60, 33, 47, 60, 52, 21, 38, 44]


class Numbered:
    """An endless stream of batches of different utterances, in rounds of ``num_utterances``."""

    def __init__(self, num_utterances: int = 200) -> None:
        self._num_utterances, self.number = num_utterances, 0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = tiny.batch(FRAMES, seed=self.number, dtype=torch.float32)
        first = self.number * len(FRAMES)
        batch.ids = [f"utterance {(first + i) % self._num_utterances}" for i in range(len(FRAMES))]
        batch.hidden_BTF = (
            torch.rand(batch.features_BTF.shape, generator=torch.Generator().manual_seed(1)) < 0.1
        )
        self.number += 1
        return batch

    def state_dict(self) -> dict[str, object]:
        return {"number": self.number}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.number = int(str(state["number"]))


def in_turn(step: int) -> Side | None:
    """The scorer's utterances in every third of 24 steps, then all."""
    return Side(0.2, step % 3 == 0) if step < 24 else None


@given(st.floats(0.01, 0.99), st.text())
def test_an_utterance_is_on_one_side(share: float, id: str) -> None:
    assert Side(share, True).has(id) != Side(share, False).has(id)


def test_the_share_of_utterances_that_are_held_out_is_as_asked_for() -> None:
    held = sum(Side(0.2, True).has(f"utterance {i}") for i in range(5000))
    assert held / 5000 == pytest.approx(0.2, abs=0.02)


def test_scorer_and_weights_see_different_utterances_until_none_are_held_out() -> None:
    reader = StepBudget(Numbered(), 60, 1, in_turn)
    seen: dict[str, set[str]] = {"scorer": set(), "weights": set(), "later": set()}
    for step in range(60):
        (batch,) = next(reader)
        reader.begin(step + 1)
        seen["later" if step >= 24 else "weights" if step % 3 else "scorer"] |= set(batch.ids)
        assert len(batch) >= len(FRAMES) // 2
    assert not seen["scorer"] & seen["weights"]
    assert len(seen["later"]) == 200


def test_a_reader_that_is_stopped_goes_on_with_the_same_batches() -> None:
    straight, stopped = (StepBudget(Numbered(), 30, 2, in_turn) for _ in range(2))
    for step in range(7):
        for reader in (straight, stopped):
            next(reader)
            reader.begin(step + 1)
    resumed = StepBudget(Numbered(), 30, 2, in_turn)
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    for step in range(7, 30):
        ours, theirs = next(resumed), next(straight)
        for reader in (resumed, straight):
            reader.begin(step + 1)
        for a, b in zip(ours, theirs, strict=True):
            assert a.ids == b.ids
            assert torch.equal(a.features_BTF, b.features_BTF)


def test_utterances_of_several_batches_keep_all_that_belongs_to_them() -> None:
    reader = Numbered()
    parts = [next(reader), next(reader)]
    whole = joined(parts)
    for part, start in ((parts[0], 0), (parts[1], len(FRAMES))):
        for i in range(len(part)):
            frames, targets = part.num_frames[i], part.num_targets[i]
            assert (whole.ids[start + i], whole.texts[start + i]) == (part.ids[i], part.texts[i])
            assert (whole.num_frames[start + i], whole.num_targets[start + i]) == (frames, targets)
            assert torch.equal(whole.features_BTF[start + i, :frames], part.features_BTF[i, :frames])
            assert torch.equal(whole.targets_BL[start + i, :targets], part.targets_BL[i, :targets])
            assert whole.hidden_BTF is not None
            assert part.hidden_BTF is not None
            assert torch.equal(whole.hidden_BTF[start + i, :frames], part.hidden_BTF[i, :frames])
            assert not whole.features_BTF[start + i, frames:].any()


@pytest.mark.parametrize(("share", "is_held_out"), [(0.25, True), (0.25, False), (0.1, True), (0.6, False)])
def test_a_step_has_as_many_utterances_as_are_counted(share: float, is_held_out: bool) -> None:
    side, reader = Side(share, is_held_out), Numbered(8 * 997)
    sizes = [len(next_batch(reader, side)) for _ in range(150)]
    assert sum(sizes) / len(sizes) / len(FRAMES) == pytest.approx(side.rows, rel=0.25)


@pytest.mark.parametrize("is_held_out", [True, False])
def test_too_few_utterances_are_an_error_in_one_line(is_held_out: bool) -> None:
    name = next(f"utterance {i}" for i in range(99) if Side(0.5, not is_held_out).has(f"utterance {i}"))
    reader = Numbered()
    make = reader.__next__

    class Single(Numbered):
        def __next__(self) -> Batch:
            batch = make()
            batch.ids = [name] * len(batch.ids)
            return batch

    with pytest.raises(UserError, match=r"`method.held_out` must leave training utterances") as error:
        next_batch(Single(), Side(0.5, is_held_out))
    assert len(str(error.value).splitlines()) == 1
