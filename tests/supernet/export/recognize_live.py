"""``python -m tests.supernet.export.recognize_live MODEL TOKENS CHUNK LEFT WAV …``: a line of JSON for each
recording, by sherpa-onnx while it arrives.

A separate program, because sherpa-onnx ends the process if it rejects a model.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import sherpa_onnx
import soundfile


def main(model: str, tokens: str, chunk: str, left: str, *wavs: str) -> None:
    recognizer = sherpa_onnx.OnlineRecognizer.from_wenet_ctc(
        model=model, tokens=tokens, chunk_size=int(chunk), num_left_chunks=int(left), num_threads=1
    )
    for wav in wavs:
        samples, rate = soundfile.read(wav, dtype="float32")
        stream = recognizer.create_stream()
        for block in np.array_split(np.pad(samples, (0, 2 * rate)), 7):  # silence fills the last chunk
            stream.accept_waveform(rate, block)
            while recognizer.is_ready(stream):
                recognizer.decode_stream(stream)
        print(json.dumps({"text": recognizer.get_result(stream)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
