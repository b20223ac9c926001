"""The price of each unit, read from the network or measured on this machine: parameters, MACs, or latency."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from supernet.budget import Prices, Quantity, SharedPrice
from supernet.config import Config
from supernet.network.lanes import Lane, LaneWalk, Padding
from supernet.network.model_costs import MACS_SECONDS, REPEATS, WARM_UP, macs, utterance
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.network.walk import FINAL, Body, Map
from supernet.task import Batch, ProgressCallback
from supernet.units import Kept


class NetworkPrices(Mapping[Quantity, Prices]):
    """The prices of the units of the network that a configuration describes, for 10 s of audio; computed, or
    measured on this machine's CPU, on first access.
    """

    def __init__(
        self, config: Config, num_tokens: int, known: Mapping[Quantity, Prices] | None = None
    ) -> None:
        """
        Args:
            config: The configuration of a run.
            num_tokens: The number of output tokens.
            known: Prices already known, such as those measured when the run started.
        """
        self._config, self._num_tokens, self._known = config, num_tokens, dict(known or {})

    def __getitem__(self, quantity: Quantity) -> Prices:
        if quantity not in self._known:
            self._known[quantity] = self._price(quantity)
        return self._known[quantity]

    def __iter__(self) -> Iterator[Quantity]:
        return iter(get_args(Quantity))

    def __len__(self) -> int:
        return len(get_args(Quantity))

    def _price(self, quantity: Quantity) -> Prices:
        if quantity == "units":
            return Prices.counting(self._config.units_per_layer * self._config.num_layers)
        with torch.random.fork_rng(devices=[]):
            net = SupernetCTC(self._config, self._num_tokens).eval()
        if quantity == "params":
            return unit_parameters(net)
        return unit_macs(net, MACS_SECONDS) if quantity == "macs" else unit_latencies(net, MACS_SECONDS)


def unit_parameters(recognizer: SupernetCTC) -> Prices:
    """Parameters used in recognition. A cut model has a single head, so only one head is counted."""
    table, encoder = recognizer.table, recognizer.encoder
    counts, shared = [0.0] * len(table), list[SharedPrice]()
    for group in table.groups:
        unit = table.units[group[0]]
        layer = encoder.branches(unit.layer)
        divided = whole = sum(p.numel() for p in layer.weights(unit.module))
        if len(group) > 1:
            divided = layer.named[str(unit.module)].numel_of_parts or whole
            shared.append(SharedPrice(group, float(whole - divided)))
        for place in group:
            counts[place] = divided / len(group)
    heads = [sum(p.numel() for p in head.parameters()) for head in recognizer.heads.values()]
    base = num_parameters(recognizer) - sum(counts) - sum(heads[1:])
    base -= sum(one.price for one in shared)
    return Prices("params", float(base), tuple(counts), tuple(shared))


def unit_macs(recognizer: SupernetCTC, seconds: float) -> Prices:
    """Multiply-accumulates for an utterance of ``seconds``: each unit is counted as the only one kept, of the
    parts of a module, which are equal, the first.
    """
    nothing, alone = (False,) * len(recognizer.table), [0.0] * len(recognizer.table)
    base = macs(recognizer, seconds, nothing)
    for first, *others in recognizer.table.groups:
        count = macs(recognizer, seconds, (*nothing[:first], True, *nothing[first + 1 :])) - base
        for unit in (first, *others):
            alone[unit] = float(count)
    return Prices("macs", float(base), tuple(alone))


def unit_latencies(
    recognizer: SupernetCTC, seconds: float, repeats: int = REPEATS, report: ProgressCallback | None = None
) -> Prices:
    """Seconds of computation for one utterance of ``seconds`` on this machine, the best of ``repeats`` runs
    after a warm-up.

    Each unit is timed at its place in the full network; the base is the rest of the run. The parts of a
    module are timed together, and again with only the first: what the time does not lose is shared by them.
    """
    batch, table = utterance(recognizer, seconds), recognizer.table
    total = WARM_UP + repeats

    def best(kept: Kept) -> _Times:
        runs = list[_Times]()
        for i in range(total):
            runs.append(_run_timed(recognizer, batch, kept))
            if report is not None:
                report("timing units", i + 1, total)
        counted = runs[WARM_UP:]
        groups = [min(times) for times in zip(*(run.groups for run in counted), strict=True)]
        return _Times(min(run.rest for run in counted), groups)

    full, units, shared = best(table.full), [0.0] * len(table), list[SharedPrice]()
    first = {group[0] for group in table.groups}
    alone = full if len(first) == len(table) else best(tuple(i in first for i in range(len(table))))
    for group, together, one in zip(table.groups, full.groups, alone.groups, strict=True):
        each = together / len(group)
        if len(group) > 1:
            each = min(each, max(0.0, together - one) / (len(group) - 1))
            shared.append(SharedPrice(group, together - len(group) * each))
        for unit in group:
            units[unit] = each
    return Prices("latency", full.rest, tuple(units), tuple(shared))


@dataclass(frozen=True)
class _Times:
    """Seconds of one run, divided among the groups of its units and the rest."""

    rest: float
    groups: list[float]


@torch.inference_mode()
def _run_timed(recognizer: SupernetCTC, batch: Batch, kept: Kept) -> _Times:
    watch = _Stopwatch(recognizer.device)

    def start(x_BSD: Tensor, padding: Padding, lanes: Sequence[Lane]) -> _TimedWalk:
        return _TimedWalk(x_BSD, padding, lanes, watch)

    begin = watch.now()
    walk = recognizer.walk(batch, [Lane(range(1), kept)], start)
    recognizer.read(walk.readings[0][FINAL], sum(kept)).argmax(-1).tolist()
    return _Times(watch.now() - begin - sum(walk.seconds), walk.seconds)


class _Stopwatch:
    """Reads the clock once a device has finished all of its work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


class _TimedWalk:
    """Records the time of each group of units that run in one call."""

    def __init__(self, x_BSD: Tensor, padding: Padding, lanes: Sequence[Lane], watch: _Stopwatch) -> None:
        self._walk, self._watch = LaneWalk(x_BSD, padding, lanes), watch
        self.readings = self._walk.readings
        self.seconds = list[float]()

    def run(self, units: Sequence[int], body: Body) -> None:
        start = self._watch.now()
        self._walk.run(units, body)
        self.seconds.append(self._watch.now() - start)

    def apply(self, map: Map) -> None:
        self._walk.apply(map)

    def read(self, position: int, norm: Map) -> None:
        self._walk.read(position, norm)
