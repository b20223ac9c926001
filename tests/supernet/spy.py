"""The training command, which also saves the plans, the utterances and the weights of this rank."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from supernet import engine, train
from supernet.network.outputs import StepLoss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.plan import Plan, Step
from supernet.task import Batch
from supernet.training.schedule import Schedule

plans: list[Any] = []
utterances: list[str] = []

_plan, _forward, _train = Schedule.plan, SupernetCTC.forward, engine.train


def plan(self: Schedule, step: int) -> Plan:
    drawn = _plan(self, step)
    plans.append([step, *([p.budget, p.kept, p.share, p.weight] for p in drawn.passes)])
    return drawn


def forward(self: SupernetCTC, batch: Batch, step: Step) -> StepLoss:
    utterances.extend(batch.ids)
    return _forward(self, batch, step)


def weights(model: SupernetCTC) -> dict[str, str]:
    state = model.state_dict().items()
    return {name: hashlib.sha256(t.cpu().numpy().tobytes()).hexdigest() for name, t in state}


def train_and_note(*args: Any, **kwargs: Any) -> engine.Result:
    result = _train(*args, **kwargs)
    note = {"plans": plans, "utterances": utterances, "weights": weights(result.model)}
    path = Path(os.environ["PLANS"]) / f"plans-{os.environ['RANK']}.json"
    path.write_text(json.dumps(note), encoding="utf-8")
    return result


if __name__ == "__main__":
    Schedule.plan = plan  # type: ignore[method-assign]
    SupernetCTC.forward = forward  # type: ignore[method-assign]
    engine.train = train_and_note
    train.main(sys.argv[1:])
