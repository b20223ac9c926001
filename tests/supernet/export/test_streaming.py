"""Exports for streaming compute the same as the cut model in chunks, and sherpa-onnx the same text."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from supernet import Recognizer
from supernet.audio.features import fbank
from supernet.audio.specification import SAMPLE_RATE
from supernet.errors import ArgumentError, UserError
from supernet.export import __main__ as command
from supernet.export.acceptance import noise
from supernet.export.streaming_onnx import ChunkSession, StreamingOnnx
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.runs import model_file
from supernet.runs.cut_model import Cut
from supernet.runs.run import Run
from supernet.units import LayerType
from tests.supernet.export.test_graph import LENGTHS, small_cut
from tests.supernet.processes import environment, run
from tests.supernet.talkative import make_run, make_streaming_run, recordings
from tests.test_documents import ROOT
from tests.test_manual import blocks

pytest.importorskip("onnxscript", reason="needs the export extra")
pytestmark = pytest.mark.slow

KINDS: dict[str, tuple[str, LayerType, dict[str, Any]]] = {
    "layers": ("layer", "conformer", {"kernel": 5}),
    "modules": ("module", "conformer", {"kernel": 5}),
    "components": ("component", "conformer", {"kernel": 5}),
    "without convolutions or positions": ("module", "transformer", {"positions": "none"}),
    "conditioned, 80 ms": ("layer", "conformer", {"self_conditioning": True, "subsampling": 8}),
}


def streaming_cut(kind: str) -> Cut:
    granularity, layer_type, model = KINDS[kind]
    found = small_cut(granularity, layer_type, streaming=True, **model)
    frontend = found.model.recognizer.frontend
    assert isinstance(frontend, StreamingFrontend)
    frontend.mean_F.fill_(-8.0)
    frontend.deviation_F.fill_(3.0)
    return found


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_computes_any_chunks_as_the_cut_model_does(kind: str, ahead: int, tmp_path: Path) -> None:
    found = streaming_cut(kind)
    (written,) = StreamingOnnx(Chunking(4, 2, ahead)).write(found, tmp_path)
    network = found.model.recognizer
    for size, left in ((4, 2), (1, 3), (7, 1), (3, 0)):
        how = Chunking(size, left, ahead)
        network.encoder.chunking, session = how, ChunkSession(written.file, how.frames, how.left or 0)
        for lengths in LENGTHS:
            features = noise(lengths)
            with torch.inference_mode():
                expected = network.log_probs(features, lengths, network.table.full)
            actual, counts = session(features, lengths)
            assert counts == [network.input.num_stream_frames(n) for n in lengths]
            for row, count in enumerate(counts):
                torch.testing.assert_close(actual[row, :count], expected[row, :count], atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of which two sizes are exported, one of them with a look-ahead, by the command."""
    found = make_streaming_run(tmp_path_factory.mktemp("runs") / "streaming")
    options = ["--size", "2", "--chunk", "320ms", "--int8", "--unchecked"]
    command.main([str(found.folder), *options])
    command.main([str(found.folder), "--size", "4", "--chunk", "240ms+80ms", "--unchecked"])
    return found


@torch.inference_mode()
def lead(run: Run, size: int, chunking: Chunking, samples: torch.Tensor) -> float:
    """The least lead of a best token over the second in log-probability: near 0, rounding decides."""
    network = model_file.load(run.model_stem).recognizer
    network.encoder.chunking = chunking
    x_TF = fbank(torch.cat([samples, torch.zeros(2 * SAMPLE_RATE)]))
    log_probs_1SV = network.log_probs(x_TF[None], [len(x_TF)], network.table.first(size))
    best_1S2 = log_probs_1SV.topk(2).values
    return float((best_1S2[..., 0] - best_1S2[..., 1]).min())


def live(model: Path, chunk: int, left: int, wavs: list[Path]) -> list[str]:
    words: list[str | Path] = [model, model.with_name("tokens.txt"), str(chunk), str(left), *wavs]
    out, _ = run("tests.supernet.export.recognize_live", *words, cwd=model.parent)
    return [json.loads(line)["text"].strip() for line in out.splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("size", "chunk", "left", "ahead"),
    [(2, 8, 8, 0), (2, 4, 2, 0), (2, 16, 4, 0), (4, 6, 8, 2), (4, 3, 4, 2)],
)
def test_sherpa_recognizes_the_same_as_a_stream(
    exported: Run, size: int, chunk: int, left: int, ahead: int, tmp_path: Path
) -> None:
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    wavs, expected = list[Path](), list[str]()
    chunking = Chunking(chunk, left, ahead)
    clear = [samples for samples in recordings() if lead(exported, size, chunking, samples) > 5e-4]
    assert len(clear) >= 3
    for i, samples in enumerate(clear):
        wavs.append(tmp_path / f"{i}.wav")
        soundfile.write(wavs[-1], samples.numpy(), SAMPLE_RATE, subtype="FLOAT")
        stream = Recognizer.load(exported.folder).stream(size, f"{40 * chunk}ms+{40 * ahead}ms", left)
        silence = torch.zeros(2 * SAMPLE_RATE)
        # What sherpa-onnx is not ready for at the end: an unfinished chunk, and a frame more.
        ended = stream.accept(torch.cat([samples, silence]))
        expected.append(" ".join(filter(None, [*(u.text for u in ended), stream.partial])))
    model = exported.export_folder(f"{size}-streaming") / "model.onnx"
    found = live(model, chunk, left, wavs)
    assert len({*expected}) == len(expected)
    same = [a.replace(" ", "") == b.replace(" ", "") for a, b in zip(found, expected, strict=True)]
    assert all(same), (found, expected)


def test_the_features_of_sherpa_are_those_of_the_graph_at_the_floor_too(exported: Run) -> None:
    """Digital silence has the lowest feature there is in both scales."""
    session = ChunkSession(exported.export_folder("2-streaming") / "model.onnx", 8, 8)
    silence = fbank(torch.zeros(SAMPLE_RATE))
    lower = silence - 20.0  # as on the other scale
    first, _ = session(silence[None], [len(silence)])
    second, _ = session(lower[None], [len(lower)])
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "given", "chunk"),
    [(2, "160ms", "160ms"), (2, None, "320ms"), (4, "120ms", "120ms+80ms"), (4, None, "240ms+80ms")],
)
def test_a_stream_on_a_device_has_the_text_of_the_recognizer(
    exported: Run, size: int, given: str | None, chunk: str
) -> None:
    from supernet.runtime import DeviceStream

    folder, texts = exported.export_folder(f"{size}-streaming"), list[str]()
    device, reference = DeviceStream.load(folder, chunk=given), Recognizer.load(exported.folder)
    for samples in recordings():
        stream, partials = reference.stream(size, chunk), [""]
        ended = [u.text for u in stream.accept(samples)]
        expected = " ".join(filter(None, [*ended, stream.final().text]))
        partials += [device.accept(block) for block in np.array_split(samples.numpy(), 9)]
        texts.append(device.final())
        assert texts[-1].replace(" ", "") == expected.replace(" ", "")
        assert all(b.startswith(a) for a, b in zip(partials, [*partials[1:], texts[-1]], strict=True))
    assert len({*texts}) == len(texts)
    for wrong, message in (
        ("20ms", "must be a multiple of 40ms"),
        ("x", "must be a duration such as"),
        ("320ms+120ms", "must have the look-ahead of the export, "),
    ):
        with pytest.raises(ArgumentError, match=message):
            DeviceStream.load(folder, chunk=wrong)


def test_the_code_of_the_guide_runs(exported: Run, tmp_path: Path) -> None:
    """In processes of their own, of which sherpa-onnx ends one if it rejects a model."""
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    samples, folder = recordings()[3], exported.export_folder("2-streaming")
    soundfile.write(tmp_path / "speech.wav", samples.numpy(), SAMPLE_RATE, subtype="FLOAT")
    printed, begin = list[str](), "import soundfile; blocks = [soundfile.read('speech.wav')[0]]\n"
    for _, code in [*blocks(ROOT / "docs" / "how-to" / "streaming.md", "python")][1:]:
        assert "RUN/export/6-streaming" in code
        (tmp_path / "code.py").write_text(begin + code.replace("RUN/export/6-streaming", str(folder)))
        found = subprocess.run(
            [sys.executable, "code.py"],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(found.stdout.splitlines()[-1].strip())
    assert len(printed) == 2
    assert all(printed)


def test_a_device_refuses_what_is_no_export_for_streaming(exported: Run, tmp_path: Path) -> None:
    from supernet.runtime import DeviceStream

    with pytest.raises(UserError, match="must be readable"):
        DeviceStream.load(tmp_path)
    shutil.copytree(exported.export_folder("2-streaming"), tmp_path / "copy")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match="must be a graph for streaming, but is not"):
        DeviceStream.load(tmp_path / "copy")
    (tmp_path / "copy" / "export.json").write_text('{"format": "shared"}')
    with pytest.raises(UserError, match="must be the record of an export for streaming, but its `format`"):
        DeviceStream.load(tmp_path / "copy")


@pytest.mark.parametrize(
    ("key", "value"),
    [("look_ahead", "-1"), ("look_ahead", "9" * 12), ("chunk_size", "0"), ("subsampling_factor", "-4")],
)
def test_a_device_refuses_impossible_lengths(exported: Run, key: str, value: str, tmp_path: Path) -> None:
    import onnx

    from supernet.runtime import DeviceStream

    shutil.copytree(exported.export_folder("4-streaming"), tmp_path / "copy")
    proto = onnx.load(tmp_path / "copy" / "model.onnx")
    for entry in proto.metadata_props:
        entry.value = value if entry.key == key else entry.value
    onnx.save(proto, tmp_path / "copy" / "model.onnx")
    with pytest.raises(UserError, match="must be a graph for streaming, but is not: its metadata must have"):
        DeviceStream.load(tmp_path / "copy")


def test_a_device_refuses_more_left_chunks_than_there_is_room_for(exported: Run) -> None:
    from supernet.runtime import DeviceStream

    with pytest.raises(UserError, match="must be a graph for streaming, but is not: "):
        DeviceStream.load(exported.export_folder("2-streaming"), left=10**13)


def test_int8_weights_are_smaller_and_similar(exported: Run) -> None:
    """The graph of so small a network is larger than its weights."""
    onnx = pytest.importorskip("onnx", reason="needs the export extra")
    folder = exported.export_folder("2-streaming")
    files = [folder / "model.onnx", folder / "model.int8.onnx"]
    exact, rounded = (sum(len(t.raw_data) for t in onnx.load(file).graph.initializer) for file in files)
    assert 0 < rounded < exact
    outputs = [ChunkSession(file, 8, 8)(noise([300]), [300])[0].exp() for file in files]
    assert float((outputs[0] - outputs[1]).abs().mean()) < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--chunk", "20ms"],
            "`--chunk` must be a multiple of 40ms, a frame after the frontend, but is 20ms",
        ),
        (
            ["--chunk", "soon"],
            "`--chunk` must be a duration such as 320ms, or two such as 480ms+160ms, but is 'soon'",
        ),
        (
            ["--chunk", "320ms", "--shared"],
            "`--chunk` must go with `--format` sherpa-onnx, but goes with --shared",
        ),
        (["--chunk", "320ms", "--format", "torch"], "but goes with --format torch instead."),
    ],
)
def test_wrong_options_are_one_line(
    exported: Run, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        command.main([str(exported.folder), "--unchecked", *options])
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert message in err


def test_a_network_trained_without_streaming_is_not_exported_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offline = make_run(tmp_path / "run")
    with pytest.raises(SystemExit) as end:
        command.main([str(offline.folder), "--unchecked", "--chunk", "320ms"])
    err = capsys.readouterr().err
    assert (end.value.code, err.count("\n")) == (2, 1)
    assert "`--chunk` must be left out for a network that was trained without `model.streaming`" in err
