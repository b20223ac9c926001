"""Cuts a subnet out of a supernet as an ordinary smaller model with the same outputs."""

from __future__ import annotations

import copy

from torch import Tensor

from supernet.config import Config
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.units import Subnet


def cut(recognizer: SupernetCTC, subnet: Subnet) -> SupernetCTC:
    """Cut ``subnet`` out of ``recognizer`` as a separate model, with the head of its size."""
    small = SupernetCTC(_small_config(recognizer.config, subnet.size), recognizer.num_tokens, subnet=subnet)
    small.to(recognizer.device, recognizer.dtype)  # otherwise copying would round
    state = recognizer.state_dict() | _cut_layers(recognizer, small)
    head = f"heads.{recognizer.head(subnet.size)}."
    wanted = {name: state[name.replace("heads.shared.", head)] for name in weights(small)}
    small.load_state_dict(wanted, strict=False)
    return small.eval()


def _cut_layers(recognizer: SupernetCTC, small: SupernetCTC) -> dict[str, Tensor]:
    """The weights of the layers of ``small``, by their names in it."""
    state: dict[str, Tensor] = {}
    for number in small.encoder.layers:
        layer = copy.deepcopy(recognizer.encoder.layers[number])
        small.encoder.reduce(layer, int(number), recognizer.table)
        state |= {f"encoder.layers.{number}.{name}": x for name, x in layer.state_dict().items()}
    return state


def _small_config(config: Config, size: int) -> Config:
    model = config.model.model_copy(update={"num_layers": config.num_layers, "heads": "shared"})
    passes = config.passes.model_copy(update={"shares": None, "stages": None})
    return config.model_copy(update={"sizes": (size,), "budgets": None, "model": model, "passes": passes})
