"""The rows that run each unit together, and the sharing of rows among lanes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from supernet.network.lanes import Gates, Lane, LaneWalk, Padding, rows_by_unit
from supernet.network.walk import Running
from supernet.units import Unit, UnitTable
from tests.supernet.tiny import gates

SINGLE = ([0], [1], [2])
ALL = (True, True, True)


def test_rows_are_counted_once_while_lanes_agree() -> None:
    lanes = [Lane(range(4), ALL), Lane(range(4), (True, False, True)), Lane(range(4, 6), ALL)]
    # Both lanes over the first rows share unit 0; the second continues separately, without unit 1.
    assert rows_by_unit(lanes, SINGLE) == {0: 6, 1: 6, 2: 10}


def test_lanes_that_diverge_in_a_group_run_all_of_it_separately() -> None:
    lanes = [Lane(range(4), ALL), Lane(range(4), (True, False, True))]
    assert rows_by_unit(lanes, SINGLE) == {0: 4, 1: 4, 2: 8}
    assert rows_by_unit(lanes, ([0, 1], [2])) == {0: 8, 1: 8, 2: 8}
    assert rows_by_unit(lanes[1:], ([0, 1], [2])) == {0: 4, 1: 0, 2: 4}


def test_dropped_rows_are_not_counted() -> None:
    lane = Lane(range(4), ALL, None, {1: frozenset({0, 3})}, {1: 2.0})
    assert rows_by_unit([lane], SINGLE) == {0: 4, 1: 2, 2: 4}


@pytest.mark.parametrize(("other", "rows"), [("a", 4), ("b", 8)])
def test_gates_are_distinguished_by_their_keys(other: str, rows: int) -> None:
    """Equal keys mean equal gates, regardless of the tensors that hold them."""
    ones = (torch.ones(3), torch.ones(3))
    lanes = [Lane(range(4), ALL, Gates(key, values)) for key, values in zip(("a", other), ones, strict=True)]
    assert rows_by_unit(lanes, SINGLE)[2] == rows


def test_a_group_gets_a_weight_for_each_row_and_unit_that_runs() -> None:
    x_BSD = torch.zeros(3, 2, 1, dtype=torch.float64)
    lanes = [
        Lane(range(1), (True, False, True)),
        Lane(range(1, 2), (False, False, False)),
        Lane(range(2, 3), (False, False, True), gates([0.1, 0.2, 0.3]), {2: frozenset()}, {2: 2.0}),
    ]
    seen: list[tuple[Tensor, Running]] = []

    def body(x_NSD: Tensor, context: object, running: Running) -> Tensor:
        seen.append((x_NSD, running))
        return x_NSD + 1

    walk = LaneWalk(x_BSD, Padding([2, 2, 2], x_BSD), lanes)
    walk.run([0, 1, 2], body)
    ((x_NSD, running),) = seen
    assert len(x_NSD) == 2, "a row without any of the units is not computed"
    assert running.units == (0, 2), "nor is a unit that no row runs"
    assert running.gates_NK is not None
    torch.testing.assert_close(running.gates_NK, torch.tensor([[1.0, 1.0], [0.0, 0.3]], dtype=torch.float64))
    assert running.weights is not None
    torch.testing.assert_close(running.weights, torch.tensor([[1.0, 1.0], [0.0, 0.6]], dtype=torch.float64))
    assert walk.x_RSD[:, 0, 0].tolist() == [1, 0, 1]


def test_units_of_one_module_form_a_group() -> None:
    parts = [Unit(f"layers.{i}.ffn.{part}", i, "ffn", part) for i in (0, 1) for part in (0, 1)]
    attention = Unit("layers.1.self_attn", 1, "self_attn")
    table = UnitTable("halves", (*parts, attention))
    assert table.groups == ((0, 1), (2, 3), (4,))
    assert list(table.of_layer(1).values()) == [2, 3, 4]
    assert UnitTable("layer", (Unit("layers.0", 0), Unit("layers.1", 1))).groups == ((0,), (1,))
