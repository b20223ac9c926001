"""Ten updates in a row with non-finite gradients stop a run; earlier checkpoints remain."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from supernet.engine.readers import StepBudget
from supernet.engine.train_unit import MAX_SKIPPED_IN_A_ROW, SupernetUnit
from supernet.errors import Divergence
from supernet.methods.simple_top_k import SimpleTopK, SimpleTopKOptions
from supernet.network.supernet_ctc import SupernetCTC
from supernet.scoring.error_rates import Measure
from supernet.training.schedule import Schedule
from tests.supernet.tiny import tiny_config


class Silent:
    """An observer of a training that does nothing."""

    def on_start(self, schedule: Schedule) -> None: ...

    def on_step(self, step: int) -> None: ...

    def on_note(self, text: str) -> None: ...

    def on_publish(
        self, step: int, scores: list[float], gates: list[float] | None, losses: Mapping[str, float]
    ) -> None: ...

    def on_validated(self, step: int, measure: Measure, values: Mapping[str, object]) -> None: ...


class NoBatches:
    """A reader that is never read from."""

    def __iter__(self) -> NoBatches:
        return self

    def __next__(self) -> object:
        raise StopIteration

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


def make_unit() -> tuple[SupernetCTC, SupernetUnit]:
    config = tiny_config()
    torch.manual_seed(0)
    model = SupernetCTC(config, 8)
    schedule = Schedule(SimpleTopK(SimpleTopKOptions(), config), model, seed=0)
    budget = StepBudget(NoBatches(), config.train.num_steps, 1)  # type: ignore[arg-type]
    return model, SupernetUnit(model, model, schedule, budget, 0, Silent())


def test_ten_skipped_updates_in_a_row_stop_the_run_and_name_the_step() -> None:
    model, unit = make_unit()
    unit.set_step_nr(30)
    model.skipped_in_a_row.fill_(MAX_SKIPPED_IN_A_ROW)
    with pytest.raises(Divergence, match="from step 21 on"):
        unit.process_metric_values({})


def test_nine_skipped_updates_in_a_row_are_only_counted() -> None:
    model, unit = make_unit()
    unit.set_step_nr(30)
    model.skipped_in_a_row.fill_(MAX_SKIPPED_IN_A_ROW - 1)
    model.skipped_updates.fill_(12)
    values: dict[str, object] = {}
    unit.process_metric_values(values)
    assert values["skipped_updates"] == 12
