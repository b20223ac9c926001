"""No step of a training waits for the device, and the number of its operations is limited.

Without a GPU, a stand-in without values takes its place; on a machine with CUDA, PyTorch itself reports where
it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from fairseq2.gang import FakeGang
from fairseq2.metrics import MetricBag
from torch import Tensor
from torcheval.metrics import Mean

from supernet.config import Config
from supernet.engine.gradients import Gradients
from supernet.engine.readers import StepBudget
from supernet.engine.train_unit import Observer, SupernetUnit
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.resolve import resolve
from supernet.task import Batch
from supernet.training.averaging import Averages
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from tests.supernet import encoders, tiny
from tests.supernet.network.test_wav2vec2 import speech
from tests.supernet.pretrained import folders
from tests.supernet.tiny import tiny_config
from tests.supernet.training.test_methods import METHODS, schedule
from tests.supernet.waiting import GPU, NeverWaiting, Waits, as_gpu

TRAIN = {"num_steps": 400}
FRAMES = (60, 33, 15, 47, 60, 52, 21, 38)
SETTINGS: dict[str, dict[str, Any]] = {
    "rows": {},
    "modules": {"granularity": "module"},
    "components": {"granularity": "component"},
    "batch": {"passes": {"sharing": "batch"}},
    "heads": {"model": {"heads": "per-size"}, "passes": {"layer_drop": 0.5}},
    "conditioned": {"model": {"self_conditioning": True}},
    "transformer": {"granularity": "module", "layer_type": "transformer"},
    "sinusoids": {"layer_type": "conformer-conv-first", "model": {"positions": "sinusoidal"}},
    "averaged": {"train": {"average_from": 0.0, "average_every": 1}},
    "no positions": {"model": {"positions": "none", "attention_dropout": 0.1, "ffn_dropout": 0.1}},
}
"""Settings that change the operations of a step, in addition to its method and phase."""

Make = Callable[[], Batch]


class Batches:
    """An endless stream of the same utterances, with some frames masked."""

    def __init__(self, make: Make) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = self._make()
        batch.features_BTF = batch.features_BTF.float()
        batch.hidden_BTF = torch.rand(batch.features_BTF.shape) < 0.1
        return batch

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


class Training:
    """The engine's work in a step, on any device."""

    def __init__(self, net: SupernetCTC, schedule: Schedule, make: Make, device: torch.device) -> None:
        config = net.config.train
        self._reader, self._metrics = StepBudget(Batches(make), config.num_steps, 1), MetricBag(device)
        observer: Observer = None  # type: ignore[assignment]  # of rank 0 alone
        self._unit = SupernetUnit(net, net, schedule, self._reader, rank=1, observer=observer)
        self._unit.prepare_metric_bag(self._metrics)
        self._metrics.add("grad_norm", Mean())
        self._net, self._device = net.to(device), device
        ranks = FakeGang(torch.device("cpu"))
        ranks._device = device
        self._gradients = self._unit._gradients = Gradients(net, ranks)
        skips = net.skipped_updates, net.skipped_in_a_row
        groups, norm = parameter_groups(net, config), self._gradients.norm
        self._optimizer = SkippingAdamW(groups, config, *skips, self._unit.after_step, norm)
        self._averages = Averages(net, schedule, config, self._optimizer)

    def step(self, number: int) -> None:
        """Take the 0-based step ``number``."""
        (batch,) = next(self._reader)
        self._unit.set_step_nr(number + 1)
        batch.to(self._device, non_blocking=True)
        loss, _ = self._unit.process_batch(batch, self._metrics)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = self._gradients.clip_grad_norm(self._net.config.train.max_grad_norm)
        self._optimizer.step()
        self._averages.update(number)
        self._optimizer.zero_grad(set_to_none=True)
        self._metrics.get("grad_norm", Mean).update(norm)


def utterances() -> Batch:
    return tiny.batch(FRAMES)


def phases(
    method: str, config: Config, make: Make, device: torch.device
) -> Iterator[tuple[str, Training, int]]:
    """For each phase that has steps: its name, a training just before it, and its first step."""
    starts = schedule(method, config)[0].boundaries()
    ends = [start for _, start in starts[1:]] + [config.train.num_steps]
    for (name, start), end in zip(starts, ends, strict=True):
        if start < end:
            plans, net = schedule(method, config)
            plans.begin(start)  # subnets are chosen once, of which the host has the scores
            yield name, Training(net, plans, make, device), start


class Counts(NamedTuple):
    """Of the second step of a phase."""

    operations: int
    """Those that a device has to start, and that are no views."""
    copies: int
    """Those of host data to the device."""


def counts(method: str, config: Config, make: Make = utterances) -> dict[str, Counts]:
    """The counts of each phase, none of which waits."""
    found = {}
    with as_gpu():
        for name, training, start in phases(method, config, make, GPU):
            with NeverWaiting():
                training.step(start)
            with NeverWaiting() as watched:
                training.step(start + 1)
            found[name] = Counts(watched.num_operations, watched.num_copies)
    return found


def config_of(method: str, setting: str) -> Config:
    settings = SETTINGS[setting]
    config = tiny_config(**{**settings, "train": {**TRAIN, **settings.get("train", {})}})
    return config.only(config.names[-1]) if method == "individual" else config


COMBINATIONS = [
    *(("simple-top-k", setting) for setting in SETTINGS),
    *((method, setting) for method in METHODS for setting in ("rows", "modules") if method != "simple-top-k"),
    *((method, "components") for method in ("ortho-softmax", "auto-train-once", "dais")),
]
"""Methods differ in their phases and plans, settings in the operations of a pass."""


@pytest.mark.parametrize(("method", "setting"), COMBINATIONS)
def test_no_phase_waits(method: str, setting: str) -> None:
    assert min(found.operations for found in counts(method, config_of(method, setting)).values()) > 100


@pytest.mark.parametrize(("kind", "granularity"), [("base", "layer"), ("large_lv60k", "module")])
def test_no_phase_of_a_pretrained_encoder_waits(
    kind: encoders.Kind, granularity: str, tmp_path: Path
) -> None:
    init = encoders.write(tmp_path / kind, kind)
    sizes = (2, 4) if granularity == "layer" else (4, 8)
    settings = {"task": {"name": "manifest", "path": "nowhere"}, "sizes": sizes, "granularity": granularity}
    model = {"init": str(init), "freeze_frontend_steps": 0}
    config = resolve([{**settings, "train": TRAIN, "model": model}]).config
    found = counts("simple-top-k", config, lambda: speech([5000, 1600, 300, 3217]))
    assert min(one.operations for one in found.values()) > 100


@pytest.mark.parametrize("variant", ["parakeet", "wav2vec2-large", "wavlm-base", "conformer-rotary"])
def test_no_phase_of_a_checkpoint_of_transformers_waits(variant: str, tmp_path: Path) -> None:
    folders.write(tmp_path, folders.VARIANTS[variant])
    net = open_checkpoint(tmp_path).recognizer
    train = net.config.train.model_copy(update=TRAIN)
    config = net.config.model_copy(update={"sizes": (2, 4), "budgets": None, "train": train})
    make = utterances if net.config.model.input == "log-mel" else partial(speech, [5000, 1600, 300, 3217])
    assert min(found.operations for found in counts("simple-top-k", config, make).values()) > 100


MOST: dict[str, dict[str, Counts]] = {
    "layer": {
        "score learning": Counts(2250, 8),
        "smallest size": Counts(1060, 8),
        "joint": Counts(2020, 20),
    },
    "module": {
        "score learning": Counts(3000, 8),
        "smallest size": Counts(800, 8),
        "joint": Counts(2250, 50),
    },
}
"""Rounded up. Of these, 56 are the CTC loss of 14 stream frames: four a frame on a GPU."""


@pytest.mark.parametrize(("granularity", "sizes"), [("layer", (6, 9, 12)), ("module", (16, 32, 48))])
def test_steps_need_no_more_operations_than_before(granularity: str, sizes: tuple[int, ...]) -> None:
    """The default network but for its widths, which do not matter."""
    net = {"dim": 16, "num_heads": 2, "ffn_dim": 32, "frontend_channels": 2}
    settings = {"granularity": granularity, "sizes": sizes, "model": net, "train": {"num_steps": 1000}}
    found = counts("simple-top-k", Config.model_validate(settings))
    assert found.keys() == MOST[granularity].keys()
    for phase, most in MOST[granularity].items():
        assert found[phase].operations <= most.operations, phase
        assert found[phase].copies <= most.copies, phase


LENGTHS: Any = (3,), (1,)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x, host: x.sum().item(),
        lambda x, host: bool(x.sum() > 0),
        lambda x, host: x.tolist(),
        lambda x, host: x.cpu(),
        lambda x, host: host.copy_(x),
        lambda x, host: x.nonzero(),
        lambda x, host: x[x > 0],
        lambda x, host: x.masked_select(x > 0),
        lambda x, host: x.unique(),
        lambda x, host: x[[2, 0]],
        lambda x, host: x.index_select(0, torch.tensor([2, 0])),
        lambda x, host: x.new_tensor([1.0, 2.0]),
        lambda x, host: torch.tensor(1.0, device=GPU),
        lambda x, host: host.to(GPU),
        lambda x, host: host.to(GPU, non_blocking=True),
        lambda x, host: host.pin_memory().to(GPU),
        lambda x, host: x.copy_(host),
        lambda x, host: x.repeat_interleave(torch.ones(3, dtype=torch.int64, device=GPU)),
        lambda x, host: torch.nn.functional.ctc_loss(
            torch.zeros(3, 1, 4, device=GPU), torch.ones(1, 1, dtype=torch.int64, device=GPU), *LENGTHS
        ),
    ],
)
def test_the_stand_in_detects_operations_that_wait(wait: Callable[[Tensor, Tensor], object]) -> None:
    x, host = torch.zeros(3, device=GPU), torch.zeros(3)
    with NeverWaiting(), pytest.raises((Waits, RuntimeError)) as found:
        wait(x, host)
    # PyTorch refuses some reads by itself, as there are no values.
    assert isinstance(found.value, (Waits, NotImplementedError)) or "meta" in str(found.value)


def test_the_stand_in_accepts_operations_that_do_not_wait() -> None:
    x, host = torch.zeros(3, device=GPU), torch.arange(3)
    with NeverWaiting() as watched:
        y = x * 2 + torch.full((3,), 0.5, device=GPU)
        y = y[1:].index_select(0, host[:2].pin_memory().to(GPU, non_blocking=True))
        y[0] = 1.0
    assert y.shape == (2,)
    assert watched.num_operations > 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("method", METHODS)
def test_no_phase_waits_for_a_gpu(method: str, setting: str) -> None:
    for _, training, start in phases(method, config_of(method, setting), utterances, torch.device("cuda")):
        training.step(start)  # kernels are loaded and chosen
        torch.cuda.set_sync_debug_mode("error")
        try:
            training.step(start + 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
