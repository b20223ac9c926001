"""Storages of studies: Optuna's, each with a heartbeat, so that no trial is lost with its worker.

Optuna has no public way to add a heartbeat to a journal, or to replace a worker that died before its first
heartbeat. Its private names are used in this file alone, and pyproject.toml pins its minor version.
"""

from __future__ import annotations

import json
import sqlite3
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.storages._rdb.models import TrialHeartbeatModel
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError as NoUrl
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session

from supernet.errors import ArgumentError
from supernet.runs.run import differences
from supernet.settings.presets import Data

Direction = Literal["minimize", "maximize"]
JOURNAL = "journal:"
"""Prefix of a journal storage, ``journal:PATH``: a file that several machines can append to, such as on a
network drive.
"""
DEFINITION = "definition"
"""The attribute of a study that holds its definition."""
FORMER = "former definitions"
"""The attribute that holds those it had before."""
PATIENCE = 30.0
"""Seconds to wait for another worker that is creating the study."""
_BEATS = 4
"""Heartbeats per grace period, after which a worker is taken for dead."""

with warnings.catch_warnings():  # marked experimental since 2021
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    RETRY = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
    """Queues a trial again after its worker has died."""


HEARTBEAT = "heartbeat"
"""The attribute of a trial in a journal with its id, and the time of its worker's last sign of life."""


class BeatingJournal(JournalStorage, BaseHeartbeat):
    """A journal with heartbeats, which Optuna itself records only in databases."""

    def __init__(self, path: str, interval: int) -> None:
        super().__init__(JournalFileBackend(path))
        self._interval = interval

    def record_heartbeat(self, trial_id: int) -> None:
        self.set_trial_system_attr(trial_id, HEARTBEAT, [trial_id, time.time()])

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        oldest = time.time() - _BEATS * self._interval
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if _last_heartbeat(trial) < oldest]

    def get_heartbeat_interval(self) -> int:
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        return RETRY


def _last_heartbeat(trial: FrozenTrial) -> float:
    match trial.system_attrs.get(HEARTBEAT):
        case [trial._trial_id, (int() | float()) as seconds]:
            return float(seconds)
    # A retry has the attributes of the trial that it repeats, among them the last heartbeat of a dead worker.
    started = trial.datetime_start
    return started.timestamp() if started else time.time()


class BeatingDatabase(RDBStorage):
    """A database in which a worker that died before its first heartbeat is replaced as well."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._has_beaten(
                trial._trial_id
            ):  # Optuna would wait forever: the grace period begins now
                self.record_heartbeat(trial._trial_id)
        return super()._get_stale_trial_ids(study_id)

    def _has_beaten(self, trial_id: int) -> bool:
        with Session(self.engine) as session:
            return TrialHeartbeatModel.where_trial_id(trial_id, session) is not None


def open_storage(text: str | None, folder: Path, grace: int) -> BaseStorage:
    """Open a storage.

    Args:
        text: A URL of Optuna's, or ``journal:PATH``. None: ``study.db`` in ``folder``.
        folder: The study's folder.
        grace: Seconds without a heartbeat after which a trial is queued again.

    Returns:
        The storage; its tables are created if needed.

    Raises:
        ArgumentError: The storage cannot be reached.
    """
    file = folder.absolute() / "study.db" if text is None else None
    url = "sqlite:///study.db" if text is None else text
    if url.startswith("postgresql://"):  # with the driver of our extra, whatever SQLAlchemy's default is
        url = url.replace("postgresql", "postgresql+psycopg", 1)
    interval = max(1, grace // _BEATS)
    try:
        if url.startswith(JOURNAL):
            return BeatingJournal(url.removeprefix(JOURNAL), interval)
        return _database(url, interval, file)
    except (OSError, RuntimeError, ImportError, SQLAlchemyError) as e:
        shown_url = without_password(url) if file is None else str(file)
        raise ArgumentError(["storage"], _unreachable(shown_url, e)) from None


def _database(url: str, interval: int, file: Path | None, attempts: int = 3) -> BeatingDatabase:
    """The database at ``url``, or an SQLite file, given as a path because some characters of a path have a
    meaning in a URL. Of several workers that create the tables at the same time, all but one fail and retry.
    """
    try:
        storage = BeatingDatabase(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it as a template
            engine_kwargs=_engine_options(url, file),
            heartbeat_interval=interval,
            grace_period=_BEATS * interval,
            heartbeat_stale_trial_callback=RETRY,
        )
        if storage.engine.dialect.name == "sqlite":
            # SQLite has no row locks: without this, two workers can take the same trial.
            event.listen(storage.engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        return storage
    except (IntegrityError, ProgrammingError, OperationalError):
        if attempts == 1:
            raise
        time.sleep(0.5)
        return _database(url, interval, file, attempts - 1)


def _engine_options(url: str, file: Path | None) -> dict[str, Any]:
    """SQLite locks the whole file for each write, so wait for it; transactions are begun explicitly."""
    sqlite: dict[str, Any] = {"timeout": 60, "isolation_level": None}
    if file is not None:
        return {"creator": lambda: sqlite3.connect(file, check_same_thread=False, **sqlite)}
    return {"connect_args": sqlite} if url.startswith("sqlite") else {"pool_pre_ping": True}


def _unreachable(url: str, error: Exception) -> str:
    reason = " ".join(str(error.__cause__ or error).split()).partition(" (Background on")[0]
    hint = ""
    if isinstance(error, ImportError) and "postgres" in url:
        hint = ' Install its driver: pip install "supernet-asr[postgresql]".'
    return f"`storage` must be reachable, but '{url}' is not: {reason.rstrip('.')}.{hint}"


def without_password(url: str) -> str:
    """The URL with its password hidden."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except NoUrl:
        return url


def create(
    storage: BaseStorage,
    name: str,
    directions: Sequence[Direction],
    first: Sequence[dict[str, Any]],
    definition: Data,
    completed: Callable[[Data], Data] = dict,
    unfit: Callable[[Data, Data], list[str]] = differences,
) -> Study:
    """Create a study, or continue the one of this name.

    Args:
        storage: Where the study is kept.
        name: Its name in the storage.
        directions: The direction of each objective.
        first: Parameters of the trials that a new study queues.
        definition: The study's definition.
        completed: Adds to a stored definition the defaults of settings that did not exist then.
        unfit: The changes from a stored definition, given first, with which its trials do not fit another.

    Returns:
        The study, which has ``definition`` from now on.

    Raises:
        ArgumentError: The existing study has a definition with which its trials do not fit this one. It is
            left unchanged.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _redefine(study, json.loads(json.dumps(definition)), completed, unfit)
    else:  # other workers wait for the definition, so that these trials are queued only once
        for values in first:
            study.enqueue_trial(values)
        study.set_user_attr(DEFINITION, definition)
    return study


def load(storage: BaseStorage, name: str) -> Study:
    """Load the study of this name.

    Raises:
        ArgumentError: The storage has no such study of this project.
    """
    names = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage) if name in names else None
    if study is None or DEFINITION not in study.user_attrs:
        known = ", ".join(names) or "none"
        raise ArgumentError(
            ["name"], f"`name` must be a study of this storage ({known}), but is '{name}' instead."
        )
    return study


def _redefine(
    study: Study,
    definition: Data,
    completed: Callable[[Data], Data],
    unfit: Callable[[Data, Data], list[str]],
) -> None:
    """Give ``study`` another definition if its trials fit, also those of definitions that it had before."""
    stored, former = _defined(study, time.monotonic() + PATIENCE), study.user_attrs.get(FORMER, [])
    known = [completed(one) for one in (stored, *former)]
    if changed := list(dict.fromkeys(line for one in known for line in unfit(one, definition))):
        raise ArgumentError(
            ["folder", "name"],
            f"study '{study.study_name}' must be continued with the definition it was created with, but "
            f"these differ: {'; '.join(changed[:5])}{'; …' if len(changed) > 5 else ''}. "
            "Choose another `folder` or `name`.",
        )
    if known[0] != definition:
        study.set_user_attr(FORMER, former if stored in former else [*former, stored])
        study.set_user_attr(DEFINITION, definition)


def _defined(study: Study, until: float) -> Data:
    """The definition, which the worker that creates the study writes last."""
    while (found := study.user_attrs.get(DEFINITION)) is None:
        if time.monotonic() > until:
            raise ArgumentError(
                ["name"],
                f"study '{study.study_name}' must have a definition, but has none: it is not this project's, "
                "or the worker that created it was interrupted. Choose another `name`.",
            )
        time.sleep(0.2)
    return dict(found)


def artifacts(folder: Path) -> FileSystemArtifactStore:
    """The store of the trials' artifacts: results and selections."""
    path = folder / "artifacts"
    path.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(base_path=path)
