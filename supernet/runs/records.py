"""Schemas of the JSON files of a run, which may be damaged or untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from supernet.errors import UserError
from supernet.scoring.error_rates import Measure

R = TypeVar("R", bound="Record")

Format = Literal[1]
"""The only version so far."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 40)]


class Record(BaseModel):
    """A part of a file; other keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, use_attribute_docstrings=True)
    what: ClassVar[str]
    """A description of the file in messages."""


class TokensRecord(Record):
    """The tokens of a network."""

    kind: Literal["characters", "words", "pieces"]
    """The kind of tokens into which texts are split."""
    symbols: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=2)]
    """The symbol of each token id; the first is the blank."""

    @field_validator("symbols")
    @classmethod
    def _check(cls, symbols: list[str]) -> list[str]:
        if len(set(symbols)) < len(symbols):
            raise ValueError("must differ from each other, but do not")
        return symbols


class LengthsRecord(Record):
    """Durations of training utterances in seconds."""

    typical: Seconds
    """The median."""
    longest: Seconds
    """The 0.995 quantile."""

    @model_validator(mode="after")
    def _check(self) -> LengthsRecord:
        if self.typical > self.longest:
            raise ValueError("`typical` must be at most `longest`, but is more")
        return self


class ModelRecord(Record):
    """``model.json``: the description of a network apart from its tensors."""

    what = "a model"

    format: Format
    granularity: str
    num_layers: Annotated[int, Field(ge=1, le=10_000)]
    """Layers of the supernet, also where the model was cut."""
    sizes: Annotated[list[int], Field(min_length=1)]
    """The sizes that it was trained for."""
    kept: Annotated[list[str], Field(min_length=1)]
    """The units that it has."""
    tokens: TokensRecord
    model: dict[str, Any]
    """The settings of `model`."""
    intermediate_weight: Annotated[float, Field(ge=0, le=1)]
    """The share of intermediate CTC in the losses of its training."""
    lengths: LengthsRecord | None = None
    """Recordings much longer are cut at their pauses."""


class ChoiceRecord(Record):
    """An entry of ``choices``, beside ``granularity`` and ``kept``, its units."""

    what = "a selection"

    budget: str | None = None
    """As it was asked for: a size, or a limit such as ``params=50%``."""
    head: str = "shared"
    """The head that reads the subnet."""
    loss: Rate | None = None
    """Its validation loss."""


class SelectionRecord(Record):
    """``selections/STRATEGY.json``."""

    what = "a selection"

    format: Format = 1
    strategy: str | None = None
    network: str | None = None
    """Fingerprint of the weights that it was chosen for."""
    choices: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """A subnet for each budget."""


class ScoreRecord(Record):
    """Error rates on a split."""

    wer: Amount
    """Word error rate, as a fraction."""
    cer: Amount
    """Character error rate, as a fraction."""
    wer_ci95: tuple[Rate, Rate] = Field(strict=False)
    """95 % bootstrap interval over utterances."""
    cer_ci95: tuple[Rate, Rate] = Field(strict=False)
    words: Count
    """In the references."""
    utterances: Count
    measure: Measure = "wer"
    """The rate that the texts are judged by."""


class SizeRecord(Record):
    """The units, costs and error rates of a size."""

    kept: Annotated[list[str], Field(min_length=1)]
    """Its units."""
    params: Count
    """Parameters of the cut model."""
    macs: Annotated[Count, Field(gt=0)]
    """Multiply-accumulates for 10 s of audio."""
    rtf: Amount
    """Seconds of computation per second of audio, one utterance at a time."""
    rtf_busy: bool = False
    """Whether the machine was busy while it was measured."""
    test: ScoreRecord

    def rate(self, name: Measure) -> float:
        return self.test.wer if name == "wer" else self.test.cer

    def interval(self, name: Measure) -> tuple[float, float]:
        return self.test.wer_ci95 if name == "wer" else self.test.cer_ci95

    @field_validator("kept")
    @classmethod
    def _check(cls, kept: list[str]) -> list[str]:
        for name in kept:
            _, layer, *_ = [*name.split("."), ""]
            if not layer.isdecimal():
                raise ValueError(f"must name layers, such as 'layers.0', but names {name[:40]!r}")
        return kept


_BUDGET = r"^([0-9]{1,9}|(units|params|macs|latency)=[0-9.]{1,20}(e[+-]?[0-9]{1,3})?[a-zA-Z%]{0,2})$"
BudgetName = Annotated[str, Field(pattern=_BUDGET)]
"""A number of units, or a budget such as ``macs=50%``."""


class AveragingRecord(Record):
    """The choice between the last weights and their averages, by error rates on the validation split."""

    kept: Literal["average", "last"]
    """The weights of the model: those with the lower mean over the sizes."""
    measure: Measure
    """The rate that the texts are judged by."""
    last: dict[BudgetName, Amount]
    """Error rates by size or budget, as fractions."""
    average: dict[BudgetName, Amount]


class ResultsRecord(Record):
    """``results.json``. What older runs did not note is null."""

    what = "a run's results"

    sizes: Annotated[dict[BudgetName, SizeRecord], Field(min_length=1)]
    """By number of units, or by the budget."""
    title: str
    """The heading of the table."""
    steps: Count | None = None
    """Updates of the training."""
    unit_steps: Count | None = None
    """Compute: units that a row of the batch ran forward and backward, summed over the updates."""
    skipped_updates: Count = 0
    """Updates that were left out because their gradients were not finite."""
    peak_memory_mb: Amount | None = None
    phases: list[Annotated[tuple[str, Count], Field(strict=False)]] | None = None
    """The name of each phase, and the update that it starts with."""
    averaging: AveragingRecord | None = None
    """The choice between averaged and last weights, if weights were averaged."""

    @property
    def by_size(self) -> dict[str, SizeRecord]:
        """The sizes or budgets, the smallest first."""
        return dict(sorted(self.sizes.items(), key=lambda item: (len(item[1].kept), len(item[0]), item[0])))

    @property
    def measures(self) -> tuple[Measure, Measure]:
        """The error rate that texts are judged by, and the other one."""
        judged = next(iter(self.sizes.values())).test.measure
        return ("wer", "cer") if judged == "wer" else ("cer", "wer")


class ScoresRecord(Record):
    """A line of ``scores.jsonl``."""

    what = "a line of scores"

    step: Count
    phase: str
    scores: list[Rate]
    """Of each unit."""
    gates: list[Rate] | None = None
    """Of each unit, in phases that have gates."""


class LatencyRow(Record):
    """A size of a network in one runtime."""

    label: str
    """The size, or a budget."""
    runtime: str
    """``eager``, PyTorch, or ``onnx`` with the precision of the weights."""
    costs: dict[str, Amount]
    """Megabytes, seconds, and real-time factors by the duration of the utterance."""


class LatencyRecord(Record):
    """``latency.json``, of a run or of exports."""

    what = "the figures of a measurement"

    machine: str
    """The processor, or the board."""
    threads: Count
    rows: Annotated[list[LatencyRow], Field(min_length=1)]
    busy: bool = False
    """Whether the machine was busy, so that times are too long."""


def checked(kind: type[R], data: Mapping[str, Any], file: Path) -> R:
    """Validate ``data``, the contents of ``file``.

    Raises:
        UserError: The first problem of the file.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as e:
        problem = _described(e.errors()[0])
        raise UserError(f"'{file}' must be {kind.what}, but is not: {problem}.") from None


def _described(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"`{where}` must be given, but is not"
    if error["type"] == "value_error":
        return f"`{where}` {str(error['ctx']['error']).rstrip('.')}"
    shown = repr(error["input"])
    rule = str(error["msg"]).replace("Input should be", "must be")
    if error["type"] == "too_short":
        rule = "must not be empty"
    return f"`{where}` {rule}, but is {shown if len(shown) <= 60 else f'{shown[:60]}…'} instead"
