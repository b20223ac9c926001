"""Workers that share a study: the number of trials is exact, and none is lost with a killed worker."""

from __future__ import annotations

import contextlib
import io
import shutil
import signal
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from selection.study.storage import (
    HEARTBEAT,
    RETRY,
    BeatingDatabase,
    BeatingJournal,
    create,
    load,
    open_storage,
    without_password,
)
from selection.study.trial_runner import train_exclusively
from selection.study.work import work
from supernet.commands.train import layers
from supernet.console.parser import parse
from supernet.errors import ArgumentError
from supernet.runs.resolve import resolve
from supernet.runs.run import Run
from supernet.system.folders import held
from supernet.train import build_parser
from tests.selection.study.counting import GRACE, Counting
from tests.supernet.processes import LEARNING, Forked, digest, settings, start

pytestmark = pytest.mark.slow

TOTAL = 6


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def worker(folder: Path, storage: str, *dies: str) -> Forked:
    return start(["tests.selection.study.counting", folder, storage, str(TOTAL), *dies], cwd=folder)


def end_heartbeats(storage: BaseStorage) -> None:
    """Let the last heartbeats of all running trials be years ago."""
    (study,) = storage.get_all_studies()
    for trial in storage.get_all_trials(study._study_id, states=(TrialState.RUNNING,)):
        if isinstance(storage, BeatingJournal):
            storage.set_trial_system_attr(trial._trial_id, HEARTBEAT, [trial._trial_id, 0.0])
        else:
            assert isinstance(storage, BeatingDatabase)
            storage.record_heartbeat(trial._trial_id)
            with storage.engine.begin() as connection:
                connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'"))


def trials(storage: str, folder: Path) -> list[FrozenTrial]:
    found = optuna.load_study(study_name="counting", storage=open_storage(storage, folder, GRACE))
    return found.get_trials(deepcopy=False)


def test_the_trial_of_a_killed_worker_is_retried_once(storage: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    victim = worker(tmp_path, storage, "dies")
    assert victim.wait(timeout=300) == -signal.SIGKILL, victim.communicate()[1]
    end_heartbeats(open_storage(storage, tmp_path, GRACE))
    others = [worker(tmp_path, storage) for _ in range(2)]
    for other in others:
        assert other.wait(timeout=300) == 0, other.communicate()[1]

    found = trials(storage, tmp_path)
    completed = [t for t in found if t.state == TrialState.COMPLETE]
    assert len(completed) == TOTAL
    lines = [tuple(map(int, line.split())) for line in ran.read_text().splitlines()]
    begun = {number for number, _ in lines}  # without trials taken by two workers, of which one yields
    assert [t.number for t in found if t.state == TrialState.FAIL and t.number in begun] == [0]
    assert [original for number, original in lines].count(0) == 2  # by the killed worker, and by another one
    assert len(lines) == TOTAL + 1
    (retried,) = [t for t in completed if t.number in {n for n, original in lines if n != original}]
    assert retried.params == {"x": 0.25}
    assert {t.params["x"] for t in completed} >= {0.25, 0.75}


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_a_retry_does_not_inherit_the_last_sign_of_life(storage: str, tmp_path: Path) -> None:
    """Otherwise another worker could take it for dead before its first own."""
    runner = Counting(tmp_path, 3)
    opened = open_storage(storage, tmp_path, GRACE)
    study = create(opened, "counting", runner.directions, runner.first(), {"kind": 1})
    opened.record_heartbeat(study.ask()._trial_id)  # type: ignore[attr-defined]
    end_heartbeats(opened)
    optuna.storages.fail_stale_trials(study)
    optuna.storages.fail_stale_trials(study)
    study.ask()  # the other of the first trials
    retry = study.ask()
    optuna.storages.fail_stale_trials(study)
    states = {trial.number: trial.state for trial in study.trials}
    assert states == {0: TrialState.FAIL, 1: TrialState.RUNNING, retry.number: TrialState.RUNNING}
    assert retry.suggest_float("x", 0.0, 1.0) == 0.25


@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")
def test_the_trial_of_a_worker_killed_before_its_first_heartbeat_is_retried(
    storage: str, tmp_path: Path
) -> None:
    runner = Counting(tmp_path, 3)
    opened = open_storage(storage, tmp_path, 4)
    study = create(opened, "counting", runner.directions, runner.first(), {"kind": 1})
    lost = study.ask()  # taken by a worker that never reports
    work(study, runner)
    found = {t.number: t.state for t in study.trials}
    assert found.pop(lost.number) == TrialState.FAIL
    assert list(found.values()) == [TrialState.COMPLETE] * 3
    lines = [tuple(map(int, line.split())) for line in (tmp_path / "ran").read_text().splitlines()]
    assert [original for number, original in lines if number != original] == [lost.number]


def counting(tmp_path: Path, total: int = 3) -> tuple[Counting, optuna.Study]:
    runner = Counting(tmp_path, total)
    storage = open_storage(None, tmp_path, GRACE)
    return runner, create(storage, "counting", runner.directions, runner.first(), {"kind": 1})


def test_a_finished_study_runs_only_additional_trials(tmp_path: Path) -> None:
    runner, study = counting(tmp_path)
    work(study, runner)
    work(study, runner)
    assert len((tmp_path / "ran").read_text().splitlines()) == 3
    work(study, Counting(tmp_path, 5))
    assert len((tmp_path / "ran").read_text().splitlines()) == 5


def test_an_interrupted_trial_is_queued_again(tmp_path: Path) -> None:
    class Interrupted(Counting):
        def run(self, trial: optuna.Trial, original: int) -> float:
            if (self.folder / "ran").exists():
                return super().run(trial, original)
            super().run(trial, original)
            raise KeyboardInterrupt

    _, study = counting(tmp_path)
    runner = Interrupted(tmp_path, 3)
    with pytest.raises(KeyboardInterrupt):
        work(study, runner)
    work(study, runner)
    assert [t.state for t in study.get_trials()].count(TrialState.COMPLETE) == 3
    assert (tmp_path / "ran").read_text().splitlines()[0] == "0 0"
    assert [line.split()[1] for line in (tmp_path / "ran").read_text().splitlines()].count("0") == 2


def test_trials_beyond_the_total_are_not_run(tmp_path: Path) -> None:
    runner, study = counting(tmp_path)
    for _ in range(3):
        study.enqueue_trial({"x": 0.5})  # five trials are queued, three are wanted
    work(study, runner)
    assert len((tmp_path / "ran").read_text().splitlines()) == 3


def test_a_worker_presumed_dead_continues_with_other_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Silent(Counting):
        def run(self, trial: optuna.Trial, original: int) -> float:
            value = super().run(trial, original)
            if trial.number == 0:  # as another worker would
                study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                RETRY(study, study.get_trials()[0])
            return value

    _, study = counting(tmp_path)
    work(study, Silent(tmp_path, 3))
    assert "taken for dead" in capsys.readouterr().out
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 3
    assert states[0] == TrialState.FAIL


class WaitingOutput(io.StringIO):
    """Standard output that sets an event when a worker reports that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Event()

    def write(self, text: str) -> int:
        if "waiting for another worker that trains in" in text:
            self.waits.set()
        return super().write(text)


def test_a_worker_waits_for_another_one_in_the_same_folder(
    finished: tuple[Run, str], here: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "run", WaitingOutput()
    shutil.copytree(finished[0].folder, folder)
    (folder / "results.json").unlink()
    resolved = resolve(layers(parse(build_parser(), [*settings(), *LEARNING]), []))
    other = contextlib.ExitStack()
    other.enter_context(held(folder))

    def release_when_waiting() -> None:
        with other:
            out.waits.wait(timeout=300)

    with ThreadPoolExecutor(1) as pool, contextlib.redirect_stdout(out):
        pool.submit(release_when_waiting)
        results = train_exclusively(resolved, folder)
    assert out.getvalue().count("waiting for another worker") == 1
    assert list(results["sizes"]) == list(finished[0].results()["sizes"])
    assert digest(folder / "model.safetensors") == digest(finished[0].folder / "model.safetensors")


def test_an_error_ends_the_worker_and_its_trial_is_retried(tmp_path: Path) -> None:
    class Broken(Counting):
        def run(self, trial: optuna.Trial, original: int) -> float:
            trial.suggest_float("x", 0.0, 1.0)
            raise MemoryError

    runner, study = counting(tmp_path)
    with pytest.raises(MemoryError):
        work(study, Broken(tmp_path, 3))
    work(study, runner)
    completed = study.get_trials(states=(TrialState.COMPLETE,))
    assert len(completed) == 3
    assert {0.25, 0.75} <= {t.params["x"] for t in completed}


def test_another_definition_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    runner, study = counting(tmp_path)
    before = study.user_attrs
    with pytest.raises(ArgumentError, match=r"must be continued with the definition.*kind was 1, is 2"):
        create(
            open_storage(None, tmp_path, GRACE), "counting", runner.directions, runner.first(), {"kind": 2}
        )
    assert study.user_attrs == before
    assert len(study.get_trials()) == 2


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (
            "postgresql://me:secret@127.0.0.1:9/x",
            r"must be reachable, but 'postgresql\+psycopg://me:\*\*\*",
        ),
        ("nonsense", "must be reachable, but 'nonsense'"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("journal:/nowhere/at/all.log", "No such file"),
        ("oracle9://x", "Can't load plugin|Could not load plugin|oracle9"),
    ],
)
def test_an_unreachable_storage_is_an_error(url: str, reason: str, tmp_path: Path) -> None:
    if "postgresql" in url:
        pytest.importorskip("psycopg", reason="needs the postgresql extra")
    with pytest.raises(ArgumentError, match=reason) as error:
        open_storage(url, tmp_path, GRACE)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("name", ["a?b", "a#b", "50%41 done", "tä st", "{x}", "a&b=c", "file:x", "x'y\"z"])
def test_the_folder_of_a_study_may_have_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "here" / name).mkdir(parents=True)
    runner, study = counting(tmp_path / "here" / name)
    assert [path.name for path in (tmp_path / "here").iterdir()] == [name]
    assert (tmp_path / "here" / name / "study.db").is_file()
    again = load(open_storage(None, tmp_path / "here" / name, GRACE), "counting")
    assert len(again.get_trials()) == len(study.get_trials()) == len(runner.first()) > 0


def test_an_unknown_study_is_an_error(tmp_path: Path) -> None:
    counting(tmp_path)
    with pytest.raises(ArgumentError, match=r"must be a study of this storage \(counting\), but is 'else'"):
        load(open_storage(None, tmp_path, GRACE), "else")


def test_passwords_are_not_shown() -> None:
    assert without_password("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    assert without_password("journal:a.log") == "journal:a.log"
