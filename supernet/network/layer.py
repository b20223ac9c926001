"""A layer as a module whose forward runs its branches, as data parallelism and recomputation need it.

Shapes: R rows of streams, S frames, D model dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Run = Callable[[Tensor], Tensor]
"""The computation of some of a layer's branches, from streams (R, S, D) to streams."""


class Layer(nn.Module):
    """A layer of any family, called with streams and with what runs its branches on them.

    The families' own layers always run all branches on all rows. This call fires the hooks of a module, such
    as those with which FSDP gathers the weights of a layer before it runs.
    """

    def forward(self, x_RSD: Tensor, run: Run) -> Tensor:
        """Run branches of this layer."""
        return run(x_RSD)

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and pickles, which find classes by their names."""
        return _restored, (type(self).__bases__[1],), self.__dict__


def as_layer(module: nn.Module) -> nn.Module:
    """Make a family's layer a ``Layer`` in place; the names of its weights, and all else of it, stay."""
    kls: Any = type(module)
    module.__class__ = _layer_class(kls)
    return module


@lru_cache
def _layer_class(kls: Any) -> type[nn.Module]:
    return type(kls.__name__, (Layer, kls), {})


def _restored(kls: type[nn.Module]) -> nn.Module:
    return as_layer(kls.__new__(kls))


def run_again(layer: nn.Module, x_RSD: Tensor, run: Run) -> Tensor:
    """Call ``layer``, which the backward pass calls again, instead of keeping its activations."""
    resting = [parameter for parameter in layer.parameters() if not parameter.requires_grad]
    contexts = nullcontext(), _AtRest(resting)
    found: Tensor = checkpoint(layer, x_RSD, run, use_reentrant=False, context_fn=lambda: contexts)
    return found


class _AtRest(AbstractContextManager[None]):
    """Keeps parameters from requiring gradients, which they may do again by the backward pass: the second
    call must save the same tensors as the first. Reusable, as backward passes can be repeated.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters, self._awake = parameters, list[nn.Parameter]()

    def __enter__(self) -> None:
        self._awake = [parameter for parameter in self._parameters if parameter.requires_grad]
        for parameter in self._awake:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self._awake:
            parameter.requires_grad_(True)
