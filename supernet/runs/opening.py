"""A trained run, opened: its network where it is to compute, and the subnets that the run or a selection file
offers, checked against the network.
"""

from __future__ import annotations

from pathlib import Path

from supernet.errors import ArgumentError
from supernet.runs.checkpoint import Model, fingerprint, load
from supernet.runs.run import Run, RunError
from supernet.runs.selection_file import Choice, Selection
from supernet.system.devices import chosen_device
from supernet.system.files import refusal


def open_model(run: Run, device: str | None = None) -> Model:
    """The run's network on ``device``, by default on a GPU where there is one; see
    ``chosen_device``.
    """
    place = chosen_device(device)
    model = load(run.model_stem)
    model.recognizer.to(place)
    return model


def choose(selection: Selection, budget: str | None, name: str = "size") -> Choice:
    """The choice for ``budget``, by default the smallest. ``name`` is what a caller calls the budget.

    Raises ``ArgumentError`` where there is none.
    """
    try:
        return selection.choice(budget)
    except ValueError as e:
        raise ArgumentError([name], f"`{name}` {e}.") from None


def open_selection(run: Run, model: Model, path: Path | None) -> Selection:
    """A selection file checked against the run's network, or else the run's own subnets.

    Raises ``ArgumentError`` and ``RunError``.
    """
    selection = own_selection(run) if path is None else _selection_of(run, path)
    for choice in selection.choices:
        try:
            model.recognizer.table.kept(choice.subnet)
        except ValueError as e:
            raise RunError(str(e)) from None
    return selection


def own_selection(run: Run) -> Selection:
    """The subnets that a run was trained with."""
    choices = tuple(Choice(name, subnet) for name, subnet in run.subnets().items())
    if not choices:
        raise ArgumentError(
            ["folder"],
            f"`folder` must have been trained to the end, but '{run.folder}' has no subnets yet.",
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
    if selection.network not in (None, fingerprint(run.model_stem)):
        raise ArgumentError(
            ["selection"],
            f"`selection` must have been made for the network of '{run.folder}', but '{path}' was made "
            f"for another one (other weights). Select again: python -m selection {run.folder}",
        )
    return selection
