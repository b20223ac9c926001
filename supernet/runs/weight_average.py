"""Averages of the weights of a run's checkpoints, over any window of its updates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from supernet.errors import ArgumentError
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.network.tensor_names import renamed
from supernet.runs.former import updated
from supernet.runs.model_file import Model
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, RunError
from supernet.training.averaging import Joins
from supernet.training.schedule import Schedule

Window = tuple[int, int]
"""The first and the last update whose checkpoint counts."""


def window_name(window: Window) -> str:
    """For files: ``average-2000-3000``."""
    return f"average-{window[0]}-{window[1]}"


def use_average(run: Run, model: Model, window: Window) -> None:
    """Give ``model``, the network of ``run``, the mean weights of the checkpoints within ``window``.

    For each unit, only checkpoints from when it joined the training count.

    Raises:
        ArgumentError: There are no checkpoints in the window.
        RunError: They are not those of the network.
        CheckpointError: They are damaged.
    """
    if model.recognizer.config.model.lora_rank is not None:
        raise ArgumentError(
            ["average"],
            "`average` must be left out with `model.lora_rank`, whose adapters are merged at the end only.",
        )
    first, last = window
    files = {step: file for step, file in _files(run).items() if first <= step <= last}
    if not files:
        there = ", ".join(map(str, _files(run))) or "none"
        raise ArgumentError(
            ["average"],
            f"`average` must span checkpoints of '{run.folder}', but {first}-{last} does not: there are "
            f"{there}. The setting `train.keep_checkpoints` determines how many are kept.",
        )
    states = {step: _read(file) for step, file in files.items()}
    net = model.recognizer
    averages = _averages(net, _joins(run, model, states[max(states)]), states)
    if wrong := [
        name for name, value in net.state_dict().items() if _differ(averages.get(name, value), value)
    ]:
        raise RunError(
            f"'{files[max(files)]}' must fit the network of the run, but does not, e.g. {wrong[0]}."
        )
    net.load_state_dict(averages, strict=False)


def _files(run: Run) -> dict[int, Path]:
    """The file of the weights in each checkpoint, by its step in ascending order."""
    found = {}
    for folder in run.checkpoints.glob("step_*"):
        number, files = folder.name.removeprefix("step_"), sorted(folder.glob("model/pp_*/tp_*/sdp_*.pt"))
        if number.isdecimal() and len(files) > 1:
            raise RunError(
                f"'{folder}' must have the weights in one file to be averaged, but was written by "
                f"{len(files)} processes that divided them (`train.data_parallelism`)."
            )
        if number.isdecimal() and files:
            found[int(number)] = files[0]
    return dict(sorted(found.items()))


def _read(file: Path) -> dict[str, Tensor]:
    # Only now: the engine takes seconds to import.
    from supernet.engine.checkpoints import read

    return {renamed(name): value for name, value in read(file).items() if isinstance(value, Tensor)}


def _joins(run: Run, model: Model, state: Mapping[str, Tensor]) -> Joins:
    """The schedule of the run, whose memory is in ``state``."""
    resolved = resolve_trained(updated(run.config_data())).priced(len(model.tokens), run.prices())
    net = model.recognizer
    for name, place in (("masks", net.masks), ("phase", net.phase)):
        value = state.get(name)
        if value is None or value.shape != place.shape:
            raise RunError(f"A checkpoint of '{run.folder}' must have the chosen units, but has none.")
        place.copy_(value)
    return Joins(net, Schedule(resolved.method, net, resolved.config.seed))


def _averages(
    net: SupernetCTC, joins: Joins, states: Mapping[int, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    newest = max(states)
    joined, parts, found = joins.at(newest - 1), joins.parts(), dict[str, Tensor]()
    for name in weights(net):
        owners = parts.get(name)
        starts = [0] if owners is None else [joined[part] for part in owners if part in joined]
        start = min(starts, default=newest - 1)  # a unit that rests has its last weights
        values = [state[name] for step, state in states.items() if step > start and name in state]
        if values and values[-1].is_floating_point():
            found[name] = torch.stack(values).mean(0)
    return found


def _differ(one: Tensor, other: Tensor) -> bool:
    return one.shape != other.shape or not bool(one.isfinite().all())
