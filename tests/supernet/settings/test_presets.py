"""Every preset in configs/ builds a network and trains."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

import supernet
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.resolve import Resolved, resolve
from supernet.settings.names import presets
from supernet.training.learning_rate import PiecewiseLinearLR
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.schedule import Schedule
from supernet.training.step import StepLosses, supernet_of
from tests.supernet import tiny
from tests.supernet.tiny import NUM_TOKENS

CONFIGS = Path(supernet.__file__).parents[1] / "configs"
PUBLISHED = {"simple-top-k-published", "iterative-zero-out-published", "on-demand-published"}


def first_steps_of_phases(schedule: Schedule) -> list[int]:
    """The first two steps, and the first one of each kind of phase."""
    starts = {name: start for name, start in reversed(schedule.boundaries())}
    return sorted({0, 1, *starts.values()})


def train(resolved: Resolved, num_rows: int) -> tuple[SupernetCTC, list[float]]:
    config, method = resolved.config, resolved.method
    torch.manual_seed(0)
    net = supernet_of(method, NUM_TOKENS)
    schedule = Schedule(method, net, config.seed)
    groups = parameter_groups(net, config.train)
    steps, skipped, in_a_row = StepLosses(net, schedule), net.skipped_updates, net.skipped_in_a_row
    optimizer = SkippingAdamW(groups, config.train, skipped, in_a_row, steps.end)
    scheduler = PiecewiseLinearLR(optimizer, config.train, method.travels())
    data, losses = tiny.batch([40] * num_rows, dtype=torch.float32), []
    for step in first_steps_of_phases(schedule):
        steps.begin(step)
        loss = steps.loss(data)
        optimizer.zero_grad()
        (loss.total / loss.num_frames).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        losses.append(loss.total.item())
    return net, losses


def test_there_are_presets() -> None:
    assert {"tiny", "small", "base", *PUBLISHED} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_every_preset_builds_and_takes_two_steps(name: str) -> None:
    # Building networks of up to 80 million parameters takes most of the time, so two utterances are enough.
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
def test_presets_have_the_documented_networks(
    name: str, dim: int, heads: int, kernel: int, layers: int
) -> None:
    config = resolve([{"preset": name}]).config
    m = config.model
    assert (m.dim, m.num_heads, m.kernel, m.ffn_dim, config.num_layers) == (
        dim,
        heads,
        kernel,
        4 * dim,
        layers,
    )


MASKS = {"time_masks": 1000, "min_time_masks": 2, "frames_per_time_mask": 25, "max_time_frames": 20}
TEDLIUM: dict[str, Any] = {
    "granularity": "module", "sizes": (16, 32, 48), "num_layers": 12,
    "model.layer_type": "conformer-conv-first", "model.positions": "none", "model.convolution_bias": True,
    "model.dim": 384, "model.ffn_dim": 1536, "model.num_heads": 6, "model.kernel": 31,
    "model.dropout": 0.2, "model.ffn_dropout": 0.2, "model.attention_dropout": 0.1, "model.start_scale": 1.0,
    "model.heads": "per-size", "model.intermediate": (), "passes.intermediate_weight": 0.0,
    "passes.sharing": "batch", "passes.small_weight": 0.3, "passes.layer_drop": 0.4,
    "passes.smallest_first": 0.0, "train.num_steps": 350_000, "train.lr": 5e-4, "train.scores_lr": 5e-4,
    "train.scores_weight_decay": 1e-3, "train.weight_decay": 1e-3, "train.betas": (0.9, 0.999),
    "train.eps": 1e-16, "train.max_grad_norm": None,
    "train.schedule": ((0.0, 0.1), (0.44, 1.0), (0.88, 0.1), (1.0, 2e-5)),
    "task.batch_seconds": 150.0, "task.frequency_warp": 0.0, "task.speed_perturb": (),
    "task.spec_augment": {**MASKS, "freq_masks": 10, "min_freq_masks": 2, "max_freq_bands": 5},
}  # fmt: skip
"""The authors' settings for TED-LIUM v2 and three sizes (arXiv 2407.18930 and their public code)."""
LIBRISPEECH = {
    **TEDLIUM,
    "model.dim": 512, "model.ffn_dim": 2048, "model.num_heads": 8, "model.dropout": 0.1,
    "model.ffn_dropout": 0.1, "passes.layer_drop": 0.3, "train.num_steps": 732_000, "train.lr": 4e-4,
    "train.scores_lr": 4e-4, "train.schedule": ((0.0, 0.01), (0.45, 1.0), (0.9, 0.01), (1.0, 2.5e-5)),
    "task.spec_augment": {**MASKS, "freq_masks": 5, "min_freq_masks": 2, "max_freq_bands": 8},
}  # fmt: skip
ITERATIVE = "iterative-zero-out-published"
AUTHORS_SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "simple-top-k-published": (TEDLIUM, {"reduce_by": 4, "hard": False}, 8 * 26_600),
    ITERATIVE: (
        {**TEDLIUM, "train.scores_lr": None},
        {"iterations": 8, "penalty_weight": 5.0},
        42_000 + 7 * 25_200,
    ),
    "tedlium2": (TEDLIUM, {"reduce_by": 4, "hard": False}, 8 * 26_600),
    "librispeech-100": (TEDLIUM, {"reduce_by": 4, "hard": False}, 8 * 26_600),
    "librispeech-960": (LIBRISPEECH, {"reduce_by": 1, "hard": True}, 32 * 14_640),
}
"""For each preset, its settings, those of its method, and the number of updates that learn scores."""
DEVIATIONS = ("frontend", "features", "normalization", "tokens", "masks", "decay", "batches", "precision")
"""Headings of the settings that differ from the authors' in all of these presets."""
ON_DEMAND_DEVIATIONS = ("network", "optimization", "frontend", "features", "search")
"""The same for presets of arXiv 2106.09216."""


def setting(resolved: Resolved, name: str) -> Any:
    if name.startswith("task."):
        value = getattr(resolved.task.options, name[5:])
        return value.model_dump(include=set(TEDLIUM[name])) if name == "task.spec_augment" else value
    found: Any = resolved.config
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", AUTHORS_SETTINGS)
def test_presets_have_the_published_settings(name: str) -> None:
    resolved, (settings, method, learning) = resolve([{"preset": name}]), AUTHORS_SETTINGS[name]
    assert {key: setting(resolved, key) for key in settings} == settings
    assert {key: getattr(resolved.method.options, key) for key in method} == method
    net = tiny_memory(resolved)
    schedule = Schedule(resolved.method, net, 0)
    joint = dict(schedule.boundaries())["joint"]
    assert joint == pytest.approx(learning, rel=0.002)
    assert len(schedule.plan(0).passes) == 2
    assert [p.budget for p in schedule.plan(joint).passes] == ["48", "32", "16"]


def tiny_memory(resolved: Resolved) -> SupernetCTC:
    """A narrow network of the same depth, which holds the state of a schedule."""
    narrow = {"dim": 8, "num_heads": 2, "ffn_dim": 8, "frontend_channels": 1, "kernel": 3}
    config = resolved.config
    config = config.model_copy(update={"model": config.model.model_copy(update=narrow)})
    return SupernetCTC(config, NUM_TOKENS)


def test_the_first_iteration_of_zero_out_is_as_long_as_published() -> None:
    resolved = resolve([{"preset": ITERATIVE}])
    starts = [start for _, start in Schedule(resolved.method, tiny_memory(resolved), 0).boundaries()]
    lengths = [b - a for a, b in itertools.pairwise(starts[:9])]
    assert lengths == pytest.approx([42_000, *[25_200] * 7], rel=0.005)


@pytest.mark.parametrize("num_steps", [1_000, 350_000])
def test_scores_of_zero_out_can_move_far_enough_in_trainings_of_any_length(num_steps: int) -> None:
    resolved = resolve([{"preset": ITERATIVE, "train": {"num_steps": num_steps}}])
    parameters = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(3)]
    optimizer = torch.optim.Adam(parameters, lr=resolved.config.train.lr)
    PiecewiseLinearLR(optimizer, resolved.config.train, resolved.method.travels())
    first_iteration = resolved.method.phases()[0].num_steps
    assert optimizer.param_groups[2]["lr"] * first_iteration == pytest.approx(15)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, DEVIATIONS) for name in AUTHORS_SETTINGS),
        *((name, ON_DEMAND_DEVIATIONS) for name in ("on-demand-published", "on-demand-24")),
    ],
)
def test_each_published_preset_lists_its_deviations(name: str, words: tuple[str, ...]) -> None:
    """At its beginning, which also names the preset that gives the reasons."""
    text = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    head = text[: text.index("\npreset:")]
    assert [word for word in words if word not in head] == []
    reasons = "simple-top-k-published" if words == DEVIATIONS else "on-demand-published"
    assert reasons in (name, *head.replace(",", " ").replace(".", " ").split())
    table = (CONFIGS / f"{reasons}.yaml").read_text(encoding="utf-8")
    assert [word for word in words if f"#   {word} " not in table and f"{word}:" not in table] == []


@pytest.mark.parametrize(
    ("name", "task", "dim"),
    [
        ("librispeech-960", "librispeech", 512),
        ("librispeech-100", "librispeech", 384),
        ("tedlium2", "tedlium2", 384),
    ],
)
def test_presets_of_the_papers_corpora(name: str, task: str, dim: int) -> None:
    """Modules are units as published; layers can be, as described in the preset."""
    modules = resolve([{"preset": name}, {"task": {"name": task, "path": "/data"}}]).config
    assert (modules.task.name, modules.granularity, modules.sizes) == (task, "module", (16, 32, 48))
    assert (modules.task.options["path"], modules.task.options["batch_seconds"]) == ("/data", 150.0)
    assert (modules.model.dim, modules.model.heads, modules.num_layers) == (dim, "per-size", 12)
    by_layer = {"granularity": "layer", "sizes": [4, 8, 12], "method": {"reduce_by": 1}}
    layers = resolve([{"preset": name}, by_layer]).config
    assert (layers.num_layers, layers.sizes, layers.method.options["reduce_by"]) == (12, (4, 8, 12), 1)


def test_the_100_hours_of_librispeech_are_one_part() -> None:
    assert resolve([{"preset": "librispeech-100"}]).task.options.train == ("train-clean-100",)


def test_the_preset_of_on_demand_with_24_layers() -> None:
    config = resolve([{"preset": "on-demand-24"}, {"task": "librispeech"}]).config
    assert (config.num_layers, config.model.layer_type) == (24, "transformer")
    assert config.model.positions_read(24) == (6, 12, 18)
    assert config.method.options["max_drop"] > 0


def test_later_layers_of_settings_override_presets() -> None:
    config = resolve([{"preset": "small"}, {"model": {"dim": 192}}, {"sizes": [4]}]).config
    assert (config.model.dim, config.model.num_heads, config.sizes) == (192, 6, (4,))


def test_another_method_does_not_inherit_the_presets_options() -> None:
    resolved = resolve([{"preset": "simple-top-k-published"}, {"method": "on-demand"}])
    assert resolved.config.method.name == "on-demand"
    assert resolved.config.method.options == {"max_drop": 0.3, "grow": False}


MINI = {"train": ["train-clean-5"], "valid": [], "test": ["dev-clean-2"]}


@pytest.mark.parametrize(
    ("name", "task", "parts"),
    [
        ("an4", "an4", {}),
        ("speechocean762", "speechocean762", {}),
        (
            "mini-librispeech",
            "librispeech",
            {"train": ["train-clean-5"], "valid": [], "test": ["dev-clean-2"]},
        ),
    ],
)
def test_presets_of_real_speech_have_the_network_of_tiny(
    name: str, task: str, parts: dict[str, list[str]]
) -> None:
    """Their sizes differ from those of `tiny`, and the corpus may be in any folder."""
    config = resolve([{"preset": name}, {"task": {"name": task, "path": "/data"}}]).config
    tiny = resolve([{"preset": "tiny"}]).config
    assert (config.task.name, config.sizes, config.model) == (task, (3, 6, 12), tiny.model)
    assert {key: list(config.task.options[key]) for key in parts} == parts
    assert config.task.options["path"] == "/data"
