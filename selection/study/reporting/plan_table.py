"""The trainings that a study will run, with their expected cost."""

from __future__ import annotations

from collections.abc import Sequence

from selection.study.contenders import unit_steps_of
from selection.study.trial_runner import Planned
from supernet.commands.dry_run import duration, estimates
from supernet.console.fitted import Fitted
from supernet.runs.resolve import Resolved
from supernet.task import ProgressCallback

CAPTION = (
    "unit-steps: the compute to expect, 1 for a unit in an update; time: on this machine, from a few steps\n"
    "of the study's own settings on noise, without reading, validation, scoring and strategies."
)


def plan_table(planned: Sequence[Planned], settings: Resolved, report: ProgressCallback) -> Fitted:
    """A row for each training, and their sum; ``settings`` are those of the study."""
    seconds = sum(one.seconds for one in estimates(settings, report)) / unit_steps_of(settings)
    costs = [training.unit_steps() for training in planned]
    made = Fitted("dry run: nothing is trained or written", CAPTION)
    made.add_column("training", left=True, wraps=True)
    for name in ("updates", "unit-steps", "time"):
        made.add_column(name)
    for training, cost in zip(planned, costs, strict=True):
        made.add_row(training.name, f"{training.steps:,}", f"{cost:,.0f}", duration(seconds * cost))
    made.add_section()
    updates = sum(training.steps for training in planned)
    total = sum(costs)
    made.add_row(f"{len(planned)} trainings", f"{updates:,}", f"{total:,.0f}", duration(seconds * total))
    return made
