"""Open the network that a training imitates, see `passes.teacher`."""

from __future__ import annotations

from pathlib import Path

from supernet.config import Config
from supernet.errors import UserError
from supernet.network.distillation import Teacher
from supernet.runs.opening import everything, load_any, own_selection
from supernet.runs.places import RunPlaces
from supernet.runs.run import Run
from supernet.text.tokens import Tokens


def check_teacher(config: Config) -> None:
    """Raise ``UserError`` if `passes.teacher` is no place of a network. Reads nothing large."""
    if config.passes.teacher is None:
        return
    folder = Path(config.passes.teacher).expanduser()
    if not RunPlaces(folder).model_stem.with_suffix(".safetensors").is_file():
        raise UserError(
            f"`passes.teacher` must be a finished run or a cut model, but '{folder}' has no "
            "model.safetensors."
        )


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
