"""A run without training that outputs text: random weights with confident outputs."""

from __future__ import annotations

from pathlib import Path

import torch

from supernet.audio.features import fbank
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs import model_file
from supernet.runs.run import Run
from tests.supernet.tiny import tiny_config
from tests.supernet.tones import TOKENS, speak

TEXTS = ["ab c", "d", "bca ba dd c", "a a a b"]


def recordings() -> list[torch.Tensor]:
    return [speak(text, i) for i, text in enumerate(TEXTS)]


def make_run(folder: Path, sizes: tuple[int, ...] = (2, 3, 4)) -> Run:
    """A finished run of ``sizes`` in ``folder``."""
    run = Run(folder)
    config = tiny_config(sizes=sizes, model={"max_frames": 256})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = talkative(SupernetCTC(config, len(TOKENS)).eval())
    run.begin(config)
    model_file.save(model_file.Model(net, TOKENS), run.model_stem)
    run.save_subnets({str(size): net.table.subnet(net.table.first(size)) for size in sizes})
    return run


@torch.no_grad()
def talkative(net: SupernetCTC) -> SupernetCTC:
    """Center the head's outputs, which random weights would make almost the same for any input."""
    features = fbank(torch.cat(recordings()))[None]
    x_1SD, lengths = net.embed(features, [features.size(1)])
    ((_, out_1SD),) = net.encoder.outputs(x_1SD, lengths, [net.table.full])
    head = net.heads["shared"]
    assert isinstance(head, torch.nn.Linear)
    head.weight.mul_(20)
    head.bias.copy_(-(out_1SD[0] @ head.weight.T).median(dim=0).values)
    return net
