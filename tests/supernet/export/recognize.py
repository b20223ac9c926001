"""``python -m tests.supernet.export.recognize FOLDER FILE KIND ARGUMENTS WAV …``: a line of JSON for
each recording, by sherpa-onnx.

A separate program, because sherpa-onnx ends the process if it rejects a model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import sherpa_onnx
import soundfile


def main(folder: Path, file: str, kind: str, arguments: str, *wavs: str) -> None:
    recognizer = getattr(sherpa_onnx.OfflineRecognizer, kind)(
        model=str(folder / file),
        tokens=str(folder / "tokens.txt"),
        num_threads=1,
        **json.loads(arguments),
    )
    streams = []
    for wav in wavs:
        samples, rate = soundfile.read(wav, dtype="float32")
        streams.append(recognizer.create_stream())
        streams[-1].accept_waveform(rate, samples)
    recognizer.decode_streams(streams)  # one padded batch
    for stream in streams:
        print(json.dumps({"text": stream.result.text, "tokens": stream.result.tokens}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
