"""The background of a network: the origin of its weights, its license, and its training, for model cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supernet.errors import UserError
from supernet.pretrained.places import is_checkpoint
from supernet.runs.places import RunPlaces
from supernet.system.files import parse_yaml, read_json, read_text, read_yaml

CARD = "README.md"
UNKNOWN = "unknown"
"""The license if nobody has named one."""
_MARK = "---\n"
_DEEPEST = 8
"""Networks that a network is traced back through."""


@dataclass(frozen=True)
class Background:
    """What is known of a network besides its weights; None where it is not."""

    origin: str | None = None
    """The name of the network from which its training started, or of the checkpoint that it is."""
    license: str | None = None
    corpus: str | None = None
    """The name of the training data."""
    training: str | None = None
    """The method and its length."""


def background_of(folder: Path) -> Background:
    """The background of a run, a cut model, or a checkpoint."""
    if is_checkpoint(folder):
        return Background(folder.resolve().name, license_of(folder))
    config, provenance = _config(folder), _provenance(folder)
    model = _part(config, "model")
    names = provenance.get("checkpoint"), provenance.get("origin"), model.get("init")
    origin = next((Path(str(name)).name for name in names if name), None)
    training, corpus = _training(config, provenance), _corpus(config) or provenance.get("corpus")
    return Background(origin, license_of(folder), None if corpus is None else str(corpus), training)


def license_of(folder: Path, depth: int = 0) -> str | None:
    """The license that the card in ``folder`` names, or that of the network which that one started from."""
    if (named := _in_card(folder)) is not None:
        return named
    if (recorded := _provenance(folder).get("license")) is not None:
        return str(recorded)
    init = _part(_config(folder), "model").get("init")
    if not isinstance(init, str) or depth >= _DEEPEST or not Path(init).exists():
        return None
    return license_of(Path(init), depth + 1)


def _in_card(folder: Path) -> str | None:
    text = _attempt(lambda: read_text(folder / CARD)) or ""
    if not text.startswith(_MARK):
        return None
    header = _attempt(lambda: parse_yaml(text.removeprefix(_MARK).split(f"\n{_MARK}")[0], str(folder / CARD)))
    found = (header or {}).get("license")
    if found == "other":  # whose name stands beside it
        found = (header or {}).get("license_name", found)
    return None if found in (None, UNKNOWN) else str(found)


def _config(folder: Path) -> Mapping[str, Any]:
    return _attempt(lambda: read_yaml(RunPlaces(folder).config_file)) or {}


def _provenance(folder: Path) -> Mapping[str, Any]:
    described = _attempt(lambda: read_json(RunPlaces(folder).model_stem.with_suffix(".json")))
    return _part(described or {}, "provenance")


def _attempt(read: Any) -> Any:
    """What ``read`` returns; None if the file is missing or damaged."""
    try:
        return read()
    except (UserError, OSError):
        return None


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}


def _corpus(config: Mapping[str, Any]) -> str | None:
    """The name of the task and of its folder."""
    task = _part(config, "task")
    if not task:
        return None
    place = Path(str(task["path"])).name if task.get("path") else ""
    return str(task["name"]) if place in ("", task["name"]) else f"{place} ({task['name']})"


def _training(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> str | None:
    method, train = _part(config, "method"), _part(config, "train")
    if "checkpoint" in provenance:
        return "none after that of the checkpoint"
    if not method or not train:
        return provenance.get("training")
    sizes = config.get("budgets") or config.get("sizes") or ()
    return f"{method.get('name')}, {train.get('num_steps'):,} updates, sizes {', '.join(map(str, sizes))}"
