"""A run without training that outputs text: random weights with confident outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile
import torch

from supernet.audio.features import fbank
from supernet.audio.specification import SAMPLE_RATE
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs import model_file
from supernet.runs.run import Run
from tests.supernet.tiny import tiny_config
from tests.supernet.tones import TOKENS, speak

TEXTS = ["ab c", "d", "bca ba dd c", "a a a b"]


def recordings() -> list[torch.Tensor]:
    return [speak(text, i) for i, text in enumerate(TEXTS)]


def files_of_recordings(folder: Path) -> list[Path]:
    """The recordings as floats, as Chromium scales positive whole numbers by another factor."""
    files = [folder / f"{i}.wav" for i in range(len(TEXTS))]
    for file, samples in zip(files, recordings(), strict=True):
        soundfile.write(file, samples.numpy(), SAMPLE_RATE, subtype="FLOAT")
    return files


def make_run(folder: Path, sizes: tuple[int, ...] = (2, 3, 4), **model: Any) -> Run:
    """A finished run of ``sizes`` in ``folder``, with settings of its ``model``."""
    run = Run(folder)
    config = tiny_config(sizes=sizes, model=model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SupernetCTC(config, len(TOKENS)).eval()
        _let_talk(net, sizes)
    run.begin(config)
    model_file.save(model_file.Model(net, TOKENS), run.model_stem)
    run.save_subnets({str(size): net.table.subnet(net.table.first(size)) for size in sizes})
    return run


def make_streaming_run(folder: Path) -> Run:
    """A finished run that can stream, whose output depends on the audio and on the chunks."""
    return make_run(folder, (2, 4), streaming=True, kernel=7, heads="per-size")


@torch.no_grad()
def _let_talk(net: SupernetCTC, sizes: tuple[int, ...]) -> None:
    """Center the outputs of each head, which random weights would make almost the same for any input; of a
    network that can stream, also the features.
    """
    features = fbank(torch.cat(recordings()))
    if isinstance(net.frontend, StreamingFrontend):
        net.frontend.mean_F.copy_(features.mean(0))
        net.frontend.deviation_F.copy_(features.std(0))
        net.encoder.chunking = Chunking(8, 2)
    x_1SD, lengths = net.embed(features[None], [len(features)])
    kept = {net.head(size): net.table.first(size) for size in (*sizes, len(net.table))}
    for subnet, out_1SD in net.encoder.outputs(x_1SD, lengths, kept.values()):
        head = net.heads[net.head(sum(subnet))]
        assert isinstance(head, torch.nn.Linear)
        head.weight.mul_(20)
        head.bias.copy_(-(out_1SD[0] @ head.weight.T).median(dim=0).values)
    net.encoder.chunking = None
