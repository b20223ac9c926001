"""The laws of streaming: chunk by chunk, with what is remembered, is the same as everything at once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from supernet.config import Config
from supernet.network.cutting import cut
from supernet.network.lanes import Lane
from supernet.network.streaming.chunked_run import ChunkedRun
from supernet.network.streaming.chunking import Chunking, Chunkings
from supernet.network.streaming.frontend import StreamingFrontend
from supernet.network.supernet_ctc import SupernetCTC
from supernet.network.walk import FINAL
from supernet.units import Kept
from tests.supernet import tiny
from tests.supernet.network.test_laws import alternate, assert_equal
from tests.supernet.tiny import recognizer, tiny_config

FRAMES = [90, 33, 5, 64]
CHUNKINGS = [Chunking(1, 3), Chunking(2, 0), Chunking(3, 2), Chunking(5, 1), Chunking(4), Chunking(7, 1)]
AHEAD = [Chunking(3, 2, 1), Chunking(2, 0, 3), Chunking(1, 1, 1), Chunking(4, None, 2), Chunking(6, 1, 9)]
"""Chunks with a look-ahead."""


def combinations() -> Iterator[tuple[str, Config]]:
    """Every granularity, layer type and kind of positions that can stream."""
    for granularity, layer_type, positions in (
        ("layer", "conformer", "relative"),
        ("layer", "conformer-conv-first", "none"),
        ("module", "conformer", "relative"),
        ("component", "conformer", "relative"),
        ("layer", "transformer", "relative"),
        ("module", "transformer", "none"),
        ("component", "transformer", "none"),
    ):
        model = {"positions": positions, "streaming": True, "kernel": 5}
        name = f"{granularity}-{layer_type}-{positions}"
        yield name, tiny_config(granularity, layer_type, model=model)  # type: ignore[arg-type]
    more = {"streaming": True, "subsampling": 8, "kernel": 9}
    yield "subsampling-8", tiny_config(model=more)
    more = {"streaming": True, "self_conditioning": True, "convolution_bias": True}
    yield "conditioned", tiny_config(model=more)


COMBINATIONS = dict(combinations())


@pytest.fixture(params=list(COMBINATIONS.values()), ids=list(COMBINATIONS))
def net(request: pytest.FixtureRequest) -> SupernetCTC:
    return streaming_net(request.param)


def streaming_net(config: Config) -> SupernetCTC:
    """A random network with other statistics than 0 and 1."""
    net, rng = recognizer(config), torch.Generator().manual_seed(5)
    assert isinstance(net.frontend, StreamingFrontend)
    net.frontend.mean_F.copy_(torch.randn(80, generator=rng))
    net.frontend.deviation_F.copy_(1 + torch.rand(80, generator=rng))
    return net


def masked(net: SupernetCTC, features: Tensor, frames: list[int], kept: Kept, how: Chunking | None) -> Tensor:
    """Log-probabilities (B, S, V) of a full pass in which all rows are read in the same chunks."""
    net.encoder.chunking = how
    found = net.log_probs(features, frames, kept)
    net.encoder.chunking = None
    return found


def chunk_by_chunk(net: SupernetCTC, features: Tensor, kept: Kept, how: Chunking, seed: int) -> Tensor:
    """Log-probabilities (S, V), from features that arrive in blocks of random length."""
    run, rng, found, start = ChunkedRun(net, kept, how), random.Random(seed), [], 0
    while start < len(features):
        stop = start + rng.randint(1, 25)
        found.append(run.accept(features[start:stop]))
        start = stop
    return torch.cat([*found, run.finish()])


@torch.no_grad()
def test_chunk_by_chunk_equals_the_masked_pass(net: SupernetCTC) -> None:
    data, rng = tiny.batch(FRAMES), random.Random(0)
    units = len(net.table)
    for how in CHUNKINGS + AHEAD:
        for kept in (net.table.full, alternate(net), tuple(rng.random() < 0.6 for _ in range(units))):
            whole = masked(net, data.features_BTF, data.num_frames, kept, how)
            for row, frames in enumerate(FRAMES):
                found = chunk_by_chunk(net, data.features_BTF[row, :frames], kept, how, seed=row)
                assert len(found) == net.input.num_stream_frames(frames)
                assert_equal(found, whole[row, : len(found)])


@torch.no_grad()
def test_a_chunk_as_long_as_the_utterance_is_the_whole(net: SupernetCTC) -> None:
    data, longest = tiny.batch(FRAMES), net.input.num_stream_frames(max(FRAMES))
    whole = masked(net, data.features_BTF, data.num_frames, net.table.full, None)
    for size in (longest, longest + 3):
        same = masked(net, data.features_BTF, data.num_frames, net.table.full, Chunking(size, 0))
        assert torch.equal(same, whole)
        found = chunk_by_chunk(net, data.features_BTF[0], net.table.full, Chunking(size, 0), seed=1)
        assert_equal(found, whole[0])
    other = masked(net, data.features_BTF, data.num_frames, net.table.full, Chunking(2, 1))
    assert not torch.allclose(other, whole)


@torch.no_grad()
def test_a_look_ahead_to_the_end_of_the_utterance_is_the_whole(net: SupernetCTC) -> None:
    data, longest = tiny.batch(FRAMES), net.input.num_stream_frames(max(FRAMES))
    whole = masked(net, data.features_BTF, data.num_frames, net.table.full, None)
    found = masked(net, data.features_BTF, data.num_frames, net.table.full, Chunking(2, None, longest))
    for row, frames in enumerate(FRAMES):
        assert_equal(found[row, : (count := net.input.num_stream_frames(frames))], whole[row, :count])
    one = masked(net, data.features_BTF, data.num_frames, net.table.full, Chunking(2, None, 1))
    assert not torch.allclose(one[0, :longest], whole[0])


@torch.no_grad()
@pytest.mark.parametrize("how", [Chunking(3, 2), Chunking(3, 2, 2)])
def test_a_cut_streaming_model_equals_its_subnet(net: SupernetCTC, how: Chunking) -> None:
    data, kept = tiny.batch(FRAMES), alternate(net)
    small = cut(net, net.table.subnet(kept))
    expected = masked(net, data.features_BTF, data.num_frames, kept, how)
    assert_equal(masked(small, data.features_BTF, data.num_frames, small.table.full, how), expected)
    found = chunk_by_chunk(small, data.features_BTF[0], small.table.full, how, seed=0)
    assert_equal(found, expected[0, : len(found)])


def readings(net: SupernetCTC, rows: range, kept: Kept, chunkings: Chunkings) -> list[Tensor]:
    """The output of each of ``rows`` in the batch, each read in its own chunks."""
    data = tiny.batch(FRAMES)
    part = tiny.part(data, rows)
    x_BSD, lengths = net.embed(part.features_BTF, part.num_frames)
    lane = Lane(range(len(rows)), kept)
    (reading,) = net._encode(x_BSD, lengths, [lane], [chunkings[row] for row in rows])
    return [x_SD[:n] for x_SD, n in zip(reading[FINAL], lengths, strict=True)]


@torch.no_grad()
def test_an_utterance_in_a_padded_batch_of_mixed_chunks_is_the_same_alone(net: SupernetCTC) -> None:
    for chunkings in (
        [Chunking(2, 1), None, Chunking(3), Chunking(5, 2)],
        [None, Chunking(1, 1), None, None],
    ):
        for kept in (net.table.full, alternate(net)):
            together = readings(net, range(len(FRAMES)), kept, chunkings)
            for row, found in enumerate(together):
                assert_equal(found, readings(net, range(row, row + 1), kept, chunkings)[0])


@pytest.mark.parametrize("how", [Chunking(3, 1), Chunking(4, 0), Chunking(2), Chunking(3, 1, 2)])
def test_a_frame_sees_its_chunk_its_look_ahead_and_the_chunks_before_it_alone(how: Chunking) -> None:
    """From the gradients of one layer, whose convolution reads a frame on either side after attention."""
    config = tiny_config(sizes=(1,), model={"streaming": True, "num_layers": 1, "kernel": 3})
    net = streaming_net(config)
    x_1SD = torch.randn(1, 16, 16, dtype=torch.float64, requires_grad=True)
    net.encoder.chunking = how
    (reading,) = net._encode(x_1SD, [16], [Lane(range(1), net.table.full)])
    net.encoder.chunking = None

    def attended(frame: int) -> set[int]:
        start = frame // how.frames * how.frames
        first = 0 if how.left_frames is None else max(0, start - how.left_frames)
        return set(range(first, min(16, start + how.frames + how.ahead)))

    for frame in range(16):
        (gradient,) = torch.autograd.grad(reading[FINAL][0, frame].sum(), x_1SD, retain_graph=True)
        seen = {i for i, row in enumerate(gradient[0]) if row.abs().max() > 0}
        assert seen == attended(frame) | attended(max(0, frame - 1))


def test_convolutions_are_cut_at_the_chunk_and_nowhere_else() -> None:
    """Against a loop over chunks."""
    from supernet.network.streaming.rows import chunked_rows

    x_NSD, weight = torch.randn(2, 11, 3, dtype=torch.float64), torch.randn(3, 1, 5, dtype=torch.float64)
    rows = chunked_rows([11, 11], [Chunking(4, 1), None], 11, x_NSD.device, x_NSD.dtype)
    assert rows.chunks is not None
    found = rows.chunks.convolve(x_NSD, weight, None)
    for row, size in enumerate((4, 11)):
        for frame, channel in itertools.product(range(11), range(3)):
            end = min(11, (frame // size + 1) * size)
            taps = [(k, frame + k - 2) for k in range(5) if 0 <= frame + k - 2 < end]
            expected = sum(float(weight[channel, 0, k] * x_NSD[row, at, channel]) for k, at in taps)
            assert float(found[row, frame, channel]) == pytest.approx(expected, abs=1e-12)


def test_features_are_normalized_by_stored_statistics() -> None:
    net, data = recognizer(tiny_config(model={"streaming": True})), tiny.batch([50, 20])
    assert isinstance(net.frontend, StreamingFrontend)
    net.frontend.measure([data, tiny.batch([30], seed=1)])
    rows = [data.features_BTF[0, :50], data.features_BTF[1, :20], tiny.batch([30], seed=1).features_BTF[0]]
    frames = torch.cat(rows)
    assert_equal(net.frontend.mean_F, frames.mean(0))
    assert_equal(net.frontend.deviation_F, frames.std(0, correction=0).clamp(min=0.5))
    x_BTF = net.frontend.normalized(data.features_BTF, torch.ones(2, 50, dtype=torch.bool))
    assert_equal(x_BTF[0], (data.features_BTF[0] - frames.mean(0)) / net.frontend.deviation_F)
