"""A checkpoint of another program as a run, so that it can be scored, and its units chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.config import Config
from supernet.errors import UserError
from supernet.runs.background import license_of
from supernet.runs.checkpoint_model import checkpoint_tokens, fingerprint_of, open_checkpoint
from supernet.runs.model_file import checkpoint_of, save
from supernet.runs.resolve import resolve_trained
from supernet.runs.run import Run, as_data
from supernet.runs.warm_start import reading
from supernet.settings.plugins import find_plugin
from supernet.system.files import as_name
from supernet.text.spelling import Case

Data = Mapping[str, Any]
_METHOD = "individual"
"""The method of a network that was trained alone."""


def folder_of(path: Path, task: Data, granularity: str) -> Path:
    """The run folder of the checkpoint at ``path`` for a task."""
    corpus = Path(str(task.get("path") or task.get("name"))).name
    unit = "" if granularity == "layer" else f"-{granularity}"
    return Path("runs") / f"{as_name(path.resolve().stem)}-{as_name(corpus)}{unit}"


def adopt(path: Path, folder: Path, task: Data, granularity: str, changes: Sequence[Data] = ()) -> Run:
    """Make a run of the checkpoint at ``path``, whose only subnet is the whole network; idempotent.

    Args:
        path: The checkpoint.
        folder: The run folder.
        task: The setting ``task``.
        granularity: The kind of its units.
        changes: Further layers of settings.

    Raises:
        UserError: The checkpoint or the settings cannot be used, or the run is of another checkpoint.
    """
    run, weights, case = Run(folder), fingerprint_of(path), checkpoint_tokens(path).case
    if run.config_file.is_file():
        _check_weights(run, path, weights)
        run.begin(_resolved(run.config_data(), task, case, changes))
        return run
    model = open_checkpoint(path, granularity)
    whole = as_data(model.recognizer.config)
    data = {name: whole[name] for name in ("granularity", "sizes", "model", "passes")}
    config = _resolved({**data, "method": _METHOD}, task, case, changes)
    table = model.recognizer.table
    folder.mkdir(parents=True, exist_ok=True)
    model.tokens.save(run.tokens_file)
    run.save_subnets({str(len(table)): table.subnet(table.full)})
    license = license_of(path)
    origin = {"checkpoint": path.resolve().name, "network": weights}
    save(model, run.model_stem, origin if license is None else {**origin, "license": license})
    run.begin(config)
    return run


def _check_weights(run: Run, path: Path, weights: str) -> None:
    if checkpoint_of(run.model_stem) != weights:
        raise UserError(
            f"'{run.folder}' must be made of the weights of '{path}', but is made of others. Delete it first."
        )


def _resolved(data: Data, task: Data, case: Case, changes: Sequence[Data]) -> Config:
    encoder = data["model"]["encoder"]
    input = find_plugin("encoder", encoder["name"]).input
    return resolve_trained(reading({**data, "task": dict(task)}, input, case), *changes).config
