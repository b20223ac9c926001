"""A network whose layers are those of `transformers` as a model of that library, with the same outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from supernet.encoder_family import family_of
from supernet.errors import UserError
from supernet.granularity import granularity_named
from supernet.network.huggingface.family import HuggingFaceFamily
from supernet.network.supernet_ctc import SupernetCTC, weights

_LAYERS = "encoder.layers."
_NORM, _DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""The names in the library of the norms and the directions of a weight (arXiv 1602.07868)."""


def library_problem(recognizer: SupernetCTC) -> str | None:
    """The reason why the library has no model for ``recognizer``, if there is one."""
    model = recognizer.config.model
    if not isinstance(family_of(model), HuggingFaceFamily):
        return f"an encoder of `transformers`, but this one has '{model.encoder.name}' instead"
    if not granularity_named(recognizer.table.granularity).drops_layers:
        return f"layers as units, but this one has {recognizer.table.granularity}s instead"
    if model.self_conditioning:
        return "no `model.self_conditioning`, but this one has"
    return None


def library_model(recognizer: SupernetCTC) -> Any:
    """The model of `transformers` with the layers that ``recognizer`` has, numbered without gaps, and its
    head, whose first output is the blank.

    Raises:
        UserError: The library has no such model.
    """
    if problem := library_problem(recognizer):
        raise UserError(f"A folder for `transformers` must have a network with {problem}.")
    family: Any = family_of(recognizer.config.model)
    configuration: Mapping[str, Any] = family.options.configuration
    # Only later releases have convolutions without biases: here they are zero.
    no_biases = configuration.get("convolution_bias") is False
    configuration = {name: value for name, value in configuration.items() if name != "convolution_bias"}
    with torch.random.fork_rng():  # what only its training needs is made at random
        torch.manual_seed(0)
        model = family.library.with_head(configuration, len(recognizer.encoder.layers), recognizer.num_tokens)
    wanted = model.state_dict()
    found = _parametrized(_renamed(recognizer, family, configuration), wanted)
    if no_biases:
        missing = [name for name in wanted if ".conv." in name and name.endswith(".bias")]
        found = {name: torch.zeros_like(wanted[name]) for name in missing} | found
    unneeded = tuple(old for old, new in family.names(configuration) if new is None)
    lost = [name for name in wanted if name not in found and not _is_unneeded(name, unneeded)]
    if wrong := [*lost, *(name for name in found if name not in wanted)]:
        raise UserError(
            f"A model of `transformers` must have the network's tensors, but has not: {wrong[0]}."
        )
    model.load_state_dict(found, strict=False)
    return model.eval()


def _is_unneeded(name: str, beginnings: tuple[str, ...]) -> bool:
    return name.startswith(beginnings) or name.endswith(".num_batches_tracked")


def _renamed(recognizer: SupernetCTC, family: Any, configuration: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of ``recognizer`` by their names in the library."""
    numbers = {number: str(i) for i, number in enumerate(recognizer.encoder.layers)}
    names, found = weights(recognizer), dict[str, Tensor]()
    for name, x in recognizer.state_dict().items():
        if name not in names:
            continue
        if name.startswith(_LAYERS):
            number, rest = name.removeprefix(_LAYERS).split(".", 1)
            name = f"{_LAYERS}{numbers[number]}.{rest}"
        found[family.original(name, configuration)] = x.detach().float().cpu()
    return found


def _parametrized(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` in the shapes of ``wanted``: some weights as norms and directions, the head as a
    convolution.
    """
    found = dict[str, Tensor]()
    for name, x in tensors.items():
        stem = name.removesuffix("weight")
        if name not in wanted and stem + _NORM in wanted:
            found |= {stem + _NORM: x.norm(dim=(0, 1), keepdim=True), stem + _DIRECTION: x}
        elif name in wanted and wanted[name].dim() == x.dim() + 1:
            found[name] = x[..., None]
        else:
            found[name] = x
    return found
