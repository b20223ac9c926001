"""``python -m tests.benchmarks.recognize_long ours|sherpa-onnx FOLDER RECORDING``: figures in a line of JSON.

A program of its own, because peak memory and loading are those of a process. ``ours`` leaves the chunks of
the recording in ``chunks.json``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHUNKS = Path("chunks.json")
Recognize = Callable[[], object]


def ours(folder: str, recording: str) -> Recognize:
    from supernet import Recognizer
    from supernet.recognition.pipeline import Transcriber

    recognizer, find = Recognizer.load(folder, device="cpu"), Transcriber._chunks
    if CHUNKS.exists():
        return lambda: recognizer.transcribe(recording)
    found = list[tuple[int, int]]()

    def remembered(self: Transcriber, blocks: object) -> object:
        for chunk in find(self, blocks):  # type: ignore[arg-type]
            start = chunk.start * self._input.stream_samples
            found.append((start, start + len(chunk.samples)))
            yield chunk

    def recognize() -> None:
        recognizer.transcribe(recording)
        CHUNKS.write_text(json.dumps(found), encoding="utf-8")

    Transcriber._chunks = remembered  # type: ignore[assignment,method-assign]
    return recognize


def sherpa(folder: str, recording: str) -> Recognize:
    import sherpa_onnx
    import soundfile

    place = Path(folder)
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
        model=str(place / "model.onnx"), tokens=str(place / "tokens.txt"), num_threads=1
    )

    def recognize() -> None:
        samples, rate = soundfile.read(recording, dtype="float32")
        for start, stop in json.loads(CHUNKS.read_text(encoding="utf-8")):
            stream = recognizer.create_stream()
            stream.accept_waveform(rate, samples[start:stop])
            recognizer.decode_stream(stream)

    return recognize


def main(program: str, folder: str, recording: str) -> None:
    started = time.process_time()
    recognize = (ours if program == "ours" else sherpa)(folder, recording)
    loaded = time.process_time()
    recognize()
    seconds = time.process_time() - loaded
    # Not `ru_maxrss`, which begins with the memory of the parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    memory = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"loading, s": loaded - started, "recognizing, s": seconds, "memory, MB": memory}))


if __name__ == "__main__":
    main(*sys.argv[1:])
