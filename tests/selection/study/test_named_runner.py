"""Studies of named trainings: each is run once, whatever is added or removed; the plan has all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from selection.study.named_runner import NamedRunner, Outcome
from selection.study.storage import create, open_storage
from selection.study.work import ended, work
from supernet.runs.resolve import Resolved, resolve
from tests.selection.study.counting import GRACE

pytestmark = [
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


@dataclass(frozen=True)
class Lesson:
    subject: str
    steps: int = 10
    seed: int = 0
    rate: float | None = None

    @property
    def name(self) -> str:
        return f"{self.subject}{'' if self.rate is None else f'-rate{self.rate:g}'}-seed{self.seed}"

    def at_rate(self, rate: float) -> Lesson:
        return replace(self, rate=rate)


class School(NamedRunner[Lesson]):
    parameter = "lesson"

    def __init__(
        self, folder: Path, lessons: Sequence[Lesson], rates: Sequence[float] = (), grade: int = 0
    ) -> None:
        super().__init__(folder, lessons, rates)
        self.grade, self.taught = grade, list[str]()

    def resolved(self, training: Lesson) -> Resolved:
        return resolve([{}])

    def tried(self, training: Lesson) -> Lesson:
        return replace(training, seed=0)

    def unit_steps(self, training: Lesson) -> float:
        return 2.0 * training.steps

    def outcome(self, study: Study, training: Lesson) -> Outcome:
        self.taught.append(training.name)
        return Outcome(0.5, {"grade": self.grade}, [])

    def fits(self, training: Lesson, trial: FrozenTrial) -> bool:
        return int(trial.user_attrs["grade"]) >= self.grade


def study_of(runner: School) -> Study:
    storage = open_storage(None, runner.folder, GRACE)
    return create(storage, "school", runner.directions, runner.first(), {"kind": 1})


def taught(folder: Path, *subjects: str, grade: int = 0) -> list[str]:
    """The trainings that were run for these to have ended."""
    runner = School(folder, [Lesson(subject) for subject in subjects], grade=grade)
    work(study_of(runner), runner)
    return runner.taught


def test_only_what_is_added_is_run(tmp_path: Path) -> None:
    assert taught(tmp_path, "a", "b") == ["a-seed0", "b-seed0"]
    assert taught(tmp_path, "b", "c") == ["c-seed0"]
    assert taught(tmp_path, "a", "b", "c") == []
    assert taught(tmp_path, "c", "d", grade=1) == ["c-seed0", "d-seed0"]  # it did not record enough


def test_what_is_queued_but_no_longer_wanted_is_not_run(tmp_path: Path) -> None:
    study_of(School(tmp_path, [Lesson("a"), Lesson("b")]))
    assert taught(tmp_path, "b") == ["b-seed0"]
    assert taught(tmp_path, "a", "b") == ["a-seed0"]


def test_a_study_whose_names_were_drawn_from_fixed_choices_goes_on(tmp_path: Path) -> None:
    study = study_of(School(tmp_path, [Lesson("a"), Lesson("b")]))
    trial = study.ask()
    assert trial.suggest_categorical("lesson", ["a-seed0", "b-seed0"]) == "a-seed0"
    trial.set_user_attr("grade", 0)
    study.tell(trial, 0.5)
    assert taught(tmp_path, "a", "b", "c") == ["b-seed0", "c-seed0"]


def test_a_training_that_was_queued_twice_is_run_once(tmp_path: Path) -> None:
    runner = School(tmp_path, [Lesson("a"), Lesson("b")])
    study = study_of(runner)
    study.enqueue_trial({"lesson": "a-seed0"})
    work(study, runner)
    assert runner.taught == ["a-seed0", "b-seed0"]
    assert len(runner.counted(ended(study))) == 2


def test_a_training_lost_with_its_worker_is_run_again(tmp_path: Path) -> None:
    runner = School(tmp_path, [Lesson("a")])
    study = study_of(runner)
    lost = study.ask()
    study._storage.set_trial_state_values(lost._trial_id, TrialState.FAIL)
    work(study, runner)
    assert runner.taught == ["a-seed0"]


def test_the_plan_has_every_run_of_every_learning_rate(tmp_path: Path) -> None:
    lessons = [Lesson("a"), Lesson("a", seed=1), Lesson("b", steps=30)]
    plain = School(tmp_path, lessons).plan()
    assert [(one.name, one.steps, one.unit_steps()) for one in plain] == [
        ("a-seed0", 10, 20.0), ("a-seed1", 10, 20.0), ("b-seed0", 30, 60.0),
    ]  # fmt: skip
    # The first seed is trained with both rates, of which one counts; the others only with that.
    tried = School(tmp_path, lessons, rates=[0.1, 0.2]).plan()
    assert [one.name for one in tried] == [
        "a-rate0.1-seed0", "a-rate0.2-seed0", "a-seed1", "b-rate0.1-seed0", "b-rate0.2-seed0",
    ]  # fmt: skip
