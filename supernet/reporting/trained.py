"""What a finished training left in its folder, checked before anything is drawn from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from supernet.run import Run, RunError
from supernet.scoring import Measure

Curve = list[tuple[int, float]]
"""(step, value), with a gap (not a number) where there is none."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Scored(_Data):
    """Error rates of one size on a split."""

    wer: float
    wer_ci95: tuple[float, float]
    cer: float
    cer_ci95: tuple[float, float]
    words: int
    utterances: int
    measure: Measure = "wer"


class Sized(_Data):
    """One size: what it keeps, what it costs, how well it does."""

    kept: tuple[str, ...] = Field(min_length=1)
    params: float
    macs: float = Field(gt=0)
    rtf: float
    test: Scored

    def rate(self, name: Measure) -> float:
        return self.test.wer if name == "wer" else self.test.cer

    def interval(self, name: Measure) -> tuple[float, float]:
        return self.test.wer_ci95 if name == "wer" else self.test.cer_ci95


class Results(_Data):
    """``results.json``. What older runs did not note is None."""

    sizes: dict[int, Sized] = Field(min_length=1)
    steps: int | None = None
    unit_steps: float | None = None
    skipped_updates: int = 0
    peak_memory_mb: float | None = None
    phases: tuple[tuple[str, int], ...] | None = None

    @property
    def measure(self) -> Measure:
        """The rate that the texts are judged by."""
        return next(iter(self.sizes.values())).test.measure

    @property
    def measures(self) -> tuple[Measure, Measure]:
        """The same, and the other."""
        return ("wer", "cer") if self.measure == "wer" else ("cer", "wer")


class ScoreLine(_Data):
    """A line of ``scores.jsonl``."""

    step: int
    phase: str
    scores: tuple[float, ...]
    gates: tuple[float, ...] | None = None


_RESULTS, _LINES = TypeAdapter(Results), TypeAdapter(list[ScoreLine])


def results_of(run: Run) -> Results:
    """Raises :class:`~supernet.run.RunError` where ``results.json`` holds something else."""
    found: Results = _checked(_RESULTS, run.results(), run.results_file)
    return found


def scores_of(run: Run) -> list[ScoreLine]:
    """Raises :class:`~supernet.run.RunError` where ``scores.jsonl`` holds something else."""
    found: list[ScoreLine] = _checked(_LINES, run.scores(), run.scores_file)
    return found


def phases_of(results: Results, lines: Iterable[ScoreLine]) -> tuple[tuple[str, int], ...]:
    """Names and first updates of the phases; of runs that did not note them, as far as the scores tell."""
    if results.phases is not None:
        return results.phases
    found: list[tuple[str, int]] = []
    for line in lines:
        if not found or found[-1][0] != line.phase:
            found.append((line.phase, line.step if found else 0))
    return tuple(found)


def curves_of(run: Run, metrics: str, prefix: str) -> dict[int, Curve]:
    """By size, what the engine noted as ``prefix`` and the size; what is no number is a gap."""
    lines = [line for line in run.metrics(metrics) if isinstance(line.get("Step"), int)]
    names = {key for line in lines for key in line if key.startswith(prefix)}
    sizes = sorted(int(name[len(prefix) :]) for name in names if name[len(prefix) :].isdecimal())
    return {size: [(line["Step"], _number(line, f"{prefix}{size}")) for line in lines] for size in sizes}


def _number(line: Mapping[str, Any], key: str) -> float:
    value = line.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")


def _checked(kind: TypeAdapter[Any], data: object, path: Path) -> Any:
    try:
        return kind.validate_python(data)
    except ValidationError as e:
        first = e.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(
            f"'{path}' must be what a training writes, but {where or 'it'} is not ({first['msg']})."
        ) from None
