"""Several sizes in one download: time by units kept, memory of two sizes open at once, and size on disk.

Run: ``python -m pytest tests/benchmarks``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supernet.config import Config
from supernet.export.onnx_graph import save
from supernet.export.prunable import prunable_graphs
from supernet.export.pruning import cut_out, on_demand
from supernet.export.weight_file import share_weights
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runtime.precision import PRECISIONS, ROUNDED, Precision, suffix
from tests.benchmarks.conftest import Ratio
from tests.benchmarks.test_step import NUM_TOKENS

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the export extra")

SIZES = (6, 12)
SUFFIXES = [suffix(precision) for precision in PRECISIONS]
OPEN = """
import json, sys
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for key, value in json.loads(sys.argv[1]).items():
    options.add_session_config_entry(key, value)
inputs = {"x": np.zeros((1, 1000, 80), np.float32), "x_lens": np.array([1000])}
sessions = [onnxruntime.InferenceSession(file, options) for file in sys.argv[2:]]
for session in sessions:
    session.run(None, inputs)
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")))
"""
"""Opens files, recognizes 10 s with each, and prints the memory of the process (Linux). Pages of a file that
are mapped twice count once.
"""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of default size with random weights: its sizes shared, on demand, and separate."""
    folder = tmp_path_factory.mktemp("exports")
    torch.manual_seed(0)
    net = SupernetCTC(Config(sizes=SIZES), NUM_TOKENS).eval()
    for name in ("shared", "on-demand", "separate"):
        (folder / name).mkdir()
    for precision, whole in prunable_graphs(net, ROUNDED).items():
        end = suffix(precision)
        save(on_demand(whole), {}, folder / "on-demand" / f"model{end}.onnx")
        files = [folder / "shared" / f"{size}{end}.onnx" for size in reversed(SIZES)]
        for size, file in zip(reversed(SIZES), files, strict=True):
            save(cut_out(whole, net.table.first(size), net.table.groups), {}, file)
            shutil.copy(file, folder / "separate")
        share_weights(files, folder / "shared" / f"weights{end}.bin")
    return folder


def work(file: Path, kept: list[bool] | None = None) -> Callable[[], object]:
    """The recognition of 10 s."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs: dict[str, Any] = {"x": np.zeros((1, 1000, 80), np.float32), "x_lens": np.array([1000])}
    if kept is not None:
        inputs["kept"] = np.array(kept)
    return lambda: session.run(None, inputs)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", SIZES)
def test_time_on_demand_of_the_cut_graph(size: int, suffix: str, exports: Path, ratio: Ratio) -> None:
    ours = work(exports / "on-demand" / f"model{suffix}.onnx", [unit < size for unit in range(12)])
    theirs = work(exports / "separate" / f"{size}{suffix}.onnx")
    ratio.of_processor(ours, theirs, 15, what="of the cut graph")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [1, 3, 6, 9])
def test_time_on_demand_by_layers_kept(size: int, suffix: str, exports: Path, ratio: Ratio) -> None:
    file = exports / "on-demand" / f"model{suffix}.onnx"
    some, every = ([unit < kept for unit in range(12)] for kept in (size, 12))
    assert ratio.of_processor(work(file, some), work(file, every), 15, what="of 12 layers") < 1
    ratio.note(size / 12, "layers kept")


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("size", SIZES)
def test_time_of_rounded_weights(size: int, precision: Precision, exports: Path, ratio: Ratio) -> None:
    ours, theirs = (
        work(exports / "separate" / f"{size}{suffix(p)}.onnx") for p in (precision, PRECISIONS[0])
    )
    ratio.of_processor(ours, theirs, 15, what="of float32")


def memory(*files: Path, **settings: str) -> float:
    """The memory of a process that has all ``files`` open."""
    command = [sys.executable, "-c", OPEN, json.dumps(settings), *map(str, files)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("place", ["shared", "separate"])
def test_memory_of_two_sizes(place: str, suffix: str, exports: Path, ratio: Ratio) -> None:
    """Of that of the larger one alone; weights that are not packed for products stay in the file's cache."""
    files = [exports / place / f"{size}{suffix}.onnx" for size in SIZES]
    ratio.benchmark.pedantic(lambda: None)
    for what, settings in (("packed", {}), ("not packed", {"session.disable_prepacking": "1"})):
        both, one = memory(*files, **settings), memory(files[-1], **settings)
        ratio.note(both / one, f"of one, {what}")
        ratio.note((both - one) / 1e6, f"MB more, {what}")
        ratio.note(one / 1e6, f"MB of one, {what}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_download_of_all_sizes(suffix: str, exports: Path, ratio: Ratio) -> None:
    def size(*files: Path) -> int:
        return sum(file.stat().st_size for file in files)

    separate = [exports / "separate" / f"{size}{suffix}.onnx" for size in SIZES]
    largest = size(separate[-1])
    ratio.benchmark.pedantic(lambda: None)
    shared = [exports / "shared" / file.name for file in separate]
    weights = exports / "shared" / f"weights{suffix}.bin"
    assert ratio.note(size(*shared, weights) / largest, "shared, of the largest size") < 1.15
    whole = exports / "on-demand" / f"model{suffix}.onnx"
    assert ratio.note(size(whole) / largest, "on demand, of the largest size") < 1.05
    ratio.note(size(*separate) / largest, "separate, of the largest size")
