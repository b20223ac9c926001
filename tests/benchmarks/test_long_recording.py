"""Ten minutes of audio through six layers, against sherpa-onnx with the exported file; one thread.

Run: ``python -m pytest tests/benchmarks/test_long_recording.py``. Each program runs in a process of its own,
which gives its seconds of processor time and its peak memory. sherpa-onnx, which splits nothing itself, gets
our chunks one by one: its fastest way.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from supernet.audio.lengths import Lengths
from supernet.audio.specification import SAMPLE_RATE
from supernet.config import Config
from supernet.export.onnx import Onnx
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.cut_model import Cut
from supernet.runs.model_file import Model
from supernet.text.tokens import BLANK, Tokens
from tests.benchmarks.conftest import Ratio
from tests.supernet.processes import run

SECONDS = 600
ROUNDS = 3
TOKENS = Tokens((BLANK, " ", *"abcdefghijklmnopqrstuvwxyz'"))
TRAINED_ON = {"short": Lengths(2.1, 3.7), "long": Lengths(12.0, 16.0)}
"""Typical and longest training utterances, which determine how a recording is split."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise as loud as speech, in phrases of one to four seconds with pauses of a quarter to one second."""
    rng, parts = np.random.default_rng(0), list[NDArray[np.float64]]()
    while sum(len(part) for part in parts) < SECONDS * SAMPLE_RATE:
        for seconds, level in ((rng.uniform(1, 4), 0.1), (rng.uniform(0.25, 1), 1e-4)):
            parts.append(level * rng.standard_normal(round(seconds * SAMPLE_RATE)))
    file = tmp_path_factory.mktemp("audio") / "long.wav"
    soundfile.write(file, np.concatenate(parts)[: SECONDS * SAMPLE_RATE], SAMPLE_RATE)
    return file


@pytest.mark.parametrize("utterances", TRAINED_ON)
def test_a_long_recording(utterances: str, recording: Path, tmp_path: Path, ratio: Ratio) -> None:
    pytest.importorskip("sherpa_onnx", reason="needs the export extra")
    pytest.importorskip("onnx", reason="needs the export extra")
    torch.manual_seed(0)
    net = SupernetCTC(Config(sizes=(6,)), len(TOKENS)).eval()
    whole = net.table.subnet(net.table.full)
    cut = Cut(Model(net, TOKENS, TRAINED_ON[utterances]), whole, {"random": "weights", "budget": "6"})
    for folder in ("model", "exported"):
        (tmp_path / folder).mkdir()
    cut.save(tmp_path / "model")
    Onnx().write(cut, tmp_path / "exported")

    def measured(program: str, folder: str) -> dict[str, float]:
        out, _ = run("tests.benchmarks.recognize_long", program, folder, recording, cwd=tmp_path, fresh=True)
        return json.loads(out.splitlines()[-1])  # type: ignore[no-any-return]

    ours, theirs = list[dict[str, float]](), list[dict[str, float]]()

    def both() -> None:
        ours.append(measured("ours", "model"))
        theirs.append(measured("sherpa-onnx", "exported"))

    measured("ours", "model")  # writes the chunks that sherpa-onnx gets
    ratio.benchmark.pedantic(both, rounds=ROUNDS)
    for name, found in (("ours", ours), ("sherpa-onnx", theirs)):
        for what in found[0]:
            ratio.note(min(one[what] for one in found), f"{name}: {what}")
    times = [a["recognizing, s"] / b["recognizing, s"] for a, b in zip(ours, theirs, strict=True)]
    assert ratio.note(statistics.median(times), "time of sherpa-onnx") > 0
