"""A checkpoint of another program, or the full network of a run with other units, as a run of its own: it can
be scored, and its units chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supernet.config import Config
from supernet.errors import UserError
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.runs.background import license_of
from supernet.runs.checkpoint_model import checkpoint_tokens, fingerprint_of, open_checkpoint
from supernet.runs.model_file import Model, checkpoint_of, fingerprint, load, save
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
    run, network, case = Run(folder), fingerprint_of(path), checkpoint_tokens(path).case
    if run.config_file.is_file():
        _check_weights(run, path, network)
        run.begin(_resolved(run.config_data(), task, case, changes))
        return run
    model = open_checkpoint(path, granularity)
    whole = as_data(model.recognizer.config)
    data = {name: whole[name] for name in ("granularity", "sizes", "model", "passes")}
    config = _resolved({**data, "method": _METHOD}, task, case, changes)
    _begin(run, config, model, _origin(path, network))
    return run


def divided(run: Run, granularity: str, changes: Sequence[Data] = ()) -> Run:
    """Make a run of the full network of ``run`` with other units, beside it; idempotent. The weights are the
    same, and the full network is the only subnet.

    Args:
        run: A finished run.
        granularity: The kind of the units.
        changes: Further layers of settings.

    Raises:
        UserError: The network has no such units, or the folder holds something else.
    """
    made, network = Run(run.beside(granularity)), fingerprint(run.model_stem)
    if made.config_file.is_file():
        _check_weights(made, run.folder, network)
        made.begin(resolve_trained(made.config_data(), *changes).config)
        return made
    task = as_data(resolve_trained(run.config_data()).config)["task"]
    found = load(run.model_stem)
    whole = cut(found.recognizer, found.recognizer.table.subnet(found.recognizer.table.full))
    known, data = as_data(whole.config), {"granularity": granularity, "sizes": [1], "method": _METHOD}
    data |= {"model": known["model"], "passes": known["passes"], "task": task}
    resolved = resolve_trained(data, *changes)
    config = resolved.with_sizes((len(resolved.config.table),)).config
    recognizer = SupernetCTC(config, whole.num_tokens)
    state = whole.state_dict()
    recognizer.load_state_dict({name: state[name] for name in weights(recognizer)}, strict=False)
    model = Model(recognizer.eval(), found.tokens, found.lengths)
    _begin(made, config, model, _origin(run.folder, network))
    return made


def _begin(run: Run, config: Config, model: Model, origin: Mapping[str, str]) -> None:
    """Fill the folder of ``run`` with ``model``, whose full network is the only subnet."""
    table = model.recognizer.table
    run.folder.mkdir(parents=True, exist_ok=True)
    model.tokens.save(run.tokens_file)
    run.save_subnets({str(len(table)): table.subnet(table.full)})
    save(model, run.model_stem, origin)
    run.begin(config)


def _origin(path: Path, network: str) -> dict[str, str]:
    """The provenance of the weights at ``path``, whose fingerprint is ``network``."""
    license = license_of(path)
    origin = {"checkpoint": path.resolve().name, "network": network}
    return origin if license is None else {**origin, "license": license}


def _check_weights(run: Run, path: Path, network: str) -> None:
    if checkpoint_of(run.model_stem) != network:
        raise UserError(
            f"'{run.folder}' must be made of the weights of '{path}', but is not. Rename or delete it first."
        )


def _resolved(data: Data, task: Data, case: Case, changes: Sequence[Data]) -> Config:
    encoder = data["model"]["encoder"]
    input = find_plugin("encoder", encoder["name"]).input
    return resolve_trained(reading({**data, "task": dict(task)}, input, case), *changes).config
