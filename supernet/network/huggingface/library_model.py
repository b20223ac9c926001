"""A network of wav2vec 2.0's kind as a model of `transformers`, with the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from supernet.encoder_family import family_of
from supernet.errors import UserError
from supernet.granularity import granularity_named
from supernet.network.huggingface import fairseq2_encoder
from supernet.network.huggingface.family import HuggingFaceFamily
from supernet.network.huggingface.library import Library
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.network.wav2vec2 import Wav2Vec2

_LAYERS = "encoder.layers."
_NORM, _DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
"""The names in the library of the norms and the directions of a weight (arXiv 1602.07868)."""


@dataclass(frozen=True)
class Described:
    """The model of the library for a network."""

    library: Library
    configuration: Mapping[str, Any]
    """The encoder as in ``config.json``."""
    features: Mapping[str, Any]
    """The feature extractor as in ``preprocessor_config.json``."""
    original: Callable[[str], str]
    """Translates the name of a tensor of the network to that in the library."""
    unneeded: tuple[str, ...]
    """The beginnings of the names of tensors that no recognizer needs."""


def described(recognizer: SupernetCTC) -> Described:
    """Describe ``recognizer`` for the library, which must have a model for it, see ``library_problem``."""
    family: Any = family_of(recognizer.config.model)
    if isinstance(family, Wav2Vec2):
        return Described(
            Library("wav2vec2"),
            fairseq2_encoder.configuration_of(family),
            fairseq2_encoder.features_of(family),
            fairseq2_encoder.original,
            fairseq2_encoder.UNNEEDED,
        )
    configuration: Mapping[str, Any] = family.options.configuration
    return Described(
        family.library,
        configuration,
        family.options.features,
        lambda name: str(family.original(name, configuration)),
        tuple(old for old, new in family.names(configuration) if new is None),
    )


def library_problem(recognizer: SupernetCTC) -> str | None:
    """The reason why the library has no model for ``recognizer``, if there is one."""
    model = recognizer.config.model
    family = family_of(model)
    if isinstance(family, Wav2Vec2):
        if problem := fairseq2_encoder.problem_of(family):
            return problem
    elif not isinstance(family, HuggingFaceFamily):
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
    source = described(recognizer)
    configuration = source.configuration
    # Only later releases have convolutions without biases: here they are zero.
    no_biases = configuration.get("convolution_bias") is False
    configuration = {name: value for name, value in configuration.items() if name != "convolution_bias"}
    with torch.random.fork_rng():  # what only its training needs is made at random
        torch.manual_seed(0)
        model = source.library.with_head(configuration, len(recognizer.encoder.layers), recognizer.num_tokens)
    wanted = model.state_dict()
    found = _parametrized(_renamed(recognizer, source.original), wanted)
    if no_biases:
        missing = [name for name in wanted if ".conv." in name and name.endswith(".bias")]
        found = {name: torch.zeros_like(wanted[name]) for name in missing} | found
    lost = [name for name in wanted if name not in found and not _is_unneeded(name, source.unneeded)]
    if wrong := [*lost, *(name for name in found if name not in wanted)]:
        raise UserError(
            f"A model of `transformers` must have the network's tensors, but has not: {wrong[0]}."
        )
    model.load_state_dict(found, strict=False)
    return model.eval()


def _is_unneeded(name: str, beginnings: tuple[str, ...]) -> bool:
    return name.startswith(beginnings) or name.endswith(".num_batches_tracked")


def _renamed(recognizer: SupernetCTC, original: Callable[[str], str]) -> dict[str, Tensor]:
    """The tensors of ``recognizer`` by their names in the library."""
    numbers = {number: str(i) for i, number in enumerate(recognizer.encoder.layers)}
    names, found = weights(recognizer), dict[str, Tensor]()
    for name, x in recognizer.state_dict().items():
        if name not in names:
            continue
        if name.startswith(_LAYERS):
            number, rest = name.removeprefix(_LAYERS).split(".", 1)
            name = f"{_LAYERS}{numbers[number]}.{rest}"
        found[original(name)] = x.detach().float().cpu()
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
