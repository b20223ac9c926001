"""``python -m supernet.latency.worker KIND FILE KEPT DEVICE THREADS REPEATS SECONDS …``: measure one file.

KEPT has 0 or 1 for each unit of a graph on demand. Prints a line of JSON. Imports nothing that the file
does not need, so that memory and loading time are its own.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supernet.audio.specification import FRAMES_PER_SECOND, NUM_BANDS, SAMPLE_RATE
from supernet.system.processes import peak_memory
from supernet.system.timing import timed

WARM_UP = 2

PROBE_SECONDS = 5.0
"""The duration of the noise, always the same, whose log-probabilities are printed: faults of kernels may show
in long recordings only.
"""

Recognize = Callable[[float], Any]
"""Computes log-probabilities (S, V) of noise of the given seconds."""
Opener = Callable[[Path, list[bool], int, str], Recognize]
"""Opens a file, of which the given units run, with a number of threads, on a device."""


def main() -> None:
    kind, file, kept, device, threads, repeats, *seconds = sys.argv[1:]
    start = time.perf_counter()
    open_file = OPENERS[kind]()
    imported = time.perf_counter()
    recognize = open_file(Path(file), [flag == "1" for flag in kept if flag in "01"], int(threads), device)
    loaded = time.perf_counter()
    probe = recognize(PROBE_SECONDS) if kind == "onnx" else []
    times, memory_mb = dict[str, dict[str, object]](), dict[str, float]()
    for length in seconds:
        work = functools.partial(recognize, float(length))
        times[length] = asdict(timed(work, int(repeats), WARM_UP))
        memory_mb[length] = peak_memory() / 2**20
    loading = {"import_s": imported - start, "load_s": loaded - imported}
    outputs = [[round(float(value), 3) for value in row] for row in probe]
    print(json.dumps({**loading, "times": times, "memory_mb": memory_mb, "log_probs": outputs}))


def eager() -> Opener:
    """The cut model in PyTorch."""
    import torch

    from supernet.runs.model_file import load

    def open_file(file: Path, kept: list[bool], threads: int, device: str) -> Recognize:
        torch.set_num_threads(threads)
        model = load(file.with_suffix("")).recognizer.to(device)

        @torch.inference_mode()
        def recognize(seconds: float) -> Any:
            num_frames = round(seconds * model.input.rate)
            noise = (torch.randn(1, num_frames, model.input.width) * 3 - 8).to(device)
            return model.log_probs(noise, [num_frames], model.table.full)[0].cpu()

        return recognize

    return open_file


def onnx() -> Opener:
    """An exported file in onnxruntime."""
    import numpy as np
    import onnxruntime

    def open_file(file: Path, kept: list[bool], threads: int, device: str) -> Recognize:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        rng, (first, *others) = np.random.default_rng(0), session.get_inputs()
        units = {"kept": np.array(kept)} if kept else {}

        def recognize(seconds: float) -> Any:
            noise, num_frames = _noise(rng, first, seconds)
            lengths = dict.fromkeys([x.name for x in others], np.array([num_frames]))
            inputs = {first.name: noise, **lengths, **units}
            log_probs, _ = session.run(None, inputs)
            return log_probs[0]

        return recognize

    return open_file


def _noise(rng: Any, input: Any, seconds: float) -> tuple[Any, int]:
    """Noise for an exported graph, which reads samples or features, and its frames. See ``export.kinds``."""
    if len(input.shape) == 2:
        num_frames = round(seconds * SAMPLE_RATE)
        return rng.normal(0, 0.1, (1, num_frames)).astype("float32"), num_frames
    num_frames = round(seconds * FRAMES_PER_SECOND)
    is_normalized = input.name == "audio_signal"
    shape = (1, input.shape[1], num_frames) if is_normalized else (1, num_frames, NUM_BANDS)
    return rng.normal(*((0, 1) if is_normalized else (-8, 3)), shape).astype("float32"), num_frames


OPENERS: dict[str, Callable[[], Opener]] = {"eager": eager, "onnx": onnx}


if __name__ == "__main__":
    main()
