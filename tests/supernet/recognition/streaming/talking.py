"""A run without training that can stream and outputs text."""

from __future__ import annotations

from pathlib import Path

import torch

from supernet.audio.features import fbank
from supernet.network.streaming.chunking import Chunking
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs import model_file
from supernet.runs.run import Run
from tests.supernet.talkative import recordings
from tests.supernet.tiny import tiny_config
from tests.supernet.tones import TOKENS

SIZES = (2, 4)


def make_streaming_run(folder: Path) -> Run:
    """A finished run in ``folder``, whose output depends on the audio and on the chunks."""
    run = Run(folder)
    config = tiny_config(sizes=SIZES, model={"streaming": True, "kernel": 7, "heads": "per-size"})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = SupernetCTC(config, len(TOKENS)).eval()
        _let_talk(net)
    run.begin(config)
    model_file.save(model_file.Model(net, TOKENS), run.model_stem)
    run.save_subnets({str(size): net.table.subnet(net.table.first(size)) for size in SIZES})
    return run


@torch.no_grad()
def _let_talk(net: SupernetCTC) -> None:
    """Center features and the outputs of each head, which random weights would make almost the same for any
    input.
    """
    features = fbank(torch.cat(recordings()))
    assert isinstance(net.frontend, StreamingFrontend)
    net.frontend.mean_F.copy_(features.mean(0))
    net.frontend.deviation_F.copy_(features.std(0))
    net.encoder.chunking = Chunking(8, 2)
    x_1SD, lengths = net.embed(features[None], [len(features)])
    for kept, out_1SD in net.encoder.outputs(x_1SD, lengths, [net.table.first(size) for size in SIZES]):
        head = net.heads[str(sum(kept))]
        assert isinstance(head, torch.nn.Linear)
        head.weight.mul_(20)
        head.bias.copy_(-(out_1SD[0] @ head.weight.T).median(dim=0).values)
    net.encoder.chunking = None
