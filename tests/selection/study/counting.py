"""A study whose trials only count how often they run, for workers in several processes.

Run: ``python -m tests.selection.study.counting FOLDER STORAGE TOTAL [dies]``. Each trial adds a line to
``FOLDER/ran`` with its number and that of the trial that it retries; a worker that ``dies`` is killed in
its first trial.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial

from selection.study.storage import create, open_storage
from selection.study.trial_runner import Planned, TrialRunner
from selection.study.work import work

GRACE = 600
"""Seconds without a heartbeat after which a worker is taken for dead: longer than any worker stalls."""


class Counting(TrialRunner):
    directions = ("minimize",)

    def __init__(self, folder: Path, total: int, *, dies: bool = False) -> None:
        super().__init__(folder)
        self._total, self._dies = total, dies

    @property
    def total(self) -> int:
        return self._total

    def first(self) -> Sequence[dict[str, Any]]:
        return [{"x": 0.25}, {"x": 0.75}]

    def plan(self) -> list[Planned]:
        return []

    def run(self, trial: Trial, original: int) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        with (self.folder / "ran").open("a") as file:
            file.write(f"{trial.number} {original}\n")
        if self._dies:
            signal.raise_signal(signal.SIGKILL)
        return x**2


def main() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder, storage, total, *dies = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
    runner = Counting(folder, total, dies=bool(dies))
    opened = open_storage(storage, folder, GRACE)
    work(create(opened, "counting", runner.directions, runner.first(), {"kind": 1}), runner)


if __name__ == "__main__":
    main()
