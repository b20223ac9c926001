"""Model cards as Hugging Face reads them: Markdown after a header in YAML with the error rates as
``model-index``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from supernet.network.model_costs import MACS_SECONDS
from supernet.runs.background import UNKNOWN, Background
from supernet.scoring.error_rates import Measure

_TASK = "automatic-speech-recognition"
_TITLES: dict[Measure, str] = {"wer": "word error rate", "cer": "character error rate"}
LICENSE_LINE = re.compile(r"^- License: .*$", re.MULTILINE)
"""The line of a card that names the license, besides its header."""


@dataclass(frozen=True)
class Rate:
    """An error rate on the test split, as a fraction."""

    measure: Measure
    value: float
    interval: tuple[float, float] | None = None
    """The 95 % bootstrap interval over utterances."""
    of: str | None = None
    """The file with rounded weights that it is of. None: the size itself."""


@dataclass(frozen=True)
class SizeFacts:
    """A size that a card describes."""

    name: str
    """Its budget."""
    kept: Sequence[str]
    params: int
    macs: int
    """For audio of ``MACS_SECONDS``."""
    rates: Sequence[Rate] = ()
    rtf: float | None = None
    """Real-time factor in PyTorch, one utterance at a time."""
    is_busy: bool = False
    """Whether other programs slowed its measurement down."""
    files: Mapping[str, int] = field(default_factory=dict)
    """Bytes by name of the file."""


@dataclass(frozen=True)
class CardSource:
    """What the sizes of a card have in common."""

    name: str
    background: Background
    """Error rates are on the test split of its corpus."""
    commands: Sequence[str] = ()
    usage: str = ""
    """Lines of Python that use the files."""
    library: str | None = None
    """The library that reads them, by its name on Hugging Face."""


def card(source: CardSource, sizes: Sequence[SizeFacts]) -> str:
    """The contents of ``README.md``."""
    from huggingface_hub import ModelCardData

    results = list(_results(source, sizes))
    data = ModelCardData(
        license=source.background.license or UNKNOWN,
        library_name=source.library,
        pipeline_tag=_TASK,
        tags=["ctc", "speech", "supernet"],
        model_name=source.name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(source, sizes)}"


def license_line(license: str) -> str:
    """The text of ``LICENSE_LINE``."""
    return f"- License: {license}"


def _results(source: CardSource, sizes: Iterable[SizeFacts]) -> Iterable[Any]:
    from huggingface_hub import EvalResult

    for size in sizes:
        for rate in size.rates:
            bounds = None if rate.interval is None else [_percent(bound) for bound in rate.interval]
            yield EvalResult(
                task_type=_TASK,
                dataset_type=source.background.corpus or "unknown",
                dataset_name=source.background.corpus or "unknown",
                dataset_split="test",
                metric_type=rate.measure,
                metric_name=f"{_TITLES[rate.measure]} in %, size {size.name}"
                + (f", {rate.of}" if rate.of else ""),
                metric_value=_percent(rate.value),
                metric_args=None if bounds is None else {"confidence_interval_95": bounds},
            )


def _percent(value: float) -> float:
    return round(100 * value, 2)


def _text(source: CardSource, sizes: Sequence[SizeFacts]) -> str:
    """The Markdown after the header."""
    known = source.background
    lines = [f"# {source.name}", "", "A speech recognizer with a CTC head.", "", *_table(sizes), ""]
    lines += [f"MACs are for {MACS_SECONDS:g} s of audio. The real-time factor (RTF) is that of one"]
    lines += ["utterance at a time in PyTorch on the machine where it was measured.", ""]
    about = {
        "Origin": known.origin,
        "Training and test data": known.corpus,
        "Training": known.training,
    }
    lines += ["## Origin", "", license_line(known.license or f"{UNKNOWN}; name it when you publish this")]
    lines += [*(f"- {name}: {value}" for name, value in about.items() if value), ""]
    if source.commands:
        lines += ["Made by", "", "```bash", *source.commands, "```", ""]
    if source.usage:
        lines += ["## Use", "", "```python", source.usage, "```", ""]
    return "\n".join(lines)


def _table(sizes: Sequence[SizeFacts]) -> list[str]:
    rows = [["size", "units", "parameters", "MACs", "test errors, 95 % interval", "RTF", "files"]]
    for size in sizes:
        rows.append(
            [
                size.name,
                str(len(size.kept)),
                f"{size.params / 1e6:.2f} M",
                f"{size.macs / 1e9:.2f} G",
                "<br>".join(map(_shown, size.rates)) or "not measured",
                "–" if size.rtf is None else f"{size.rtf:.4f}" + ", on a busy machine" * size.is_busy,
                "<br>".join(f"{name}, {count / 1e6:.1f} MB" for name, count in size.files.items()),
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]


def _shown(rate: Rate) -> str:
    text = f"{rate.measure.upper()} {100 * rate.value:.2f}%"
    if rate.interval is not None:
        text += " ({:.1f}–{:.1f})".format(*(100 * bound for bound in rate.interval))
    return text if rate.of is None else f"{text}, {rate.of}"
