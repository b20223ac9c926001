"""A search that is stopped at the first validation of a training, after its first checkpoint.

Run: ``python -m tests.selection.commands.stopping SIGNAL ARGUMENTS``, as ``selection.study`` with ARGUMENTS.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping

from selection.study.__main__ import main
from selection.study.tune_runner import Follow
from supernet.scoring.error_rates import Measure


def stop_with(number: signal.Signals) -> None:
    """Make trainings send signal ``number`` to their process after reporting a validation to Optuna."""
    follow = Follow.validated

    def stop(self: Follow, step: int, measure: Measure, rates: Mapping[str, float]) -> None:
        follow(self, step, measure, rates)
        signal.raise_signal(number)

    Follow.validated = stop  # type: ignore[method-assign]


if __name__ == "__main__":
    stop_with(signal.Signals[sys.argv[1]])
    main(sys.argv[2:])
