"""The reader of the pretrained network of the package `hama`; run where the plug-in is installed."""

from __future__ import annotations

import csv
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from selection.__main__ import main as select
from supernet.audio.specification import NUM_BANDS, WINDOW
from supernet.config import Config
from supernet.cut import main as cut_out
from supernet.encoder_family import PretrainedError
from supernet.evaluate import main as evaluate
from supernet.export.__main__ import main as export
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import is_checkpoint
from supernet.runs.checkpoint_model import open_checkpoint
from supernet.runs.model_file import load
from supernet.runs.pretrained import begin, tokens_of
from supernet.runs.resolve import resolve
from supernet.runs.run import Run
from supernet.settings.plugins import find_plugin
from supernet.text.tokens import BLANK, Tokens
from supernet.transcribe import main as transcribe
from tests.supernet.tiny import recognizer, tiny_config
from tests.tasks.corpora import real_corpus
from tests.tasks.folders import tone, write_folder

PACKAGE = importlib.util.find_spec("hama")
FRAMES = [16000, 9001, 300, 320 * 40]
ASSETS = Path("" if PACKAGE is None else str(PACKAGE.origin)).parent / "assets"
FILE = ASSETS / "asr_waveform.hama"

needs_package = pytest.mark.skipif(PACKAGE is None, reason="the package `hama` 1.7.0 is not installed")


def config(granularity: str = "module") -> Config:
    decided = find_plugin("encoder", "packed").decide("gone", {}).settings
    return tiny_config(
        granularity,
        sizes=(2, 4) if granularity == "layer" else (8, 16),
        model={**decided, "encoder": "packed"},
    )


def pretrained() -> SupernetCTC:
    family = find_plugin("encoder", "packed")
    network = SupernetCTC(config(), len(family.tokens(str(FILE))))
    missing, unexpected = network.load_state_dict(dict(family.weights(str(FILE))), strict=False)
    assert not unexpected
    assert not [name for name in missing if name.startswith(("frontend.", "encoder.", "heads."))]
    return network.eval()


def noise(lengths: list[int]) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(len(lengths), max(lengths), 1, generator=rng, dtype=torch.float64)


@needs_package
def test_log_probabilities_are_those_of_the_package() -> None:
    """Features are rounded to half precision. Where the last bit of a sum rounds one of them the other way,
    the output moves by more than 1e-4: in few short excerpts, and in most whole recordings.
    """
    from hama import _engine

    corpus = real_corpus("an4")
    theirs, network = _engine.AsrSession(FILE.read_bytes()), pretrained()

    def difference(samples_T: Tensor) -> Tensor:
        wanted_SV = torch.from_numpy(theirs.run(["log_probs"], {"waveform": samples_T.numpy()})[0][0])
        with torch.inference_mode():
            x_1T1 = samples_T[None, :, None]
            found_SV = network.log_probs(x_1T1, [len(samples_T)], network.table.full)[0].roll(-1, 1)
        assert torch.equal(found_SV.argmax(1), wanted_SV.argmax(1))
        return (found_SV - wanted_SV).abs()

    with (corpus / "manifest.csv").open(encoding="utf-8") as file:
        paths = [corpus / row["path"] for row in csv.DictReader(file) if row["split"] == "test"][::12]
    recordings = [torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in paths]
    excerpts = [difference(x_T[start : start + 3200]) for x_T in recordings for start in (4000, 8000)]
    assert sum(float(x_SV.max()) < 1e-4 for x_SV in excerpts) > 0.7 * len(excerpts)
    for x_SV in map(difference, recordings):
        assert x_SV.mean() < 1e-4
        assert x_SV.max() < 0.01


@needs_package
def test_a_training_may_start_from_it() -> None:
    model = {"encoder": "packed", "init": str(FILE), "init_head": "keep"}
    found = resolve([{"sizes": [2, 4], "model": model}]).config
    assert (found.model.num_layers, found.model.dim, found.model.kernel) == (4, 144, 31)
    assert found.task.options["input"] == "samples-20ms-centered"
    tokens = tokens_of(found.model, Tokens((BLANK, "a"), "words"))
    assert (len(tokens), tokens.symbols[-1]) == (191, "<wb>")
    network, x_BT1 = SupernetCTC(found, len(tokens)), noise([8000]).float()
    begin(network, tokens)
    outputs = [net.eval().log_probs(x_BT1, [8000], net.table.full) for net in (network, pretrained())]
    torch.testing.assert_close(*outputs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("granularity", ["layer", "module"])
def test_an_utterance_in_a_padded_batch_is_the_same_alone(granularity: str) -> None:
    network, x_BT1 = recognizer(config(granularity)), noise(FRAMES)
    for buffer in network.frontend.buffers():  # without weights, they are 0
        buffer.uniform_()
    for row, n in enumerate(FRAMES):
        x_BT1[row, n:] = float("nan")
    kept = tuple(i % 2 == 0 for i in range(len(network.table)))
    for subnet in (network.table.full, kept):
        together = network.log_probs(x_BT1, FRAMES, subnet)
        for row, n in enumerate(FRAMES):
            alone = network.log_probs(x_BT1[row : row + 1, :n], [n], subnet)
            assert alone.size(1) == n // 320 + 1
            torch.testing.assert_close(together[row, : alone.size(1)], alone[0], atol=1e-9, rtol=1e-9)
    small = cut(network, network.table.subnet(kept))
    torch.testing.assert_close(
        small.log_probs(x_BT1, FRAMES, small.table.full), together, atol=1e-9, rtol=1e-9
    )


def packed(*entries: tuple[str, np.ndarray[Any, Any]]) -> bytes:
    """A file of such entries, as the package writes it."""
    table, numbers = b"", b""
    for name, x in entries:
        table += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BB", x.dtype == np.float16, x.ndim)
        )
        table += struct.pack(f"<{x.ndim}IQQ", *x.shape, len(numbers), x.nbytes)
        numbers += x.tobytes() + bytes(-x.nbytes % 32)
    start = b"HAMAPK\x01\x02" + struct.pack("<I", len(entries)) + table
    return start + bytes(-len(start) % 16) + numbers


def test_tensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    from packed_file import read_tensors

    whole = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    half = np.array([[[0.5]], [[-2.25]]], dtype=np.float16)
    (tmp_path / "file").write_bytes(packed(("a", whole), ("b.weight", half)))
    found = read_tensors(tmp_path / "file")
    assert [*found] == ["a", "b.weight"]
    assert torch.equal(found["a"], torch.from_numpy(whole))
    assert torch.equal(found["b.weight"], torch.from_numpy(half).float())


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    family, file = find_plugin("encoder", "packed"), tmp_path / "file"
    content = packed(("mel_fb", np.ones((4, 5), np.float32)))
    for damaged, problem in {
        b"": "a file of packed tensors",
        b"\x80\x04K\x01.": "a file of packed tensors",
        content[:30]: "is damaged",
        content[:-32]: "is damaged",
        content: "must have 'stft_real_kernel'",
    }.items():
        file.write_bytes(damaged)
        with pytest.raises(PretrainedError, match=problem) as caught:
            family.weights(str(file))
        assert "\n" not in str(caught.value)
    with pytest.raises(PretrainedError, match="must be readable"):
        family.weights(str(tmp_path / "gone"))
    with pytest.raises(PretrainedError, match="its phonemes beside it"):
        family.tokens(str(file))


def shapes(num_tokens: int) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors of a file of the package, by name."""
    bins = WINDOW // 2 + 1
    found: dict[str, tuple[int, ...]] = {
        "stft_real_kernel": (bins, 1, WINDOW),
        "stft_imag_kernel": (bins, 1, WINDOW),
        "mel_fb": (bins, NUM_BANDS),
        "onnx::Conv_801": (144, NUM_BANDS, 3),
        "onnx::Conv_802": (144,),
        "acoustic_model.model.proj.weight": (num_tokens, 144, 1),
        "acoustic_model.model.proj.bias": (num_tokens,),
    }
    for layer in range(4):
        prefix = f"acoustic_model.model.blocks.{layer}."
        matrices = ((144, 576), (576, 144), (144, 432), (144, 144), (144, 576), (576, 144))
        for number, shape in zip((829, 830, 831, 835, 836, 837), matrices, strict=True):
            found[f"onnx::MatMul_{number + 9 * layer}"] = shape
        biases = ("ffn1.fc1.bias", "ffn1.fc2.bias", "attn.in_proj_bias", "attn.out_proj.bias")
        for name, shape in zip((*biases, "ffn2.fc1.bias", "ffn2.fc2.bias"), matrices, strict=True):
            found[prefix + name] = shape[1:]
        found |= {f"onnx::Conv_{804 + 3 * layer}": (144, 1, 31), f"onnx::Conv_{805 + 3 * layer}": (144,)}
        for part, size in (("1", 288), ("2", 144)):
            found[f"{prefix}conv.pointwise{part}.weight"] = (size, 144, 1)
            found[f"{prefix}conv.pointwise{part}.bias"] = (size,)
        norms = ("ffn1.norm", "conv.norm", "ffn2.norm", "attn_norm", "norm")
        found |= {f"{prefix}{name}.{kind}": (144,) for name in norms for kind in ("weight", "bias")}
    return found


def write_random(file: Path, words: list[str]) -> None:
    """Write a file with random weights, and its vocabulary."""
    rng = np.random.default_rng(0)
    entries = [(name, rng.normal(0, 0.1, shape)) for name, shape in shapes(len(words) + 2).items()]
    file.write_bytes(packed(*((name, x.astype(np.float32)) for name, x in entries)))
    file.with_name("g2p_vocab.json").write_text(json.dumps({"decoder": words}))


def test_commands_take_a_file_in_place_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, folder = Path("mine.hama"), Path("runs/mine-tones")
    write_random(file, ["a", "bc"])
    write_folder(tmp_path / "tones", train=2, valid=3, test=3)
    assert is_checkpoint(file)
    Path("other.hama").write_bytes(b"something else")
    assert not any(map(is_checkpoint, (Path("other.hama"), Path("tones"), Path("gone.hama"))))

    select([str(file), "--task", "tones", "--budget", "units=2", "--strategies", "tail"])
    assert list(Run(folder).results()["sizes"]) == ["4"]
    evaluate([str(file), "--task", "tones"])
    chosen = ["--selection", str(folder / "selections/tail.json"), "--size", "2"]
    cut_out([str(file), *chosen, "--out", "small"])
    export([str(file), *chosen, "--format", "torch", "--unchecked", "--out", "out"])
    samples = torch.from_numpy(tone(0.9))
    soundfile.write("a.wav", samples.numpy(), 16000)
    transcribe([str(file), "a.wav"])

    network = open_checkpoint(file).recognizer
    x_1T1, kept = samples[None, :, None], (True, True, False, False)
    expected = network.log_probs(x_1T1, [len(samples)], kept)
    for small in ("small", "out"):
        found = load(Path(small, "model")).recognizer
        torch.testing.assert_close(found.log_probs(x_1T1, [len(samples)], found.table.full), expected)


def test_a_training_finds_the_encoder_of_a_file(tmp_path: Path) -> None:
    write_random(tmp_path / "mine.hama", ["a", "bc"])
    found = resolve([{"sizes": [2, 4], "model": {"init": str(tmp_path / "mine.hama")}}]).config
    assert found.model.encoder.name == "packed"


def test_a_damaged_file_in_place_of_a_run_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.hama"
    write_random(file, ["a", "bc"])
    file.write_bytes(file.read_bytes()[:-64])
    with pytest.raises(SystemExit) as e:
        transcribe([str(file), "a.wav"])
    assert e.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert line == f"error: a checkpoint must be a whole file of packed tensors, but '{file}' is damaged."
