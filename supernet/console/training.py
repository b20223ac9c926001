"""A training shown on the console."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.console.progress import ProgressDisplay, progress
from supernet.console.text import note, remark
from supernet.runs.resolve import Resolved
from supernet.runs.run import RunError
from supernet.trainer import FinishedError, TrainingListener, train_run


class ConsoleListener(TrainingListener):
    """Shows progress, notes and validations of a training."""

    display: ProgressDisplay = ProgressDisplay()

    def progress(self, what: str, done: int, total: int) -> None:
        self.display(what, done, total)

    def status(self, text: str) -> None:
        self.display.tell(text)

    def event(self, text: str) -> None:
        remark(text)

    def note(self, text: str) -> None:
        note(text)


def train_on_console(
    resolved: Resolved, folder: Path, listener: ConsoleListener | None = None
) -> Mapping[str, Any]:
    """Call ``train_run`` with a display of its progress."""
    listener = listener or ConsoleListener()
    try:
        with progress() as listener.display:
            return train_run(resolved, folder, listener)
    except FinishedError as e:
        how = f"the same command with --set model.init={folder} --out FOLDER."
        raise RunError(f"{e}: {how}") from None
