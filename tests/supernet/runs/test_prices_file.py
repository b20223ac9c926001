"""The prices of units in a training for budgets, which are saved in its folder and checked when read."""

from __future__ import annotations

from pathlib import Path

import pytest

from supernet.budget import Prices, SharedPrice
from supernet.errors import UserError
from supernet.network.unit_prices import NetworkPrices
from supernet.runs.run import Run
from tests.supernet import tiny

SHARED = (SharedPrice((1, 2), 0.004),)
PRICES = Prices("latency", 0.002, (0.001, 0.003, 0.002, 0.001), SHARED)


def test_saved_prices_are_used_instead_of_new_measurements(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.prices() == {}
    run.save_prices(PRICES)
    again = NetworkPrices(tiny.tiny_config(), tiny.NUM_TOKENS, run.prices())
    assert again["latency"] == PRICES
    assert again["units"] == Prices.counting(4)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"quantity": "speed", "base": 0, "units": [1]}',
        '{"quantity": "macs", "base": -1, "units": [1]}',
        '{"quantity": "macs", "base": 0, "units": ["a"]}',
        '{"quantity": "macs", "base": 0, "units": [NaN]}',
        '{"quantity": "macs", "base": 0, "units": [1], "shared": [{"units": [1], "price": 1}]}',
        '{"quantity": "macs", "base": 0, "units": [1], "shared": [{"units": [0], "price": -1}]}',
        "not JSON",
    ],
)
def test_damaged_prices_are_an_error(tmp_path: Path, text: str) -> None:
    run = Run(tmp_path)
    run.prices_file.write_text(text)
    with pytest.raises(UserError, match=r"prices\.json'"):
        run.prices()
