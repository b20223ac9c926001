"""The observer of a training on a terminal: it displays progress and records scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from supernet.console.progress import ProgressDisplay
from supernet.console.text import note, remark
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run
from supernet.scoring.error_rates import COLUMN, Measure
from supernet.training.schedule import Schedule

Validated = Callable[[int, Measure, Mapping[str, float]], None]
"""Called as ``validated(step, measure, rates)`` with the measure that texts are judged by and the validation
error rates ``wer/SIZE`` and ``cer/SIZE``, as fractions. An exception that it raises ends the training.
"""


class Follower:
    """An observer of a training that displays progress and records scores."""

    def __init__(
        self, run: Run, resolved: Resolved, display: ProgressDisplay, validated: Validated | None
    ) -> None:
        self._run, self._config, self._display, self._validated = run, resolved.config, display, validated
        self._phases: list[tuple[str, int]] = []
        self._begun, self._loss, self._rates = False, "", ""

    def on_note(self, text: str) -> None:
        note(text)

    def on_start(self, schedule: Schedule) -> None:
        self._phases = schedule.boundaries()

    def on_step(self, step: int) -> None:
        if not self._begun:
            self._begun = True
            how = "starts" if step == 1 else f"continues from update {step:,}"
            remark(f"Training {how}: {self._config.train.num_steps:,} updates in total.")
        self._display("training", step, self._config.train.num_steps)

    def on_publish(
        self, step: int, scores: list[float], gates: list[float] | None, losses: Mapping[str, float]
    ) -> None:
        phase = self._phase(step)
        self._run.append_scores({"step": step, "phase": phase, "scores": scores, "gates": gates})
        ctc = [loss for name, loss in losses.items() if name.startswith("ctc/")]
        self._loss = f", loss {sum(ctc) / len(ctc):.3f}" if ctc else ""
        self._tell(step)

    def _phase(self, step: int) -> str:
        return [name for name, start in self._phases if start < step][-1]

    def _tell(self, step: int) -> None:
        self._display.tell(f"{self._phase(step)}{self._loss}{self._rates}")

    def on_validated(self, step: int, measure: Measure, values: Mapping[str, object]) -> None:
        rates = {k: float(v) for k, v in values.items() if k.partition("/")[0] in COLUMN}  # type: ignore[arg-type]
        shown = "  ".join(f"{name}: {rates[f'{measure}/{name}']:.1%}" for name in self._config.names)
        remark(f"step {step:>6}   validation {measure.upper()}   {shown}")
        self._rates = f", validation {measure.upper()} {shown}"
        self._tell(step)
        if self._validated is not None:
            self._validated(step, measure, rates)
