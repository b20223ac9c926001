"""The chunks that a user asks for, checked against a network."""

from __future__ import annotations

from supernet.errors import ArgumentError
from supernet.network.streaming.chunking import Chunking
from supernet.network.supernet_ctc import SupernetCTC
from supernet.text.durations import chunk_and_ahead_in_frames

LEFT_CHUNKS = 8
"""The chunks before its own that attention sees in recognition, so that memory does not grow."""


def chunking_of(model: SupernetCTC, chunk: str, left: int = LEFT_CHUNKS) -> Chunking:
    """The chunks of a duration such as ``320ms``, or with a look-ahead, ``240ms+80ms``, for ``model``.

    Raises:
        ArgumentError: The network has not been trained for chunks, or not for such chunks.
    """
    if not model.config.model.streaming:
        raise ArgumentError(
            ["chunk"],
            "`chunk` must be left out for a network that was trained without `model.streaming`, but is "
            f"{chunk} instead. Train with `model.streaming=true`.",
        )
    frame = 1000 * model.input.stream_seconds
    try:
        frames, ahead = chunk_and_ahead_in_frames(chunk, frame)
    except ValueError as e:
        raise ArgumentError(["chunk"], f"`chunk` {e}") from None
    longest = model.config.model.max_frames
    if left < 0:
        raise ArgumentError(["left"], f"`left` must be at least 0 chunks, but is {left} instead.")
    if frames > (most := max(0, longest - ahead) // (left + 1)):
        raise ArgumentError(
            ["chunk", "left"],
            f"`chunk` must be at most {most * frame:g}ms with {left} chunks to the left, "
            f"as `model.max_frames` is {longest}, but is {chunk} instead.",
        )
    return Chunking(frames, left, ahead)
