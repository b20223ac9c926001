"""Training from one's own finished run or cut model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet import train
from supernet.errors import ConfigError
from supernet.network.cutting import cut
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs import model_file
from supernet.runs.model_file import Model, load
from supernet.runs.pretrained import begin
from supernet.runs.resolve import Resolved, resolve
from supernet.runs.run import Run, as_data
from supernet.text.tokens import Tokens
from supernet.trainer import Follower
from supernet.training.feature_statistics import measure_features
from supernet.training.step import supernet_of
from supernet.units import LayerType
from tests.supernet.processes import LEARNING, TRAIN
from tests.supernet.tiny import NUM_TOKENS, batch, recognizer, tiny_config

TOKENS = Tokens(("<blk>", *"abcde"))
OTHERS = Tokens(("<blk>", *"abcxyz"))
DATA = batch([260, 200])


def saved(folder: Path, granularity: str = "layer", layer_type: LayerType = "conformer", **more: Any) -> Path:
    """Save a model, the part of a finished run that another training starts from."""
    assert len(TOKENS) == NUM_TOKENS
    folder.mkdir()
    net = recognizer(tiny_config(granularity, layer_type, **more)).float()
    model_file.save(Model(net, TOKENS), folder / "model")
    return folder


def resolved(init: Path, *layers: dict[str, Any]) -> Resolved:
    task = {"task": {"name": "manifest", "path": "nowhere"}}
    return resolve([task, {"model": {"init": str(init)}}, *layers])


def begun(init: Path, tokens: Tokens = TOKENS, *layers: dict[str, Any]) -> SupernetCTC:
    """The network of a training that starts from ``init``, before any update."""
    found = resolved(init, *layers)
    torch.manual_seed(1)
    net = supernet_of(found.method, len(tokens))
    begin(net, tokens)
    return net.double().eval()


@torch.no_grad()
def log_probs(net: SupernetCTC, kept: Sequence[bool] | None = None) -> torch.Tensor:
    kept = net.table.full if kept is None else tuple(kept)
    lengths = [net.input.num_stream_frames(n) for n in DATA.num_frames]
    out_BSV = net.double().log_probs(DATA.features_BTF, DATA.num_frames, kept, net.sizes[-1])
    return torch.cat([row[:n] for row, n in zip(out_BSV, lengths, strict=True)])


def assert_same(actual: SupernetCTC, expected: SupernetCTC, kept: Sequence[bool] | None = None) -> None:
    torch.testing.assert_close(log_probs(actual), log_probs(expected, kept), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("layer_type", ["conformer", "transformer"])
@pytest.mark.parametrize("new", ["layer", "module"])
@pytest.mark.parametrize("old", ["layer", "module"])
def test_before_any_update_the_output_is_that_of_the_run(
    tmp_path: Path, old: str, new: str, layer_type: LayerType
) -> None:
    init = saved(tmp_path / "run", old, layer_type)
    units = 4 * (1 if new == "layer" else 4 if layer_type == "conformer" else 2)
    net = begun(init, TOKENS, {"granularity": new, "sizes": [units // 2, units]})
    assert_same(net, load(init / "model").recognizer)
    assert net.table.granularity == new
    assert set(net.scorer.importance().tolist()) == {resolved(init).method.initial_score}, "scores are new"


def test_sizes_and_granularity_default_to_those_of_the_run(tmp_path: Path) -> None:
    init = saved(tmp_path / "run", "module", sizes=(3, 8, 16))
    config = resolved(init).config
    assert (config.sizes, config.granularity, config.num_layers) == ((3, 8, 16), "module", 4)
    config = resolved(init, {"sizes": [5]}).config
    assert (config.sizes, config.num_layers) == ((5,), 4)


def test_other_tokens_get_a_new_head_on_the_same_encoder(tmp_path: Path) -> None:
    init = saved(tmp_path / "run")
    old, net = load(init / "model").recognizer.double(), begun(init, OTHERS)
    for name, tensor in old.state_dict().items():
        if name.startswith(("frontend.", "encoder.")):
            assert torch.equal(net.state_dict()[name], tensor), name
    assert net.heads["shared"].weight.shape == (len(OTHERS), 16)


@pytest.mark.parametrize(
    ("before", "after"), [("per-size", "shared"), ("shared", "per-size"), ("per-size", "per-size")]
)
def test_each_size_gets_the_head_it_had(tmp_path: Path, before: str, after: str) -> None:
    init = saved(tmp_path / "run", model={"heads": before})
    old, net = load(init / "model").recognizer, begun(init, TOKENS, {"model": {"heads": after}})
    assert_same(net, old)
    kept = net.table.first(2)
    if after == "per-size":
        actual = net.log_probs(DATA.features_BTF, DATA.num_frames, kept, 2)
        expected = old.double().log_probs(DATA.features_BTF, DATA.num_frames, kept, 2)
        torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)


def test_self_conditioning_is_kept(tmp_path: Path) -> None:
    init = saved(tmp_path / "run", model={"self_conditioning": True, "intermediate": [2]})
    net = begun(init, TOKENS, {"model": {"intermediate": [2]}})
    assert net.conditioning is not None
    assert_same(net, load(init / "model").recognizer)


def test_a_cut_model_becomes_a_supernet_of_its_layers(tmp_path: Path) -> None:
    whole = load(saved(tmp_path / "run") / "model")
    kept = (True, False, True, True)
    small = cut(whole.recognizer, whole.recognizer.table.subnet(kept))
    (tmp_path / "cut").mkdir()
    model_file.save(Model(small, TOKENS), tmp_path / "cut" / "model")
    net = begun(tmp_path / "cut", TOKENS, {"sizes": [1, 3]})
    assert [unit.name for unit in net.table.units] == ["layers.0", "layers.1", "layers.2"]
    assert_same(net, whole.recognizer, kept)


def test_a_deeper_network_starts_with_the_existing_layers(tmp_path: Path) -> None:
    init = saved(tmp_path / "run")
    old, net = load(init / "model").recognizer, begun(init, TOKENS, {"sizes": [4, 6]})
    assert net.config.num_layers == 6
    torch.testing.assert_close(log_probs(net, net.table.first(4)), log_probs(old), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": {"dim": 96}}, ["`model.dim` must be 16, as in `model.init`", "96"]),
        ({"model": {"layer_type": "transformer"}}, ["`model.layer_type` must be 'conformer'", "transformer"]),
        (
            {"model": {"num_layers": 2}, "sizes": [2]},
            ["`model.num_layers` must be at least 4", "supernet.cut"],
        ),
        ({"model": {"init_weights": "0123"}}, ["`model.init` must have the weights", "0123"]),
        ({"sizes": [2, 5], "model": {"num_layers": 4}}, ["`sizes` must be at most 4"]),
        ({"sizes": "many"}, ["`sizes`"]),
    ],
)
def test_contradictory_settings_are_errors(
    tmp_path: Path, settings: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as found:
        resolved(saved(tmp_path / "run"), settings)
    (problem,) = found.value.problems
    for word in words:
        assert word in problem


def test_a_model_with_incomplete_layers_is_an_error(tmp_path: Path) -> None:
    whole = load(saved(tmp_path / "run", "module") / "model").recognizer
    small = cut(whole, whole.table.subnet(whole.table.first(6)))
    (tmp_path / "cut").mkdir()
    model_file.save(Model(small, TOKENS), tmp_path / "cut" / "model")
    with pytest.raises(
        ConfigError, match=r"must have whole layers, but layer 1 of .* has lost 2 of its 4 modules"
    ):
        resolved(tmp_path / "cut")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", None),
        ("model.json", b"[]"),
        ("model.json", b"{}"),
        ("model.json", b"\xff\xfe"),
    ],
)
def test_a_damaged_model_is_a_one_line_error(tmp_path: Path, file: str, content: bytes | None) -> None:
    init = saved(tmp_path / "run")
    (init / file).unlink()
    if content is not None:
        (init / file).write_bytes(content)
    with pytest.raises(ConfigError) as found:
        resolved(init)
    (problem,) = found.value.problems
    assert problem.startswith("`model.init` must be a finished run or a cut model")
    assert "\n" not in problem
    assert str(init) in problem


def test_settings_of_a_run_can_be_used_with_another_start(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "first"), saved(tmp_path / "second", model={"heads": "per-size"})
    before = as_data(resolved(first).config)
    found = resolve([before, {"model": {"init": str(second)}}]).config.model
    assert found.init == str(second)
    assert found.init_weights == model_file.fingerprint(second / "model")


def test_an_unfinished_run_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("sizes: [2, 4]\n")
    with pytest.raises(ConfigError, match=r"has no model\.json\. Train it to the end first"):
        resolved(tmp_path)


class TestTraining:
    """A small training that starts from the finished run."""

    @pytest.fixture
    def here(self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "tones").symlink_to((place / "tones").resolve())
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @staticmethod
    def arguments(out: str, **changes: int) -> list[str]:
        values = TRAIN | {"num_steps": 8, "validate_every": 4} | changes
        options = [word for key, value in values.items() for word in ("--set", f"train.{key}={value}")]
        small = ["--sizes", "1,4", "--device", "cpu", "--set", "task.batch_seconds=8"]
        return ["--task", "tones", *small, *options, *LEARNING, "--set", "model.init=old", "--out", out]

    def test_the_start_is_recorded_and_not_needed_to_resume(
        self,
        finished: tuple[Run, str],
        here: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        shutil.copytree(finished[0].folder, here / "old")

        def stop(follower: Follower, step: int) -> None:
            if step == 6:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Follower, "on_step", stop)
            with pytest.raises(SystemExit) as end:
                train.main(self.arguments("new"))
        assert end.value.code == 130
        assert f"starts from {here / 'old'}, with its head" in capsys.readouterr().out.replace("\n", "")
        model = Run(Path("new")).config_data()["model"]
        assert model["init"] == str(here / "old")
        assert model["init_weights"] == model_file.fingerprint(here / "old" / "model")
        assert (model["dim"], model["num_layers"]) == (16, 4)

        net = load(here / "old" / "model")
        with torch.no_grad():
            net.recognizer.scorer.importance().add_(1)
        model_file.save(net, here / "old" / "model")
        with pytest.raises(SystemExit) as end:
            train.main(self.arguments("new"))
        assert end.value.code == 2
        assert "model.init_weights was" in capsys.readouterr().err

        shutil.rmtree(here / "old")
        config = Run(Path("new")).config_file
        # As if it had been started on another machine.
        config.write_text(config.read_text().replace("device: cpu", "device: cuda:97"))
        train.main(self.arguments("new"))
        assert "test WER" in capsys.readouterr().out
        assert "FAIRSEQ2_DEVICE" not in os.environ
        assert str(here) not in (here / "new" / "model.json").read_text(), "models have no local paths"
        assert json.loads((here / "new" / "model.json").read_text())["sizes"] == [1, 4]

        with pytest.raises(SystemExit) as end:
            train.main(self.arguments("new", num_steps=16))
        assert end.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(
            "error: 'new' is finished after 8 updates. To train further, start a new run from it"
        )
        assert "--set model.init=new --out" in line


def test_a_training_that_starts_from_a_streaming_network_keeps_its_statistics(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    net = recognizer(tiny_config(model={"streaming": True})).float()
    assert isinstance(net.frontend, StreamingFrontend)
    net.frontend.mean_F.fill_(3.0)
    model_file.save(Model(net, TOKENS), tmp_path / "live" / "model")
    started = begun(tmp_path / "live")
    assert started.config.model.streaming
    measure_features(started, resolved(tmp_path / "live").task, TOKENS)  # of a corpus that does not exist
    assert_same(started, net)
    assert isinstance(started.frontend, StreamingFrontend)
    assert set(started.frontend.mean_F.tolist()) == {3.0}
    offline = saved(tmp_path / "offline")
    with pytest.raises(ConfigError, match=r"`model\.streaming` must be False, as in `model\.init`"):
        resolved(offline, {"model": {"streaming": True}})
