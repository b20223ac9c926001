"""Every preset in configs/ builds a network and trains."""

from __future__ import annotations

import random

import pytest
import torch

from supernet.model import Recogniser
from supernet.names import presets
from supernet.optim import PiecewiseLinearLR, SkippingAdamW, parameter_groups
from supernet.phases import Schedule
from supernet.resolve import Resolved, resolve
from supernet.step import Draw, Step
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS

PUBLISHED = {"simple-top-k-published", "iterative-zero-out-published", "on-demand-published"}


def first_steps_of_phases(schedule: Schedule) -> list[int]:
    """Two steps at least: the first ones, and that with which each kind of phase begins."""
    starts = {name: start for name, start in reversed(schedule.boundaries())}
    return sorted({0, 1, *starts.values()})


def train(resolved: Resolved, num_rows: int) -> tuple[Recogniser, list[float]]:
    config, method = resolved.config, resolved.method
    torch.manual_seed(0)
    net = Recogniser(config, NUM_TOKENS, initial_score=method.initial_score)
    schedule = Schedule(method, net, config.seed)
    groups = parameter_groups(net, config.train)
    optimizer = SkippingAdamW(groups, config.train, net.skipped_updates, net.skipped_in_a_row)
    scheduler = PiecewiseLinearLR(optimizer, config.train, method.travels())
    data, losses = tiny.batch([40] * num_rows, dtype=torch.float32), []
    for step in first_steps_of_phases(schedule):
        schedule.begin(step)
        loss = net(data, Step(schedule.plan(step), Draw(config.seed, step)))
        optimizer.zero_grad()
        (loss.total / loss.num_frames).backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.total.item())
    return net, losses


def test_there_are_presets() -> None:
    assert {"tiny", "small", "base", *PUBLISHED} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_every_preset_builds_and_takes_two_steps(name: str) -> None:
    # A network of 80 million parameters takes most of its time to make: tasks and sizes stay as they are.
    net, losses = train(resolve([{"preset": name}]), num_rows=2)
    assert len(losses) >= 2
    assert all(0 < loss < float("inf") for loss in losses)
    assert int(net.skipped_updates) == 0
    assert losses[0] != losses[1]
    assert all(bool(p.isfinite().all()) for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "dim", "heads", "kernel", "layers"),
    [("tiny", 96, 4, 15, 12), ("small", 384, 6, 31, 12), ("base", 512, 8, 31, 12)],
)
def test_the_networks_of_the_presets(name: str, dim: int, heads: int, kernel: int, layers: int) -> None:
    config = resolve([{"preset": name}]).config
    m = config.model
    assert (m.dim, m.num_heads, m.kernel, m.ffn_dim, config.num_layers) == (
        dim,
        heads,
        kernel,
        4 * dim,
        layers,
    )


@pytest.mark.parametrize("name", sorted(PUBLISHED - {"on-demand-published"}))
def test_the_published_settings(name: str) -> None:
    resolved = resolve([{"preset": name}])
    config = resolved.config
    assert config.granularity == "module"
    assert config.model.heads == "per-size"
    assert (config.passes.sharing, config.passes.small_weight) == ("batch", 0.3)
    assert config.passes.layer_drop == pytest.approx(0.3)
    assert len(resolved.method.table) == 48
    net = Schedule(
        resolved.method, Recogniser(config, NUM_TOKENS, initial_score=resolved.method.initial_score), 0
    )
    joint = dict(net.boundaries())["joint"]
    assert joint == pytest.approx(0.6 * config.train.num_steps, abs=1)
    assert len(net.plan(0).passes) == 2
    random.seed(0)
    assert [p.size for p in net.plan(joint).passes] == sorted(config.sizes, reverse=True)


@pytest.mark.parametrize(
    ("name", "task", "dim"),
    [
        ("librispeech-960", "librispeech", 512),
        ("librispeech-100", "librispeech", 384),
        ("tedlium2", "tedlium2", 384),
    ],
)
def test_the_papers_corpora(name: str, task: str, dim: int) -> None:
    """By modules as published; by layers as the comment in the preset says."""
    modules = resolve([{"preset": name}, {"task": {"name": task, "path": "/data"}}]).config
    assert (modules.task.name, modules.granularity, modules.sizes) == (task, "module", (16, 32, 48))
    assert (modules.task.options["path"], modules.task.options["batch_seconds"]) == ("/data", 150.0)
    assert (modules.model.dim, modules.model.heads, modules.num_layers) == (dim, "per-size", 12)
    by_layer = {"granularity": "layer", "sizes": [4, 8, 12], "method": {"reduce_by": 1}}
    layers = resolve([{"preset": name}, by_layer]).config
    assert (layers.num_layers, layers.sizes, layers.method.options["reduce_by"]) == (12, (4, 8, 12), 1)


def test_the_100_hours_are_one_part() -> None:
    assert resolve([{"preset": "librispeech-100"}]).task.options.train == ("train-clean-100",)


def test_on_demand_with_24_layers() -> None:
    config = resolve([{"preset": "on-demand-24"}, {"task": "librispeech"}]).config
    assert (config.num_layers, config.model.layer_type) == (24, "transformer")
    assert config.model.positions_read(24) == (6, 12, 18)
    assert config.method.options["max_drop"] > 0


def test_later_layers_win_and_options_go_over_presets() -> None:
    config = resolve([{"preset": "small"}, {"model": {"dim": 192}}, {"sizes": [4]}]).config
    assert (config.model.dim, config.model.num_heads, config.sizes) == (192, 6, (4,))


def test_another_method_brings_none_of_the_presets_options() -> None:
    resolved = resolve([{"preset": "simple-top-k-published"}, {"method": "on-demand"}])
    assert resolved.config.method.name == "on-demand"
    assert resolved.config.method.options == {"max_drop": 0.3}
