"""A pretrained wav2vec 2.0 encoder as a supernet has the same outputs as in fairseq2."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fairseq2.nn import BatchLayout
from torch import Tensor

from supernet.audio.features import SAMPLES
from supernet.config import Config
from supernet.encoder_family import PretrainedError
from supernet.errors import ConfigError
from supernet.network.model_costs import macs
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.network.wav2vec2 import Wav2Vec2
from supernet.runs.model_file import Model, load, save
from supernet.runs.pretrained import load_into
from supernet.runs.resolve import resolve
from supernet.task import Batch
from supernet.text.tokens import Tokens
from supernet.train import main
from tests.supernet import encoders, tiny
from tests.supernet.encoders import Kind
from tests.supernet.tiny import NUM_TOKENS, output, run_lanes, valid

LENGTHS = [5000, 1600, 300, 3217]
"""Numbers of samples; one utterance is shorter than a frame's receptive field."""
ALL = range(len(LENGTHS))
NETS: list[tuple[Kind, str]] = [
    ("base", "layer"),
    ("large_lv60k", "layer"),
    ("large_lv60k", "module"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    """Checkpoints of each kind."""
    place = tmp_path_factory.mktemp("encoders")
    return {kind: encoders.write(place / kind, kind) for kind in ("base", "large_lv60k")}


def config(init: object, granularity: str = "layer", **model: Any) -> Config:
    sizes = (2, 4) if granularity == "layer" else (4, 8)
    settings = {"sizes": sizes, "granularity": granularity, "model": {"init": str(init), **model}}
    return resolve([{"task": {"name": "manifest", "path": "nowhere"}, **settings}]).config


def supernet(init: Path, granularity: str = "layer") -> SupernetCTC:
    net = SupernetCTC(config(init, granularity), NUM_TOKENS)
    load_into(net, str(init))
    return net.double().eval()


@pytest.fixture(params=NETS, ids=lambda net: "-".join(net))
def net(request: pytest.FixtureRequest, folders: dict[Kind, Path]) -> SupernetCTC:
    kind, granularity = request.param
    return supernet(folders[kind], granularity)


def speech(lengths: list[int]) -> Batch:
    """Random samples within the range of recordings."""
    rng = torch.Generator().manual_seed(0)
    rows = [torch.rand(n, 1, generator=rng, dtype=torch.float64) - 0.4 for n in lengths]
    targets = torch.ones(len(lengths), 1, dtype=torch.int64)
    ids = [f"u{i}" for i in range(len(lengths))]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Batch(padded, lengths, targets, [1] * len(lengths), ids, ["a"] * len(lengths), SAMPLES)


def assert_equal(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("kind", "granularity"), NETS)
@torch.no_grad()
def test_the_full_network_equals_fairseq2s_own_encoder(
    kind: Kind, granularity: str, folders: dict[Kind, Path]
) -> None:
    theirs, ours = encoders.model(kind)[0].double(), supernet(folders[kind], granularity)
    data = speech([5000, 1600, 400])
    x_BSD = output(ours, data, Lane(range(3), ours.table.full))
    for row, (samples_T1, n) in enumerate(zip(data.features_BTF, data.num_frames, strict=True)):
        x_1T = samples_T1[None, :n, 0]
        if kind == "large_lv60k":
            x_1T = F.layer_norm(x_1T, (n,))
        expected = theirs.encoder(*theirs.encoder_frontend(x_1T, BatchLayout.of(x_1T)))
        assert_equal(x_BSD[row : row + 1, : expected.size(1)], expected, 1e-10)
        assert expected.std() > 0.1


@pytest.mark.parametrize("kind", ["base", "large_lv60k"])
@torch.no_grad()
def test_samples_are_masked_after_normalization(kind: Kind, folders: dict[Kind, Path]) -> None:
    frontend: Any = supernet(folders[kind], "layer").frontend
    data = speech([1600, 900])
    hidden = torch.zeros(2, 1600, 1, dtype=torch.bool)
    hidden[0, 300:700] = hidden[1, 100:200] = True
    expected = []
    for samples_T1, hidden_T1, n in zip(data.features_BTF, hidden, data.num_frames, strict=True):
        x_T = samples_T1[:n, 0] if kind == "base" else F.layer_norm(samples_T1[:n, 0], (n,))
        x_1T = x_T.masked_fill(hidden_T1[:n, 0], 0)[None]
        expected.append(frontend.body(x_1T, BatchLayout.of(x_1T))[0][0])
    for actual_SD, expected_SD in zip(
        frontend.embed(data.features_BTF, [1600, 900], hidden), expected, strict=True
    ):
        assert_equal(actual_SD[: len(expected_SD)], expected_SD)


@torch.no_grad()
def test_a_network_cut_and_saved_equals_its_subnet(net: SupernetCTC, tmp_path: Path) -> None:
    data = speech(LENGTHS)
    kept = tuple(i % 2 == 0 for i in range(len(net.table)))
    expected = net.log_probs(data.features_BTF, data.num_frames, kept)
    small = cut(net, net.table.subnet(kept))
    assert_equal(small.log_probs(data.features_BTF, data.num_frames, small.table.full), expected)
    assert not torch.allclose(expected, net.log_probs(data.features_BTF, data.num_frames, net.table.full))

    tokens = Tokens(("<blk>", *"abcde"))
    save(Model(small.float(), tokens), tmp_path / "model")
    again = load(tmp_path / "model").recognizer.double()  # needs no fairseq2 checkpoint
    assert again.input is SAMPLES
    assert_equal(again.log_probs(data.features_BTF, data.num_frames, again.table.full), expected)


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


@torch.no_grad()
def test_an_utterance_in_a_padded_batch_is_the_same_alone(net: SupernetCTC) -> None:
    data = speech(LENGTHS)
    dirty = data.features_BTF.clone()
    for row, n in enumerate(LENGTHS):
        dirty[row, n:] = float("nan")
    together = net.log_probs(dirty, LENGTHS, net.table.full)
    for row, (n, length) in enumerate(zip(LENGTHS, data.stream_lengths, strict=True)):
        alone = net.log_probs(data.features_BTF[row : row + 1, :n], [n], net.table.full)
        assert alone.shape[1] == length
        assert_equal(together[row, :length], alone[0])


def test_gates_and_lanes_work_as_for_other_encoders(net: SupernetCTC) -> None:
    data, full = speech(LENGTHS), net.table.full
    ones = torch.ones(len(net.table), dtype=torch.float64)
    plain = output(net, data, Lane(ALL, full))
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates(ones))), plain)
    fewer = tuple(i != 1 for i in range(len(net.table)))
    without = output(net, data, Lane(ALL, fewer))
    assert_equal(output(net, data, Lane(ALL, full, tiny.gates(ones * torch.tensor(fewer)))), without)
    lanes = [Lane(ALL, full), Lane(range(1, 3), fewer)]
    first, second = run_lanes(net, data, lanes)
    assert_equal(valid(net, data, lanes[0], first[FINAL]), plain)
    assert_equal(valid(net, data, lanes[1], second[FINAL]), without[1:3])


@pytest.mark.parametrize("num_samples", [400, 719, 720, 1039, 1040, 16_000])
def test_the_length_after_subsampling_is_predicted(num_samples: int, folders: dict[Kind, Path]) -> None:
    net = supernet(folders["base"])
    x_BSD, lengths = net.embed(torch.ones(1, num_samples, 1, dtype=torch.float64), [num_samples])
    assert x_BSD.shape[:2] == (1, lengths[0])
    assert lengths[0] == (num_samples - 400) // 320 + 1


def test_costs_include_the_convolutions_over_samples(folders: dict[Kind, Path]) -> None:
    net = supernet(folders["base"]).float()
    one, two = macs(net, 1.0), macs(net, 2.0)
    assert one > 3199 * 10 * 12  # the first convolution alone
    assert 1.9 < two / one < 2.4


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
        load_into(net, str(encoders.write(tmp_path / "wider", "base", ffn_inner_dim=40)))
    damaged = encoders.write(tmp_path / "damaged", "base")
    (damaged / "checkpoints/step_200/model/pp_00/tp_00/sdp_00.pt").write_bytes(b"no tensors")
    with pytest.raises(PretrainedError, match="damaged"):
        load_into(net, str(damaged))


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
