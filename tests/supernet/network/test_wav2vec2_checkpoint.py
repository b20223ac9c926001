"""Settings and weights of a supernet from a checkpoint of a wav2vec 2.0 encoder, or why there are none."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.audio.features import SAMPLES
from supernet.encoder_family import PretrainedError
from supernet.errors import ConfigError
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.wav2vec2 import Wav2Vec2
from supernet.runs.model_file import Model, load, save
from supernet.runs.pretrained import load_into
from supernet.runs.resolve import resolve
from supernet.text.tokens import Tokens
from supernet.train import main
from tests.supernet import encoders
from tests.supernet.encoders import Kind, config, supernet
from tests.supernet.tiny import NUM_TOKENS


def test_models_saved_before_encoders_were_plug_ins_can_be_read(
    folders: dict[Kind, Path], tmp_path: Path
) -> None:
    save(Model(supernet(folders["base"]).float(), Tokens(("<blk>", *"abcde"))), tmp_path / "model")
    file = tmp_path / "model.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["model"]["wav2vec2"] = data["model"].pop("encoder")["configuration"]
    file.write_text(json.dumps(data), encoding="utf-8")
    assert load(tmp_path / "model").recognizer.input is SAMPLES
    saved = config(folders["base"]).model_dump(mode="json")
    saved["model"]["wav2vec2"] = saved["model"].pop("encoder")["configuration"]
    assert resolve([saved]).config == config(folders["base"])
    saved = resolve([]).config.model_dump(mode="json")
    saved["model"] |= {"wav2vec2": None}
    assert resolve([saved]).config == resolve([]).config


def test_the_checkpoint_decides_dimensions_and_layers(folders: dict[Kind, Path]) -> None:
    found = config(folders["large_lv60k"], freeze_frontend_steps=3, dropout=0.25)
    m = found.model
    assert (m.num_layers, m.dim, m.num_heads, m.ffn_dim, m.layer_type) == (4, 16, 2, 32, "transformer")
    assert (m.dropout, m.attention_dropout, m.ffn_dropout) == (0.25, 0.1, 0.0)
    assert m.input == found.task.options["input"] == "samples"
    assert [m.freezes_frontend(step) for step in (0, 2, 3)] == [True, True, False]
    again = resolve([found.model_dump(mode="json")]).config
    assert again == found
    gone = found.model_copy(update={"model": m.model_copy(update={"init": "/gone"})})
    assert resolve([gone.model_dump(mode="json")]).config == gone, "a trained network needs no checkpoint"


def test_a_card_can_name_weights_and_architecture(folders: dict[Kind, Path], tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.symlink_to(folders["base"] / "checkpoints/step_200/model/pp_00/tp_00/sdp_00.pt")
    encoder = asdict(encoders.encoder_config("base"))
    changed = {name: encoder[name] for name in encoder if name != "norm_order"}
    changed["feature_extractor_layer_descs"] = [list(d) for d in changed["feature_extractor_layer_descs"]]
    sizes = {"final_dim": 8, "quantized_dim": 8, "num_codebook_entries": 4}
    overrides = {"_set_": {**sizes, "encoder_config": changed}}
    card = encoders.write_card(
        tmp_path / "card.yaml", "weights.pt", model_arch="base", model_config_overrides=overrides
    )
    by_card, by_folder = supernet(card), supernet(folders["base"])
    for name, tensor in by_folder.state_dict().items():
        if name.startswith(("frontend.", "encoder.")):
            assert torch.equal(by_card.state_dict()[name], tensor)


def test_a_fairseq2_card_is_found_by_its_name() -> None:
    found = config("wav2vec2_base", freeze_frontend_steps=0).model  # the weights are not requested yet
    assert (found.num_layers, found.dim, found.num_heads) == (12, 768, 12)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["model.dim=96"], ["`model.dim` must be 16", "96"]),
        (["model.num_layers=6"], ["`model.num_layers` must be 4", "6"]),
        (["model.kernel=7"], ["`model.kernel`", "left out with `model.init`"]),
        (["model.convolution_bias=true"], ["`model.convolution_bias`", "left out with `model.init`"]),
        (["granularity=module"], ["`granularity` must be 'layer'"]),
        (["sizes=[2,5]"], ["`sizes` must be at most 4"]),
        (["task.input=log-mel"], ["`task.input` must be 'samples'", "'log-mel'"]),
        (["model.init=here/there"], ["`model.init`", "there is no such file or folder: 'here/there'"]),
        (["model.init=nobody"], ["`model.init`", "'nobody'"]),
        (["model.init=weights.pt"], ["`model.init` must be an asset card", "model_family: wav2vec2"]),
        (["model.init=empty"], ["`model.init`", "model.yaml and step_N"]),
        (["model.init=broken.yaml"], ["`model.init`", "broken.yaml"]),
        (["model.init=nllb-200_dense_1b"], ["`model.init` must be a wav2vec 2.0 encoder", "nllb"]),
        (["model.init=conformer"], ["`model.init`", "another architecture"]),
        (
            ["model.init=null", "model.freeze_frontend_steps=5"],
            ["`model.freeze_frontend_steps` must go with"],
        ),
        (["model.init=null", "task.input=samples"], ["`task.input` must be 'log-mel'"]),
    ],
)
def test_each_unusable_checkpoint_gets_one_clear_line(
    settings: list[str],
    words: list[str],
    folders: dict[Kind, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.pt").write_bytes(b"0")
    Path("broken.yaml").write_text("name: [", encoding="utf-8")
    Path("empty").mkdir()
    encoders.write(Path("conformer"), "base", use_conformer=True, depthwise_conv_kernel_size=3)
    before = set(Path().rglob("*"))
    options = [
        word for setting in (f"model.init={folders['base']}", *settings) for word in ("--set", setting)
    ]
    with pytest.raises(SystemExit) as end:
        main(["--task", ".", "--sizes", "2,4", *options])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in words), line
    assert set(Path().rglob("*")) == before


def test_weights_that_do_not_fit_are_an_error(folders: dict[Kind, Path], tmp_path: Path) -> None:
    net = SupernetCTC(config(folders["base"]), NUM_TOKENS)
    with pytest.raises(PretrainedError, match=r"`model\.init` must have weights that fit .* does not"):
        load_into(net, encoders.TOKENS, str(encoders.write(tmp_path / "wider", "base", ffn_inner_dim=40)))
    damaged = encoders.write(tmp_path / "damaged", "base")
    (damaged / "checkpoints/step_200/model/pp_00/tp_00/sdp_00.pt").write_bytes(b"no tensors")
    with pytest.raises(PretrainedError, match="damaged"):
        load_into(net, encoders.TOKENS, str(damaged))


class _Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def test_no_code_in_weights_is_run_whatever_the_card_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Payload()}, "weights.pt")
    card = encoders.write_card(Path("card.yaml"), "weights.pt", model_arch="base", restrict=False)
    with pytest.raises(PretrainedError, match=r"`model\.init` must be a wav2vec"):
        Wav2Vec2.weights(str(card))
    assert not Path("executed").exists()


def test_an_encoder_other_than_the_saved_one_is_an_error(folders: dict[Kind, Path]) -> None:
    saved, other = (config(folders[kind]).model_dump(mode="json") for kind in ("base", "large_lv60k"))
    saved["model"]["encoder"] = other["model"]["encoder"]
    with pytest.raises(ConfigError, match=r"`model\.init` must be what"):
        resolve([saved])


def test_another_name_is_another_encoder(folders: dict[Kind, Path]) -> None:
    saved, other = (config(folders[kind]) for kind in ("base", "large_lv60k"))
    layers = [saved.model_dump(mode="json"), {"model": {"init": str(folders["large_lv60k"])}}]
    assert resolve(layers).config.model.encoder == other.model.encoder


def test_weights_that_cannot_be_downloaded_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRSEQ2_CACHE_DIR", str(tmp_path / "cache"))
    place = "http://127.0.0.1:9/weights.pt"
    card = encoders.write_card(tmp_path / "card.yaml", place, model_arch="base")
    with pytest.raises(PretrainedError) as e:
        Wav2Vec2.weights(str(card))
    (line,) = str(e.value).splitlines()
    assert line.startswith(
        f"`model.init` must be weights on this machine, but those of '{card}' are at {place}"
    )
    assert "name a YAML file with `name`, `model_family`, `model_arch` and `checkpoint: PATH`" in line


def test_a_name_alone_decides_the_settings_without_a_download() -> None:
    config = resolve([{"model": {"init": "wav2vec2_asr_base_10h"}, "sizes": [6, 12]}]).config
    assert (config.model.encoder.name, config.model.num_layers, config.model.dim) == ("wav2vec2", 12, 768)
