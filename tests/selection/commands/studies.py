"""Definitions of studies with trainings of a few seconds, and a function that reads their results."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from tests.supernet.processes import NET, TRAIN

SETTINGS = {
    "task": {"name": "manifest", "path": "tones", "batch_seconds": 8},
    "sizes": [2, 4],
    "device": "cpu",
    "model": NET,
    "train": TRAIN,
}
COMPARE: dict[str, Any] = {
    "settings": SETTINGS,
    "methods": {"simple-top-k": [], "on-demand": ["tail", "greedy"], "individual": []},
    "variants": {"hot": {"train": {"lr": 0.01}}},
    "seeds": [0],
    "regimes": ["updates"],
}
CONTROLS: dict[str, Any] = {
    "settings": SETTINGS,
    "methods": {"individual": []},
    "variants": {
        "random": {"method": {"name": "fixed", "masks": "random"}},
        "grown": {"method": {"name": "on-demand", "max_drop": 0, "grow": True}},
        "alone": {"method": {"name": "individual", "grow_from": 2}},
    },
    "strategies": {"grown": ["tail", "every-other"]},
    "fine_tuned": {"tuned": {"of": "grown", "strategy": "every-other", "settings": {"train": {"lr": 0.001}}}},
    "distilled": {"taught": {"of": "grown"}},
    "seeds": [0],
    "regimes": ["updates"],
}
BUDGETS: dict[str, Any] = {
    "settings": {
        **{key: value for key, value in SETTINGS.items() if key != "sizes"},
        "budgets": ["macs=60%", "macs=100%"],
        "model": {**NET, "num_layers": 4, "ffn_chunks": 2},
    },
    "methods": {"individual": []},
    "variants": {
        "modules": {"granularity": "module", "method": {"name": "fixed", "masks": "random"}},
        "pruned": {"granularity": "component", "method": {"name": "on-demand", "max_drop": 0}},
    },
    "strategies": {"pruned": ["tail"]},
    "fine_tuned": {"tuned": {"of": "pruned", "strategy": "tail", "settings": {"granularity": "component"}}},
    "seeds": [0],
    "regimes": ["updates"],
}
RATES: dict[str, Any] = {
    "settings": SETTINGS,
    "methods": {"individual": []},
    "distilled": {"taught": {"of": "individual", "settings": {"method": "individual"}}},
    "rates": [0.002, 0.001],
    "seeds": [0, 1],
    "regimes": ["updates"],
}
CURVES: dict[str, Any] = {
    "settings": {**SETTINGS, "train": {**TRAIN, "num_steps": 12}},
    "lengths": [1, 2],
    "rates": [0.002, 0.001],
    "rates_at": 1,
    "seeds": [0],
}
TUNE: dict[str, Any] = {
    "settings": SETTINGS,
    "space": {
        "train.lr": {"low": 0.0005, "high": 0.02, "log": True},
        "model.intermediate": {"choices": [[2], [1, 3]]},
    },
    "trials": [{"train.lr": 0.002, "model.intermediate": [2]}],
}


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))
