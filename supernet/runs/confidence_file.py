"""The file of calibrated confidences and thresholds of cascades, for the subnets of a selection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernet.errors import UserError
from supernet.runs.opening import network_of
from supernet.runs.run import Run
from supernet.runs.selection_file import Selection
from supernet.scoring.confidence import FORMAT, UNKNOWN, Confidences
from supernet.system.files import read_json, write_json


def read_confidences(run: Run, selection: Selection) -> Confidences:
    """What was fitted for the subnets of ``selection``; nothing if they or the weights are others now.

    Raises:
        UserError: The file is damaged.
    """
    data = stored_confidences(run, selection)
    return UNKNOWN if not data else Confidences.from_json(data)


def stored_confidences(run: Run, selection: Selection) -> dict[str, Any]:
    """The contents of the file; empty if there is none, or it belongs to other subnets or weights.

    Raises:
        UserError: The file is damaged.
    """
    file = run.confidence_file(selection.strategy)
    if not file.is_file():
        return {}
    data = read_json(file)
    try:
        Confidences.from_json(data)
        kept = {str(size): list(row["kept"]) for size, row in data["sizes"].items()}
    except (ValueError, TypeError, LookupError, AttributeError):
        raise UserError(
            f"'{file}' must have calibrated confidences as the command evaluate writes them, but has not."
        ) from None
    current = {choice.budget: list(choice.subnet.kept) for choice in selection.choices}
    is_current = all(current.get(size) == units for size, units in kept.items())
    return data if is_current and data.get("network") == network_of(run) else {}


def save_cascade(
    run: Run,
    selection: Selection,
    measure: str,
    sizes: Mapping[str, Mapping[str, Any]],
    cascade: str,
    facts: Mapping[str, Any],
) -> Confidences:
    """Store a fitted cascade beside those that were fitted with the same measure; returns all of them.

    Args:
        run: The run.
        selection: Its subnets.
        measure: The measure of confidence.
        sizes: ``slope``, ``offset`` and more facts, of each size.
        cascade: The name of the cascade.
        facts: Its ``threshold``, and more facts.
    """
    stored = stored_confidences(run, selection)
    others = stored["cascades"] if stored and stored["measure"] == measure else {}
    kept = {choice.budget: list(choice.subnet.kept) for choice in selection.choices}
    data = {
        "format": FORMAT,
        "network": network_of(run),
        "measure": measure,
        "sizes": {size: {"kept": kept[size], **row} for size, row in sizes.items()},
        "cascades": {**others, cascade: dict(facts)},
    }
    file = run.confidence_file(selection.strategy)
    run.prepare(file.parent)
    write_json(file, data)
    return Confidences.from_json(data)
