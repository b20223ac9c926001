"""Choice of devices, and runs that can be moved between machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq2.recipe.config import TorchConfig

from supernet.errors import ArgumentError, ConfigError
from supernet.runs.resolve import resolve, resolve_trained
from supernet.runs.run import Run, as_data
from supernet.system.devices import chosen_device, machine, use_tf32


def test_a_missing_device_is_an_error() -> None:
    assert chosen_device("cpu") == torch.device("cpu")
    for name in ("cuda:97", "cuda:00000000000000000000099"):
        with pytest.raises(ArgumentError, match=f"must be a GPU of this machine, .*'{name}'"):
            chosen_device(name)
    for name in ("", "gpu", "cuda:", "cuda:-1", "cuda:1 ", "meta"):
        with pytest.raises(ArgumentError, match="`device` must be cpu, cuda or cuda:N"):
            chosen_device(name)


@pytest.mark.parametrize(
    ("name", "rank", "expected"),
    [
        (None, None, "cuda:0"),
        ("cuda", None, "cuda:0"),
        ("cuda:1", None, "cuda:1"),
        (None, "1", "cuda:1"),
        ("cuda", "1", "cuda:1"),
        ("cuda:0", "1", "cuda:0"),
        ("cpu", "1", "cpu"),
        (None, "7", "cuda:0"),
    ],
)
def test_each_process_gets_its_own_gpu(
    name: str | None, rank: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)  # as on a machine with two GPUs
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert chosen_device(name) == torch.device(expected)


def test_a_run_can_be_continued_on_another_device(tmp_path: Path) -> None:
    run, config = Run(tmp_path / "run"), resolve([{"device": "cpu"}]).config
    run.begin(config.model_copy(update={"device": "cuda:97"}))
    run.begin(config, lambda data: as_data(resolve_trained(data).config))
    assert run.config_data()["device"] == "cpu"
    with pytest.raises(ArgumentError, match="these differ: seed was 0, is 1") as found:
        run.begin(resolve([{"seed": 1}]).config)
    assert "device was" not in str(found.value)


def test_a_run_of_another_machine_can_be_read(tmp_path: Path) -> None:
    data = as_data(resolve([{}]).config) | {"device": "cuda:97"}
    assert resolve_trained(data).config.device is None
    with pytest.raises(ConfigError, match="`device` must be a GPU"):
        resolve([data])


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    task = {
        "name": "manifest",
        "path": "corpus",
        "tokens": "lists/tokens.txt",
        "cache": "~/cache",
        "noise": {"folder": "../musan"},
        "eval_reverb": {"folder": "/rirs"},
    }
    found = as_data(resolve([{"task": task}]).config)["task"]
    assert found["path"] == str(tmp_path / "corpus")
    assert found["tokens"] == str(tmp_path / "lists/tokens.txt")
    assert found["cache"] == str(tmp_path / "home" / "cache")
    assert found["noise"]["folder"] == str(tmp_path / "../musan")
    assert found["eval_reverb"]["folder"] == "/rirs"
    monkeypatch.chdir("/")
    assert as_data(resolve([{"task": found}]).config)["task"] == found


def test_the_machine_is_described_by_name_and_threads() -> None:
    name, _, threads = machine(torch.device("cpu")).rpartition(", ")
    assert name
    assert threads == "1 thread"


def test_a_machine_without_cpuinfo_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    name, _, _ = machine(torch.device("cpu")).rpartition(", ")
    assert name


def test_scoring_uses_the_precision_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine enables TensorFloat32 for training, after which the same process scores."""
    flags: Any = torch.backends
    monkeypatch.setattr(flags, "fp32_precision", "ieee")  # and restored
    use_tf32(torch.device("cpu"))
    assert flags.fp32_precision == "ieee", "only GPUs have TensorFloat32"
    use_tf32(torch.device("cuda"))
    assert TorchConfig().allow_tf32 == (flags.fp32_precision == "tf32")
    assert flags.cuda.matmul.fp32_precision == flags.cudnn.conv.fp32_precision == "tf32"
