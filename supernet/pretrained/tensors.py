"""The tensors of a checkpoint, from safetensors or, with restricted loading, from PyTorch's own format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from supernet.errors import UserError
from supernet.system.files import read_json

SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"


def files_of(folder: Path, problems: list[str]) -> list[Path]:
    """The files with the tensors of the checkpoint in ``folder``; missing ones are added to ``problems``."""
    for name in (SAFE, PICKLED):
        if (folder / name).is_file():
            return [folder / name]
        if (index := folder / f"{name}.index.json").is_file():
            return _shards(index, problems)
    problems.append(f"'{folder}' must have the tensors in {SAFE} or {PICKLED}, but has neither.")
    return []


def _shards(index: Path, problems: list[str]) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f"'{index}' must have a `weight_map` from tensors to files, but has not.")
    shards = sorted(set(names.values()))
    if outside := [name for name in shards if Path(name).name != name]:
        raise UserError(f"'{index}' must name files beside it, but names '{outside[0]}' instead.")
    found = [index.with_name(name) for name in shards]
    problems += [f"'{file}' must exist, but is missing." for file in found if not file.is_file()]
    return found


def read_tensors(files: list[Path]) -> dict[str, Tensor]:
    """The tensors of ``files`` in single precision. Raises ``UserError``."""
    found: dict[str, Tensor] = {}
    for file in files:
        tensors = _safe(file) if file.suffix == ".safetensors" else restricted(file)
        found |= {name: x.float() for name, x in tensors.items() if isinstance(x, Tensor)}
    return found


def _safe(file: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as e:
        reason = str(e).splitlines()[0][:300]
        raise UserError(f"'{file}' must be safetensors, but is not: {reason}.") from None


def restricted(file: Any, name: object = None) -> Mapping[str, Any]:
    """The mapping in a file of PyTorch's, which must hold data only. Raises ``UserError``.

    Args:
        file: Its path, or the opened file.
        name: Its name for messages; by default the path.
    """
    name = file if name is None else name
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise UserError(
            f"'{name}' must hold tensors alone, but it is damaged, or reading it would run code that comes "
            "with it. Convert it to safetensors where you trust it."
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        reason = (str(e) or type(e).__name__).splitlines()[0][:300].rstrip(".")
        raise UserError(f"'{name}' must be a file of PyTorch's, but is not: {reason}.") from None
    if not isinstance(found, Mapping):
        raise UserError(f"'{name}' must hold a mapping of tensors, but does not.")
    return found
