"""Training from Python: the calls of its listener, and the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from supernet import Recognizer
from supernet.errors import UserError
from supernet.runs.resolve import Resolved, resolve
from supernet.runs.run import Run
from supernet.scoring.error_rates import Measure
from supernet.trainer import FinishedError, Stopped, TrainingListener, train_run
from tests.supernet.processes import NET

STEPS = 6


def tiny_training(tones: Path, steps: int = STEPS, **changes: Any) -> Resolved:
    train = {"num_steps": steps, "publish_every": 2, "checkpoint_every": 2, "validate_every": 2}
    task = {"name": "manifest", "path": str(tones), "batch_seconds": 8}
    settings = {"task": task, "sizes": [1, 2], "model": NET, "train": train, "device": "cpu"}
    return resolve([settings, changes])


class Recorder(TrainingListener):
    """Records all calls."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.steps: list[int] = []
        self.events: list[str] = []
        self.validations: list[tuple[int, Measure, dict[str, float]]] = []

    def progress(self, what: str, done: int, total: int) -> None:
        if what == "training":
            self.steps.append(done)
            if done == self.stop_at:
                raise KeyboardInterrupt

    def event(self, text: str) -> None:
        self.events.append(text)

    def validated(self, step: int, measure: Measure, rates: Mapping[str, float]) -> None:
        self.validations.append((step, measure, dict(rates)))


def test_a_stopped_training_continues_to_its_results(tones: Path, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "run", Recorder(stop_at=4), Recorder()
    with pytest.raises(Stopped, match="kept"):
        train_run(tiny_training(tones), folder, first)
    assert first.steps == [1, 2, 3, 4]
    results = train_run(tiny_training(tones), folder, second)
    assert second.steps[-1] == STEPS
    assert second.steps[0] in (3, 4, 5), "training must continue from a checkpoint"
    assert [step for step, *_ in first.validations + second.validations][-1] == STEPS
    assert {name for _, _, rates in second.validations for name in rates} == {
        f"{measure}/{size}" for measure in ("wer", "cer") for size in (1, 2)
    }
    assert results["skipped_updates"] == 0
    assert list(results["sizes"]) == ["1", "2"]
    assert Run(folder).results() == results
    assert Recognizer.load(folder).use(1)


@pytest.mark.parametrize(
    ("method", "options"),
    [("ortho-softmax", {}), ("auto-train-once", {"every": 2, "held_out": 0.4}), ("dais", {"held_out": 0.4})],
)
def test_a_stopped_training_for_a_cost_ends_like_one_in_one_go(
    method: str, options: dict[str, float], tones: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "method": {"name": method, **options}, "granularity": "component",
        "budgets": ["macs=60%", "macs=100%"], "model": {"num_layers": 2}, "train": {"processes": 1},
    }  # fmt: skip
    with pytest.raises(Stopped):
        train_run(tiny_training(tones, **changes), tmp_path / "stopped", Recorder(stop_at=3))
    for name in ("stopped", "straight"):
        results = train_run(tiny_training(tones, **changes), tmp_path / name)
        assert list(results["sizes"]) == ["macs=60%", "macs=100%"]
    weights, others = (load_file(tmp_path / name / "model.safetensors") for name in ("stopped", "straight"))
    assert all(torch.equal(weights[name], others[name]) for name in others)
    assert any("penalty/" in key for line in Run(tmp_path / "straight").metrics("train") for key in line)


def test_a_corpus_too_small_to_hold_out_utterances_is_an_error(tones: Path, tmp_path: Path) -> None:
    method = {"name": "dais", "held_out": 0.005}
    with pytest.raises(UserError, match=r"`method.held_out` must leave training utterances on both sides"):
        train_run(tiny_training(tones, method=method), tmp_path / "run")


def test_a_finished_run_returns_its_results_and_takes_no_more_updates(tones: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    results = train_run(tiny_training(tones, steps=2), folder)
    again = Recorder()
    assert train_run(tiny_training(tones, steps=2), folder, again) == results
    assert (again.steps, len(again.events)) == ([], 1)
    with pytest.raises(FinishedError, match="after 2 updates"):
        train_run(tiny_training(tones, steps=4), folder)
