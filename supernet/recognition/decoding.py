"""CTC decoding: from log-probabilities to paths, tokens and texts.

A decoder finds a path, one token id per frame; tokens and their times are derived from paths in the same way
for all decoders.

Shapes: B utterances, S stream frames, V tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from supernet.text.tokens import BLANK_ID, Tokens


@dataclass(frozen=True, slots=True)
class Span:
    """A token of a path, in the frames from ``start`` up to, but excluding, ``stop``."""

    token: int
    start: int
    stop: int


class Decoder(Protocol):
    """The interface of decoders. Implementations are thread-safe."""

    @property
    def name(self) -> str:
        """A name that distinguishes this decoder in file names and titles."""

    def paths(self, log_probs_BSV: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        """Find the best path of each utterance.

        Args:
            log_probs_BSV: Log-probabilities of the tokens, natural logarithm.
            lengths: The number of frames of each utterance.

        Returns:
            For each utterance, the token id of each of its frames; 0 is the blank.
        """


@dataclass(frozen=True)
class BestPath:
    """Greedy decoding: the most likely token of each frame."""

    name: str = "greedy"

    def paths(self, log_probs_BSV: Tensor, lengths: Sequence[int]) -> list[list[int]]:
        best_BS = log_probs_BSV.argmax(dim=-1).tolist()
        return [best[:n] for best, n in zip(best_BS, lengths, strict=True)]


GREEDY = BestPath()


def spans(path: Sequence[int]) -> list[Span]:
    """The tokens of a path, with repetitions collapsed and blanks removed."""
    starts = [i for i, token in enumerate(path) if i == 0 or token != path[i - 1]]
    stops = [*starts[1:], len(path)] if starts else []
    return [Span(path[a], a, b) for a, b in zip(starts, stops, strict=True) if path[a] != BLANK_ID]


def texts(decoder: Decoder, log_probs_BSV: Tensor, lengths: Sequence[int], tokens: Tokens) -> list[str]:
    """The text of each utterance."""
    paths = decoder.paths(log_probs_BSV, lengths)
    return [tokens.decode([span.token for span in spans(path)]) for path in paths]


def greedy(log_probs_BSV: Tensor, lengths: Sequence[int], tokens: Tokens) -> list[str]:
    """The text of each utterance by greedy decoding."""
    return texts(GREEDY, log_probs_BSV, lengths, tokens)


def words(found: Sequence[Span], tokens: Tokens) -> list[list[Span]]:
    """The tokens of each word; spaces belong to no word."""
    groups: list[list[Span]] = [[]]
    for span in found:
        is_space = tokens.is_space(span.token)
        if is_space or tokens.starts_word(span.token):
            groups.append([])
        if not is_space:
            groups[-1].append(span)
    return [group for group in groups if group]
