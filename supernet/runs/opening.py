"""Open trained runs: the network on a device, and the subnets of the run or of a selection file."""

from __future__ import annotations

from pathlib import Path

from supernet.errors import ArgumentError
from supernet.pretrained.places import is_checkpoint
from supernet.runs.checkpoint_model import fingerprint_of, open_checkpoint
from supernet.runs.model_file import Model, checkpoint_of, fingerprint, load
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Choice, Selection
from supernet.system.devices import chosen_device, use_tf32
from supernet.system.files import refusal


def open_model(run: Run, device: str | None = None) -> Model:
    """Load the run's network onto ``device``; see ``chosen_device``."""
    place = chosen_device(device)
    use_tf32(place)
    model = load_any(run)
    model.recognizer.to(place)
    return model


def open_run(folder: Path) -> Run:
    """Open a run, or a checkpoint of another program, which has a network and nothing else of a run."""
    return Run(folder) if is_checkpoint(folder) else Run.open(folder)


def load_any(run: Run, granularity: str = "layer") -> Model:
    """Load the network of a run, of a cut model, or of a checkpoint, whose units are of ``granularity``."""
    if is_checkpoint(run.folder):
        return open_checkpoint(run.folder, granularity)
    return load(run.model_stem)


def _granularity_of(selection: Path | None) -> str:
    """The kind of units in a selection file; layers if there is none, or it cannot be read."""
    try:
        return "layer" if selection is None else Selection.load(selection).choices[0].subnet.granularity
    except (OSError, ValueError):  # reported where it is opened
        return "layer"


def everything(model: Model) -> Selection:
    """The one subnet of a cut model or a checkpoint: all its units."""
    table = model.recognizer.table
    subnet = table.subnet(table.full)
    return Selection("whole", (Choice(str(subnet.size), subnet),))


def open_any(folder: Path, selection: Path | None) -> tuple[Model, Selection]:
    """The network of a run, of a cut model or of a checkpoint, and its subnets: those of ``selection`` if it
    is given, else the run's own, or the whole network.
    """
    run = Run(folder)
    is_whole = is_checkpoint(folder) or (
        not run.config_file.is_file() and run.model_stem.with_name("model.json").is_file()
    )
    if is_whole and selection is None:
        model = load_any(run)
        return model, everything(model)
    return load_with_subnets(run if is_whole else Run.open(folder), selection)


def load_with_subnets(
    run: Run, selection: Path | None, granularity: str | None = None
) -> tuple[Model, Selection]:
    """Load the network of a run or a checkpoint, and a selection of its subnets.

    Args:
        run: The run, or the checkpoint.
        selection: A file with subnets. None: the run's own, or the whole network of a checkpoint.
        granularity: The kind of units of a checkpoint. None: that of the file, or layers.

    Raises:
        UserError: As for ``load_any`` and ``open_selection``.
    """
    model = load_any(run, granularity or _granularity_of(selection))
    return model, open_selection(run, model, selection)


def choose(selection: Selection, budget: str | None, name: str = "size") -> Choice:
    """Choose a subnet of a selection.

    Args:
        selection: The subnets to choose from.
        budget: A budget or a number of units; the smallest subnet if None.
        name: The caller's name for the argument ``budget``.

    Raises:
        ArgumentError: There is no such subnet.
    """
    try:
        return selection.choice(budget)
    except ValueError as e:
        raise ArgumentError([name], f"`{name}` {e}.") from None


def open_selection(run: Run, model: Model, path: Path | None) -> Selection:
    """Load a selection file and check it against the run's network.

    Args:
        run: The run.
        model: Its network.
        path: The file; the run's own subnets if None.

    Raises:
        ArgumentError: The file cannot be read, or is of another network.
        RunError: The network does not have these units.
    """
    if path is None and is_checkpoint(run.folder):
        return everything(model)
    selection = own_selection(run) if path is None else _selection_of(run, path)
    for choice in selection.choices:
        try:
            model.recognizer.table.kept(choice.subnet)
        except ValueError as e:
            raise RunError(str(e)) from None
    return selection


def network_of(run: Run) -> str:
    """The fingerprint of the weights of a run or of a checkpoint."""
    return fingerprint_of(run.folder) if is_checkpoint(run.folder) else fingerprint(run.model_stem)


def own_selection(run: Run) -> Selection:
    """The subnets that the run was trained for."""
    choices = tuple(Choice(name, subnet) for name, subnet in run.subnets().items())
    if not choices:
        raise ArgumentError(
            ["folder"],
            f"`folder` must be a finished run, but '{run.folder}' has no subnets yet.",
        )
    return Selection("run", choices)


def _selection_of(run: Run, path: Path) -> Selection:
    if why := refusal(path):
        raise ArgumentError(["selection"], f"`selection` must be a subnet or a selection, but {why}.")
    try:
        selection = Selection.load(path)
    except (OSError, ValueError) as e:
        raise ArgumentError(
            ["selection"], f"`selection` must be a subnet or a selection, but '{path}' is not: {e}"
        ) from None
    if selection.network not in (None, network_of(run)) and not _is_of_its_run(selection, run, path):
        raise ArgumentError(
            ["selection"],
            f"`selection` must have been made for the network of '{run.folder}', but '{path}' was made "
            f"for another one (other weights). Select again: python -m selection {run.folder}",
        )
    return selection


def _is_of_its_run(selection: Selection, run: Run, path: Path) -> bool:
    """Whether ``run`` is a checkpoint, and ``path`` a selection in a run folder that was made of it."""
    stem = Run(path.resolve().parent.parent).model_stem
    if not is_checkpoint(run.folder) or not stem.with_name("model.json").is_file():
        return False
    return checkpoint_of(stem) == network_of(run) and fingerprint(stem) == selection.network
