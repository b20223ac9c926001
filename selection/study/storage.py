"""Where a study is kept: Optuna's storages, each with a heartbeat, so that no trial is lost with its
worker.
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
from supernet.runs.run import RunError, differences
from supernet.settings.presets import Data

Direction = Literal["minimize", "maximize"]
JOURNAL = "journal:"
"""A storage ``journal:PATH`` is a file that several machines may append to, such as on a network drive."""
DEFINITION = "definition"
PATIENCE = 30.0
"""Seconds to wait for another worker that is making the study."""
_BEATS = 4
"""Signs of life within the time after which a worker is given up."""

with warnings.catch_warnings():  # it has been called experimental since 2021
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    RETRY = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
    """Queues a trial again that has lost its worker."""


class BeatingJournal(JournalStorage, BaseHeartbeat):
    """A journal that notes signs of life, which Optuna's own does in databases only."""

    def __init__(self, path: str, interval: int) -> None:
        super().__init__(JournalFileBackend(path))
        self._interval = interval

    def record_heartbeat(self, trial_id: int) -> None:
        self.set_trial_system_attr(trial_id, "heartbeat", time.time())

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        oldest = time.time() - _BEATS * self._interval
        running = self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        return [trial._trial_id for trial in running if _last_sign(trial) < oldest]

    def get_heartbeat_interval(self) -> int:
        return self._interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        return RETRY


def _last_sign(trial: FrozenTrial) -> float:
    started = trial.datetime_start
    return float(trial.system_attrs.get("heartbeat", started.timestamp() if started else time.time()))


class BeatingDatabase(RDBStorage):
    """A database in which a worker that died before its first sign of life is given up as well."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        for trial in self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._has_beaten(trial._trial_id):  # Optuna would wait for ever: its grace begins now
                self.record_heartbeat(trial._trial_id)
        return super()._get_stale_trial_ids(study_id)

    def _has_beaten(self, trial_id: int) -> bool:
        with Session(self.engine) as session:
            return TrialHeartbeatModel.where_trial_id(trial_id, session) is not None


def open_storage(text: str | None, folder: Path, grace: int) -> BaseStorage:
    """The storage of the URL ``text``, or ``study.db`` in the study's folder. A trial whose worker gives no
    sign of life for ``grace`` seconds is queued again.

    Raises ``ArgumentError`` where it cannot be reached.
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
    """The database of ``url``, or SQLite's in ``file``: a path is no part of a URL, in which some of its
    characters mean something. Of several workers that make its tables at the same time, all but one are
    refused.
    """
    try:
        storage = BeatingDatabase(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna takes it for a template
            engine_kwargs=_engine_options(url, file),
            heartbeat_interval=interval,
            grace_period=_BEATS * interval,
            heartbeat_stale_trial_callback=RETRY,
        )
        if storage.engine.dialect.name == "sqlite":
            # SQLite knows no row locks: without this, two workers may take the same trial.
            event.listen(storage.engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
        return storage
    except (IntegrityError, ProgrammingError, OperationalError):
        if attempts == 1:
            raise
        time.sleep(0.5)
        return _database(url, interval, file, attempts - 1)


def _engine_options(url: str, file: Path | None) -> dict[str, Any]:
    """SQLite locks the whole file while somebody writes: wait for it. Its transactions are begun by us."""
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
    """The address without its password."""
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
) -> Study:
    """The study ``name``, new (with its ``first`` trials queued) or continued. ``completed`` adds to a stored
    definition the defaults of settings that did not exist then.

    Raises ``RunError`` where there is one of this name with another definition; it is left
    as it is.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
        _check_same(study, definition, completed)
    else:  # others wait for the definition, so that nobody queues these trials twice
        for values in first:
            study.enqueue_trial(values)
        study.set_user_attr(DEFINITION, definition)
    return study


def load(storage: BaseStorage, name: str) -> Study:
    """The study ``name``.

    Raises ``ArgumentError`` where there is none of this project's.
    """
    names = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage) if name in names else None
    if study is None or DEFINITION not in study.user_attrs:
        known = ", ".join(names) or "none"
        raise ArgumentError(
            ["name"], f"`name` must be a study of this storage ({known}), but is '{name}' instead."
        )
    return study


def _check_same(study: Study, definition: Data, completed: Callable[[Data], Data]) -> None:
    old = completed(_defined(study, time.monotonic() + PATIENCE))
    if changed := differences(old, json.loads(json.dumps(definition))):
        raise RunError(
            f"study '{study.study_name}' must be continued with the definition it was begun with, but these "
            f"differ: {'; '.join(changed[:5])}{'; …' if len(changed) > 5 else ''}. "
            "Choose another folder with --out or another --name."
        )


def _defined(study: Study, until: float) -> Data:
    """The definition, which whoever made the study writes last."""
    while (found := study.user_attrs.get(DEFINITION)) is None:
        if time.monotonic() > until:
            raise RunError(
                f"study '{study.study_name}' must have a definition, but has none: it is not this project's, "
                "or whoever made it was cut off. Choose another --name."
            )
        time.sleep(0.2)
    return dict(found)


def artifacts(folder: Path) -> FileSystemArtifactStore:
    """What trials leave behind: results, selections, errors by utterance."""
    path = folder / "artifacts"
    path.mkdir(parents=True, exist_ok=True)
    return FileSystemArtifactStore(base_path=path)
