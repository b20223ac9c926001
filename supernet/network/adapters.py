"""Adapters of low rank (LoRA, arXiv 2106.09685) beside a pretrained encoder's frozen matrices, by `peft`:

W x + (α / r) B A x        A random (r, in), B zero (out, r) at the start, α = 2 r
"""

from __future__ import annotations

import importlib.util
from typing import Any

from torch import nn

from supernet.config import Config
from supernet.errors import UserError
from supernet.network.supernet_ctc import SupernetCTC


def check_adapters(config: Config) -> None:
    """Raise ``UserError`` if a training with `model.lora_rank` cannot run here."""
    if config.model.lora_rank is not None and importlib.util.find_spec("peft") is None:
        raise UserError(
            "`model.lora_rank` must find the library `peft`, but it cannot be imported. Install: pip install "
            "-e '.[lora]'"
        )


def add_adapters(recognizer: SupernetCTC) -> None:
    """Give the linear layers of the encoder adapters of `model.lora_rank`, if it is set, and freeze all else
    of the encoder. The outputs stay the same.
    """
    rank = recognizer.config.model.lora_rank
    if rank is None:
        return
    check_adapters(recognizer.config)
    import peft

    encoder = recognizer.encoder
    names = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and min(module.in_features, module.out_features) > rank
    ]
    if not names:
        raise UserError(
            f"`model.lora_rank` must be less than the width of the layers, but is {rank} instead."
        )
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=names)
    peft.inject_adapter_in_model(settings, encoder)
    encoder.has_adapters = True


def merge_adapters(recognizer: SupernetCTC) -> None:
    """Add the products of the adapters to the matrices, and remove the adapters. Idempotent."""
    encoder = recognizer.encoder
    if not encoder.has_adapters:
        return
    from peft.tuners.lora import LoraLayer

    for name, module in [*encoder.named_modules()]:
        if isinstance(module, LoraLayer):
            adapted: Any = module
            adapted.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(encoder.get_submodule(parent), attribute, adapted.get_base_layer())
    encoder.has_adapters = False
    encoder.requires_grad_(True)
