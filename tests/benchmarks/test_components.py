"""The time of subnets cut to components, next to the same MACs cut to modules, and the price of their gates.

Run: ``python -m pytest tests/benchmarks``. Every figure is a ratio within one process.
"""

from __future__ import annotations

import random

import pytest
import torch

from supernet.budget import Wish
from supernet.config import Config, ModelConfig
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.unit_prices import unit_macs
from supernet.plan import Pass, Plan
from supernet.scorer import Context
from supernet.training.step import step_of
from supernet.units import Kept
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_inference import recognize
from tests.benchmarks.test_step import NUM_TOKENS, make_batch

NETS = {"96": ModelConfig(), "384": ModelConfig(dim=384, num_heads=6, ffn_dim=1536)}
ROUNDS = {"96": 15, "384": 7}


def net_of(granularity: str, model: ModelConfig, device: torch.device) -> SupernetCTC:
    torch.manual_seed(0)
    model = model.model_copy(update={"num_layers": 12})
    return SupernetCTC(Config(granularity=granularity, sizes=(1,), model=model), NUM_TOKENS).to(device).eval()


def half(net: SupernetCTC, narrow: bool = False) -> tuple[Kept, float]:
    """A subnet of half of the MACs, of random units or of the first parts of modules; its share of MACs."""
    budget = Wish.parse("macs=50%").priced(unit_macs(net, 10.0))
    ranking = random.Random(0).sample(range(len(net.table)), len(net.table))
    if narrow:
        place = {unit: i for group in net.table.groups for i, unit in enumerate(group)}
        ranking.sort(key=place.__getitem__)
    kept = budget.fill(ranking)
    return kept, budget.prices.of(kept) / budget.prices.full


@pytest.mark.parametrize("chosen", ["component", "component, every module narrower", "module"])
@pytest.mark.parametrize("dim", NETS)
def test_time_of_half_of_the_macs(dim: str, chosen: str, device: torch.device, ratio: Ratio) -> None:
    net = net_of(chosen.split(",")[0], NETS[dim], device)
    kept, share = half(net, narrow="," in chosen)
    small, features = cut(net, net.table.subnet(kept)), torch.randn(1, 1000, 80, device=device)
    found = ratio(lambda: recognize(small, features), lambda: recognize(net, features), ROUNDS[dim])
    ratio.note(share, "MACs")
    assert found < 1


@pytest.mark.parametrize("granularity", ["module", "component"])
@pytest.mark.parametrize("dim", NETS)
def test_price_of_gates(dim: str, granularity: str, device: torch.device, ratio: Ratio) -> None:
    """A step with a gate for every unit, relative to one without."""
    net = net_of(granularity, NETS[dim], device).train()
    batch, full = make_batch(4 if dim == "384" else 16, 200, device), net.table.full

    def gates(context: Context) -> torch.Tensor:
        return torch.sigmoid(context.scorer.importance() + 2)

    def step(plan: Plan) -> None:
        loss = net(batch, step_of(plan, len(batch)))
        (loss.total / loss.num_frames).backward()
        net.zero_grad(set_to_none=True)

    gated, plain = (Plan((Pass(net.config.names[0], full, gate=gate),)) for gate in (gates, None))
    found = ratio(lambda: step(gated), lambda: step(plain), ROUNDS[dim], what="of a step without gates")
    assert found < 2
