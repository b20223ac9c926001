"""Open the network that a training imitates, see `passes.teacher`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from supernet.config import Config
from supernet.errors import UserError
from supernet.network.distillation import Teacher
from supernet.runs.model_file import fingerprint
from supernet.runs.opening import everything, load_any, own_selection
from supernet.runs.places import RunPlaces
from supernet.runs.run import Run
from supernet.text.tokens import Tokens

Data = dict[str, Any]


def completed(data: Data, saved: Mapping[str, Any], problems: list[str]) -> Data:
    """Add the fingerprint of the weights of `passes.teacher` to ``data``, and to ``problems`` if it is none.

    Args:
        data: The settings.
        saved: The configuration of the run to continue, if any. If the teacher is gone, its record stays: a
            finished run does not need it again.
        problems: Gets a sentence for each problem.
    """
    passes = data.get("passes")
    if not isinstance(passes, Mapping) or not isinstance(passes.get("teacher"), str):
        return data
    teacher, given = passes["teacher"], passes.get("teacher_weights")
    if (file := _weights_file(teacher)).is_file():
        found = _fingerprint(file, file.stat().st_mtime_ns, file.stat().st_size)
        if given not in (None, found):
            problems.append(
                f"`passes.teacher` must have the weights `passes.teacher_weights` ({given}), but '{teacher}' "
                f"has changed and now has {found}. Leave out `passes.teacher_weights` to imitate its current "
                "weights."
            )
        return {**data, "passes": {**passes, "teacher_weights": found}}
    before = saved.get("passes")
    if isinstance(before, Mapping) and before.get("teacher") == teacher:
        return {**data, "passes": {**passes, "teacher_weights": given or before.get("teacher_weights")}}
    problems.append(_missing(teacher))
    return data


@lru_cache(maxsize=8)
def _fingerprint(file: Path, time: int, size: int) -> str:
    """Cached because a study needs it for each of its trainings."""
    return fingerprint(file.with_suffix(""))


def _weights_file(teacher: str) -> Path:
    return RunPlaces(Path(teacher).expanduser()).model_stem.with_suffix(".safetensors")


def _missing(teacher: str) -> str:
    return (
        f"`passes.teacher` must be a finished run or a cut model, but '{teacher}' has no model.safetensors."
    )


def check_teacher(config: Config) -> None:
    """Raise ``UserError`` if `passes.teacher` is no place of a network. Reads nothing large."""
    teacher = config.passes.teacher
    if teacher is not None and not _weights_file(teacher).is_file():
        raise UserError(_missing(teacher))


def open_teacher(config: Config, tokens: Tokens) -> Teacher | None:
    """The network that a training with ``tokens`` imitates, if any: a run's largest subnet, or a cut model.

    Raises:
        UserError: It cannot be read, or reads other input or emits other tokens.
    """
    if config.passes.teacher is None:
        return None
    run = Run(Path(config.passes.teacher).expanduser())
    model = load_any(run)
    net, table = model.recognizer, model.recognizer.table
    if model.tokens != tokens:
        raise UserError(
            f"`passes.teacher` must have the tokens of this training, but '{run.folder}' has others: train "
            "both on the same corpus, or with the same `task.tokens`."
        )
    if net.config.model.input != config.model.input:
        raise UserError(
            f"`passes.teacher` must read '{config.model.input}', as this training does, but '{run.folder}' "
            f"reads '{net.config.model.input}' instead."
        )
    net.require_framewise("`passes.teacher`")
    is_run = run.config_file.is_file()
    largest = max(
        (own_selection(run) if is_run else everything(model)).choices, key=lambda choice: choice.subnet.size
    )
    return Teacher(net, table.kept(largest.subnet), config.passes.teacher_weight)
