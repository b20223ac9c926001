"""``python -m supernet.transcribe RUN --size 6 FILE.wav …``: text for any audio file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import soundfile
import torch
import torchaudio.functional
from torch import Tensor

from supernet.checkpoint import Model, load
from supernet.cli import add_subnet_options, main_guard, open_subnet
from supernet.cut import cut
from supernet.features import FRAMES_PER_SECOND, SAMPLE_RATE, fbank, is_silent
from supernet.frontend import num_stream_frames
from supernet.run import Run
from supernet.scoring import greedy


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m supernet.transcribe",
        description="Print what was said in each file (wav or flac, any rate, any channels).",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="audio files")
    add_subnet_options(parser)
    args = parser.parse_args(arguments)
    with main_guard():
        run = Run.open(args.run)
        model = load(run.model_stem)
        subnet = open_subnet(run, model, args)
        small = Model(cut(model.recogniser, subnet), model.tokens)
    unreadable = [file for file in args.files if not _print_text(small, file)]
    if unreadable:
        raise SystemExit(2)


def _print_text(model: Model, file: Path) -> bool:
    try:
        samples = read_audio(file)
    except (OSError, soundfile.LibsndfileError) as e:
        print(f"error: '{file}' must be readable audio, but is not: {e}", file=sys.stderr)
        return False
    longest = 4 * model.recogniser.config.model.max_frames / FRAMES_PER_SECOND
    if (seconds := len(samples) / SAMPLE_RATE) > longest:
        print(
            f"error: '{file}' must last at most {longest:g} s, but lasts {seconds:.1f} s instead. Cut it.",
            file=sys.stderr,
        )
        return False
    print(f"{file}\t{transcribe(model, samples)}")
    return True


def read_audio(file: Path) -> Tensor:
    """Mono samples (S,) at 16 kHz of any wav or flac file; several channels are averaged."""
    data, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return torchaudio.functional.resample(torch.from_numpy(data).mean(dim=1), rate, SAMPLE_RATE)  # type: ignore[no-any-return]


@torch.inference_mode()
def transcribe(model: Model, samples: Tensor) -> str:
    """The text of mono 16 kHz ``samples`` (S,); empty for silence."""
    if is_silent(samples):
        return ""
    features = fbank(samples)
    log_probs = model.recogniser.log_probs(features[None], [len(features)], model.recogniser.table.full)
    return greedy(log_probs, [num_stream_frames(len(features))], model.tokens)[0]


if __name__ == "__main__":
    main()
