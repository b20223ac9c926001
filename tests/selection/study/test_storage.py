"""Storages shared by several workers: tables created at once, trials taken once, lost connections."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest

from selection.study.storage import create, load, open_storage
from supernet.errors import ArgumentError
from tests.selection.study.counting import GRACE
from tests.selection.study.postgresql import Server

DEFINITION = {"kind": 1}

pytestmark = [
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed"),
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]


def test_workers_that_start_at_the_same_time_share_a_study(storage: str, tmp_path: Path) -> None:
    """Each one creates the tables, the study and the first trials, unless another worker has."""
    together = threading.Barrier(4)

    def begin(_: int) -> int:
        together.wait()
        opened = open_storage(storage, tmp_path, GRACE)
        return create(opened, "counting", ["minimize"], [{"x": 0.25}], DEFINITION)._study_id

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(begin, range(4)))) == 1
    study = load(open_storage(storage, tmp_path, GRACE), "counting")
    assert [t.system_attrs["fixed_params"] for t in study.trials] == [{"x": 0.25}]


def test_no_trial_is_taken_twice(storage: str, tmp_path: Path) -> None:
    first = [{"x": i / 100} for i in range(20)]
    storages = [open_storage(storage, tmp_path, GRACE) for _ in range(4)]
    study = create(storages[0], "counting", ["minimize"], first, DEFINITION)
    studies = [study, *(optuna.load_study(study_name="counting", storage=s) for s in storages[1:])]
    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(lambda s: [s.ask().number for _ in range(5)], studies)
    assert sorted(number for numbers in asked for number in numbers) == list(range(20))


class TestPostgreSQL:
    def test_a_study_continues_after_the_server_is_restarted(
        self, postgresql: Server, tmp_path: Path
    ) -> None:
        opened = open_storage(postgresql.new_database(), tmp_path, GRACE)
        study = create(opened, "counting", ["minimize"], [{"x": 0.5}], DEFINITION)
        postgresql.stop()  # which ends every connection
        postgresql.start()
        trial = study.ask()
        study.tell(trial, trial.suggest_float("x", 0, 1))
        assert [t.value for t in study.trials] == [0.5]

    def test_a_missing_database_is_an_error(self, postgresql: Server, tmp_path: Path) -> None:
        address = postgresql.new_database().replace("postgres@", "postgres:secret@").replace("study_", "no_")
        with pytest.raises(ArgumentError, match=r"must be reachable, but .* \"no_\d+\" does not exist") as e:
            open_storage(address, tmp_path, GRACE)
        assert "\n" not in str(e.value)
        assert "secret" not in str(e.value)
