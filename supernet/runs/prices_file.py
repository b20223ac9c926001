"""``prices.json``: the prices with which a training for budgets began."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from pydantic import Field, model_validator

from supernet.budget import Prices, Quantity, SharedPrice
from supernet.runs.records import Amount, Record, checked
from supernet.system.files import read_json, write_json


class SharedRecord(Record):
    """A price that units share."""

    what = "the costs of a network's units"

    units: list[int]
    price: Amount


class PricesRecord(Record):
    """The whole file."""

    what = "the costs of a network's units"

    quantity: Quantity
    base: Amount
    units: list[Amount]
    shared: list[SharedRecord] = Field(default_factory=list)

    @model_validator(mode="after")
    def _check(self) -> PricesRecord:
        places = {*range(len(self.units))}
        if not all({*one.units} <= places for one in self.shared):
            raise ValueError("`shared` must be prices of units of the same network, but is not")
        return self


def save(prices: Prices, file: Path) -> None:
    """Write ``prices``."""
    write_json(file, asdict(prices))


def load(file: Path) -> Prices:
    """Read what ``save`` wrote; raises ``UserError`` for anything else."""
    record = checked(PricesRecord, read_json(file), file)
    shared = tuple(SharedPrice(tuple(one.units), one.price) for one in record.shared)
    return Prices(record.quantity, record.base, tuple(record.units), shared)
