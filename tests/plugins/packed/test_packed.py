"""The reader of the pretrained network of the package `hama`; run where the plug-in is installed."""

from __future__ import annotations

import csv
import importlib.util
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from supernet.config import Config
from supernet.encoder_family import PretrainedError
from supernet.network.cutting import cut
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.pretrained import begin, tokens_of
from supernet.runs.resolve import resolve
from supernet.settings.plugins import find_plugin
from supernet.text.tokens import BLANK, Tokens
from tests.supernet.tiny import recognizer, tiny_config
from tests.tasks.corpora import real_corpus

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
