"""The cost of scoring many subnets relative to naive implementations in the same process.

Run: ``python -m pytest tests/benchmarks``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from selection.strategies.exhaustive import all_subnets
from supernet.budget import Budget, toggled
from supernet.config import Config
from supernet.network.ctc import ctc_loss
from supernet.network.supernet_ctc import SupernetCTC
from supernet.task import Batch
from supernet.units import Kept
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_step import NUM_TOKENS, make_batch

NUM_LAYERS = 12
MOST_ALL_SUBSETS = 1.15
MOST_GREEDY = 0.65


@pytest.fixture
def model(device: torch.device) -> SupernetCTC:
    torch.manual_seed(0)
    return SupernetCTC(Config(sizes=(6, 9, NUM_LAYERS)), NUM_TOKENS).to(device).eval()


def all_subsets() -> list[Kept]:
    sizes = range(1, NUM_LAYERS + 1)
    return [kept for size in sizes for kept in all_subnets(Budget.of_size(size, NUM_LAYERS))]


@torch.inference_mode()
def score(model: SupernetCTC, batch: Batch, subnets: list[Kept]) -> None:
    for _ in model.score_all(batch, subnets):
        pass


@torch.inference_mode()
def passes_and_heads(
    model: SupernetCTC, batch: Batch, num_passes: int, frontends: int, num_heads: int
) -> None:
    """Runs of the full network, of which some include the frontend, and runs of heads with their losses."""
    for i in range(num_passes):
        if i < frontends:
            x_BSD, lengths = model.embed(batch.features_BTF, batch.num_frames)
        ((_, output_BSD),) = model.encoder.outputs(x_BSD, lengths, [model.table.full])
    for _ in range(num_heads):
        ctc_loss(model.read(output_BSD, NUM_LAYERS), lengths, batch, range(len(batch)))


def greedy_rounds(num_units: int, size: int) -> Iterator[list[Kept]]:
    """The subnets scored in a backward search; their average cost does not depend on the units dropped."""
    kept: Kept = (True,) * num_units
    going = [7, 2, 10, 5, 0, 8, 11, 3, 6, 1]
    for gone in going[: num_units - size]:
        yield [toggled(kept, i) for i, keep in enumerate(kept) if keep]
        kept = toggled(kept, gone)


@pytest.mark.parametrize("frontends", [341, 1], ids=["whole passes", "passes without frontend"])
def test_all_subsets_cost_as_much_as_their_distinct_prefixes(
    model: SupernetCTC, device: torch.device, ratio: Ratio, frontends: int
) -> None:
    subsets, batch = all_subsets(), make_batch(device=device)
    assert len(subsets) == 4095
    found = ratio(
        lambda: score(model, batch, subsets),
        lambda: passes_and_heads(model, batch, 341, frontends, len(subsets)),
        rounds=1,
        what="of 341 passes and 4,095 heads",
    )
    assert found <= MOST_ALL_SUBSETS


def test_greedy_search_shares_prefixes(model: SupernetCTC, device: torch.device, ratio: Ratio) -> None:
    batch = make_batch(device=device)

    def shared() -> None:
        for candidates in greedy_rounds(NUM_LAYERS, 6):
            score(model, batch, candidates)

    def naive() -> None:
        for candidates in greedy_rounds(NUM_LAYERS, 6):
            for kept in candidates:
                score(model, batch, [kept])

    assert ratio(shared, naive, rounds=3, what="of scoring one by one") <= MOST_GREEDY
