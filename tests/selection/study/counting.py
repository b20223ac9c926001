"""A study whose trials only count how often they run, for several workers in processes of their own.

Run: ``python -m tests.selection.study.counting FOLDER STORAGE TOTAL SECONDS``; each trial takes ``SECONDS``
and adds a line to ``FOLDER/ran``: its number, and of the trial that it retries.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial

from selection.study.storage import create, open_storage
from selection.study.work import TrialRunner, work

GRACE = 4


class Counting(TrialRunner):
    directions = ("minimize",)

    def __init__(self, folder: Path, total: int, seconds: float) -> None:
        super().__init__(folder)
        self._total, self._seconds = total, seconds

    @property
    def total(self) -> int:
        return self._total

    def first(self) -> Sequence[dict[str, Any]]:
        return [{"x": 0.25}, {"x": 0.75}]

    def run(self, trial: Trial, original: int) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        with (self.folder / "ran").open("a") as file:
            file.write(f"{trial.number} {original}\n")
        time.sleep(self._seconds)
        return x**2


def main() -> None:
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder, storage, total, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    job = Counting(folder, total, seconds)
    study = create(open_storage(storage, folder, GRACE), "counting", job.directions, job.first(), {"kind": 1})
    work(study, job)


if __name__ == "__main__":
    main()
