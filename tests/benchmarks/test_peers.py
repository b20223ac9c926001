"""Encoders of others relative to ours, of equal size: theirs over ours, so that above 1 ours is faster.

torchaudio's Conformer has no positions and normalizes its convolutions by batch; all others, as ours, have
relative positions. Peers that are not installed are skipped: ``pip install espnet speechbrain``.
Run: ``python -m pytest tests/benchmarks/test_peers.py -n 0``, with one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchaudio.models import Conformer
from transformers import Wav2Vec2ConformerConfig
from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import Wav2Vec2ConformerEncoder

from supernet.config import ModelConfig
from supernet.network.lanes import Lane
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.system.devices import autocast
from tests.benchmarks.conftest import Ratio, Work
from tests.benchmarks.test_attention import SIZE, make_net

STREAMS = {"short": (12, 57), "long": (3, 249)}
"""Utterances, and stream frames of the longest: 2.3 s and 10 s."""
ROUNDS = {96: 9, 384: 3}


class Encoder(nn.Module):
    """The encoder of a network, without its frontend and heads."""

    def __init__(self, net: SupernetCTC) -> None:
        super().__init__()
        self.net = net

    def forward(self, x_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        lane = Lane(range(len(x_BSD)), self.net.table.full)
        (reading,) = self.net.encoder(x_BSD, lengths_B.tolist(), [lane])
        return reading[FINAL], lengths_B


def ours(dim: int) -> nn.Module:
    return Encoder(make_net(dim, torch.device("cpu")))


class Called(nn.Module):
    """An encoder with a call of its own."""

    def __init__(self, encoder: nn.Module, call: Callable[[Any, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder, self._call = encoder, call

    def forward(self, x_BSD: Tensor, lengths_B: Tensor) -> tuple[Tensor, Tensor]:
        return self._call(self.encoder, x_BSD, lengths_B), lengths_B


def is_valid(x_BSD: Tensor, lengths_B: Tensor) -> Tensor:
    return torch.arange(x_BSD.size(1)) < lengths_B[:, None]


def torchaudio(c: ModelConfig) -> nn.Module:
    return Conformer(c.dim, c.num_heads, c.ffn_dim, SIZE, c.kernel)  # type: ignore[no-any-return]


def transformers(c: ModelConfig) -> nn.Module:
    config = Wav2Vec2ConformerConfig(
        hidden_size=c.dim, num_hidden_layers=SIZE, num_attention_heads=c.num_heads,
        intermediate_size=c.ffn_dim, conv_depthwise_kernel_size=c.kernel, position_embeddings_type="relative",
        hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, conformer_conv_dropout=0.0,
        layerdrop=0.0,
    )  # fmt: skip

    def call(encoder: Any, x_BSD: Tensor, lengths_B: Tensor) -> Tensor:
        return encoder(x_BSD, attention_mask=is_valid(x_BSD, lengths_B))[0]  # type: ignore[no-any-return]

    return Called(Wav2Vec2ConformerEncoder(config), call)


def espnet(c: ModelConfig) -> nn.Module:
    module = pytest.importorskip("espnet2.asr.encoder.conformer_encoder", reason="needs espnet")
    encoder = module.ConformerEncoder(
        c.dim, c.dim, c.num_heads, c.ffn_dim, SIZE, input_layer=None, dropout_rate=0.0,
        positional_dropout_rate=0.0, macaron_style=True, rel_pos_type="latest", cnn_module_kernel=c.kernel,
    )  # fmt: skip
    return Called(encoder, lambda encoder, x_BSD, lengths_B: encoder(x_BSD, lengths_B)[0])


def speechbrain(c: ModelConfig) -> nn.Module:
    module = pytest.importorskip("speechbrain.lobes.models.transformer.Conformer", reason="needs speechbrain")
    encoder = module.ConformerEncoder(
        SIZE, c.dim, c.ffn_dim, c.num_heads, kernel_size=c.kernel, dropout=0.0, attention_type="RelPosMHAXL"
    )
    encoder.positions = pytest.importorskip("speechbrain.nnet.attention").RelPosEncXL(c.dim)

    def call(encoder: Any, x_BSD: Tensor, lengths_B: Tensor) -> Tensor:
        padding_BS = ~is_valid(x_BSD, lengths_B)
        positions = encoder.positions(x_BSD)
        return encoder(x_BSD, src_key_padding_mask=padding_BS, pos_embs=positions)[0]  # type: ignore[no-any-return]

    return Called(encoder, call)


PEERS = {"torchaudio": torchaudio, "transformers": transformers, "espnet": espnet, "speechbrain": speechbrain}


def theirs(peer: str, dim: int) -> nn.Module:
    config = make_net(dim, torch.device("cpu")).config.model
    torch.manual_seed(0)
    return PEERS[peer](config)


def stream(dim: int, count: int, num_frames: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(count, num_frames, dim), num_frames - torch.arange(count) // 2


def training(encoder: nn.Module, x_BSD: Tensor, lengths_B: Tensor, precision: str) -> Work:
    def step() -> None:
        with autocast(precision, x_BSD.device):
            y_BSD, _ = encoder(x_BSD, lengths_B)
        y_BSD.float().square().mean().backward()
        encoder.zero_grad(set_to_none=True)

    return step


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("length", STREAMS)
@pytest.mark.parametrize("dim", ROUNDS)
@pytest.mark.parametrize("peer", PEERS)
def test_training(peer: str, dim: int, length: str, precision: str, ratio: Ratio) -> None:
    batch = stream(dim, *STREAMS[length])
    mine, other = (training(one, *batch, precision) for one in (ours(dim), theirs(peer, dim)))
    assert ratio.of_processor(other, mine, ROUNDS[dim], what="of ours") > 0


@pytest.mark.parametrize("length", STREAMS)
@pytest.mark.parametrize("dim", ROUNDS)
@pytest.mark.parametrize("peer", PEERS)
def test_inference(peer: str, dim: int, length: str, ratio: Ratio) -> None:
    """One utterance at a time."""
    x_1SD, lengths_1 = stream(dim, 1, STREAMS[length][1])

    def recognition(encoder: nn.Module) -> Work:
        encoder.eval()

        @torch.inference_mode()
        def recognize() -> None:
            encoder(x_1SD, lengths_1)

        return recognize

    mine, other = recognition(ours(dim)), recognition(theirs(peer, dim))
    assert ratio.of_processor(other, mine, 21 if dim == 96 else 9, what="of ours") > 0
