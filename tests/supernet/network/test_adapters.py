"""Adapters of low rank in trainings from checkpoints."""

from __future__ import annotations

import copy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from supernet.errors import ConfigError, UserError
from supernet.network.adapters import add_adapters, check_adapters, merge_adapters
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.network.tensor_names import is_adapter
from supernet.runs.run import Run
from supernet.train import main as train
from tests.supernet.commands.test_dry_run import rows
from tests.supernet.pretrained.folders import VARIANTS, speech, write
from tests.supernet.processes import digest
from tests.supernet.recognizing import log_probs
from tests.supernet.runs.test_checkpoint_starts import LETTERS, Training, begun, resolved

needs_peft = pytest.mark.skipif(
    "not __import__('importlib.util').util.find_spec('peft')", reason="needs peft"
)
LENGTHS = [5000, 3217]
RANK = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "mine", VARIANTS["wav2vec2-large"])
    return tmp_path / "mine"


def outputs(net: SupernetCTC) -> Tensor:
    return torch.cat(log_probs(net, net.table.full, speech(LENGTHS)))


def stir(net: SupernetCTC) -> None:
    """Give the adapters other values than at the start, where their products are zero."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, x in net.named_parameters():
            if is_adapter(name):
                x.copy_(0.1 * torch.randn(x.shape, generator=rng))


@needs_peft
@pytest.mark.parametrize(
    "variant", ["wav2vec2-base", "wavlm-large", "conformer-relative", "w2v-bert", "parakeet"]
)
def test_merged_adapters_compute_what_adapters_compute(variant: str, tmp_path: Path) -> None:
    """Adapters change nothing at first, and their merging changes nothing later."""
    write(tmp_path, VARIANTS[variant])
    net = begun(resolved(tmp_path, lora_rank=RANK), LETTERS).eval()
    names, start, plain = set(weights(net)), copy.deepcopy(net.state_dict()), outputs(net)
    add_adapters(net)
    torch.testing.assert_close(outputs(net), plain, atol=1e-6, rtol=0)
    stir(net)
    adapted, state = outputs(net), copy.deepcopy(net.state_dict())
    assert (adapted - plain).abs().max() > 0.01
    merge_adapters(net)
    torch.testing.assert_close(outputs(net), adapted, atol=1e-5, rtol=0)
    assert set(weights(net)) == names
    changed = [name for name in names if not torch.equal(net.state_dict()[name], start[name])]
    assert changed
    for name in changed:
        stem = name.removesuffix(".weight")
        a, b = (state[f"{stem}.lora_{part}.default.weight"] for part in "AB")
        assert a.size(0) == RANK
        expected = start[name] + 2 * b @ a
        torch.testing.assert_close(net.state_dict()[name], expected, atol=1e-6, rtol=0)
    merge_adapters(net)  # idempotent
    assert set(weights(net)) == names


@needs_peft
def test_only_adapters_and_heads_are_trained(folder: Path) -> None:
    passes = {"smallest_first": 0, "sharing": "batch", "layer_drop": 0}
    settings = {"train": {"num_steps": 8}, "method": "on-demand", "passes": passes}
    frozen = {"freeze_layers": 1, "freeze_layers_steps": 2}
    training = Training(resolved(folder, settings, lora_rank=RANK, **frozen), add_adapters)
    before = copy.deepcopy(training.net.state_dict())

    def changed() -> set[str]:
        now = training.net.state_dict()
        return {name for name, x in now.items() if name in before and not torch.equal(x, before[name])}

    for step in range(2):
        training.update(step)
    layers = {name for name in changed() if name.startswith("encoder.layers.")}
    assert layers
    assert all(is_adapter(name) for name in layers)
    assert {name.split(".")[2] for name in layers} == {"1", "2", "3"}
    for step in range(2, 4):
        training.update(step)
    layers = {name for name in changed() if name.startswith("encoder.layers.")}
    assert all(is_adapter(name) for name in layers)
    assert {name.split(".")[2] for name in layers} == {"0", "1", "2", "3"}
    assert not any(name.startswith(("frontend.", "encoder.norm.")) for name in changed())
    assert {"heads.shared.weight", "heads.shared.bias"} <= changed()


@needs_peft
def test_a_dry_run_shows_what_is_trained(
    folder: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(*settings: str) -> str | None:
        given = [f"model.init={folder}", "model.init_head=keep", "task.batch_seconds=4", *settings]
        options = [word for text in given for word in ("--set", text)]
        train(["--task", "tones", "--sizes", "2,4", "--device", "cpu", "--dry-run", *options])
        return rows(capsys.readouterr().out).get("trained at first")

    plain, adapted = trained(), trained("model.lora_rank=2")
    assert plain is not None
    assert adapted is not None
    assert float(adapted.split()[0]) < float(plain.split()[0])
    assert plain.endswith("parameters; the others are frozen")
    assert trained("model.freeze_frontend_steps=0") is None


@needs_peft
@pytest.mark.slow
def test_a_run_with_adapters_resumes_bit_by_bit_and_ends_without_them(
    folder: Path, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model.init": folder, "model.lora_rank": 2, "train.num_steps": 4, "task.batch_seconds": 4}
    settings |= {"train.publish_every": 1, "train.checkpoint_every": 2, "train.validate_every": 4}
    options = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = ["--task", "tones", "--sizes", "2,4", "--device", "cpu", "--method", "on-demand", *options]
    train([*command, "--out", str(tmp_path / "run")])
    run = Run(tmp_path / "run")
    file = run.model_stem.with_suffix(".safetensors")
    expected = digest(file)
    assert not any(is_adapter(name) or "base_layer" in name for name in load_file(file))
    for old in (file, run.results_file):
        old.unlink()
    shutil.rmtree(run.checkpoints / "step_4")
    train([*command, "--out", str(tmp_path / "run")])
    assert digest(file) == expected


def test_a_missing_library_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"`model\.lora_rank` must find the library `peft`.*'\.\[lora\]'"):
        check_adapters(resolved(folder, lora_rank=2).config)


@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        ({"model": {"init": None, "lora_rank": 2}}, "`model.lora_rank` must go with `model.init`"),
        (
            {"train": {"data_parallelism": "fsdp"}},
            "`train.data_parallelism` must be ddp with `model.lora_rank`",
        ),
        ({"train": {"average_from": 0.5}}, "`train.average_from` must be left out with `model.lora_rank`"),
        ({"model": {"lora_rank": 0}}, "`model.lora_rank` must be"),
    ],
)
def test_settings_that_do_not_fit_adapters_are_errors(
    folder: Path, layer: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError) as e:
        resolved(folder, {"model": {"lora_rank": 2}}, layer)
    assert any(line.startswith(problem) for line in e.value.problems), e.value.problems
