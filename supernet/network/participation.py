"""Gradients of zero for what a plan uses and this process has no rows for.

Where processes share the weights, all of them must reduce the gradients of the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from supernet.errors import UserError
from supernet.plan import Plan
from supernet.units import Kept


def involve(parameters: Iterable[nn.Parameter], x: Tensor) -> Tensor:
    """``x``, from which ``parameters`` get gradients of zero if they get no others."""
    return x + sum((0.0 * p.sum() for p in parameters if p.requires_grad), x.new_zeros(())).to(x.dtype)


def planned_units(plan: Plan) -> Kept:
    """The units that a pass of ``plan`` keeps.

    Raises:
        UserError: Processes that divide the weights cannot train by this plan.
    """
    if plan.learning != "everything":  # which the wrapper of a layer does not notice
        raise UserError(
            "`train.data_parallelism` must be ddp with a method that trains only some parameters in a step, "
            "but is fsdp instead."
        )
    return tuple(map(any, zip(*(pass_.kept for pass_ in plan.passes), strict=True)))


def planned_parameters(plan: Plan, heads: nn.ModuleDict, scorer: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of heads and scorer that ``plan`` uses."""
    for name in {pass_.budget if pass_.budget in heads else "shared" for pass_ in plan.passes}:
        yield from heads[name].parameters()
    if any(pass_.gate is not None for pass_ in plan.passes):
        yield from scorer.parameters()
