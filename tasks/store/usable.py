"""The utterances of a split that a recognizer can use: its tokens can write them, and they are neither too
short nor too long.

Shapes: U utterances.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supernet.audio.features import Input
from supernet.audio.specification import FRAMES_PER_SECOND
from supernet.task import Skipped, Split, TaskError
from supernet.text.tokens import Tokens, min_ctc_frames
from tasks.files.cache import digest, make_once
from tasks.files.lines import open_numbers
from tasks.files.problems import first_few, shorten
from tasks.store.index import Utterances

_NAMED = 3
"""Examples in an error message."""


@dataclass(frozen=True)
class Limits:
    """Bounds on the duration of an utterance."""

    input: Input
    max_seconds: float
    """Utterances may not be longer, even when slowed down."""
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which utterances are read."""


@dataclass(frozen=True)
class Usable:
    """The usable utterances of one split, decided once for a set of tokens."""

    split: Split
    utterances: Utterances
    """The usable ones."""
    unwritable: Utterances
    """The usable ones with symbols that are not tokens, which the recognizer cannot get right."""
    skipped: list[Skipped]
    """The others, in order, with the reason for each."""
    hints: tuple[str, ...]
    """Settings that would keep more utterances, one sentence each."""
    tokens: Tokens

    def remark(self) -> str | None:
        """Return a sentence on the texts with symbols that are not tokens, or None if there are none."""
        if not len(self.unwritable):
            return None
        first = self.unwritable[0]
        unknown = " ".join(self.tokens.unknown(first.text))
        return (
            f"{len(self.unwritable):,} of {len(self.utterances):,} texts of the {self.split} split "
            f"{'has' if len(self.unwritable) == 1 else 'have'} symbols that no training text has: "
            f"they count as errors. The first is {first.id!r} with {unknown}."
        )


def find_usable(
    split: Split, utterances: Utterances, tokens: Tokens, needed_U: NDArray[np.int32], limits: Limits
) -> Usable:
    """Decide which ``utterances`` a recognizer with ``tokens`` can use.

    In training, utterances with symbols that are not tokens are left out; elsewhere, these symbols count as
    recognition errors.

    Args:
        split: The split that the utterances belong to.
        utterances: Every utterance of the split whose audio is fine.
        tokens: The recognizer's tokens.
        needed_U: The result of ``needed_frames`` for the same utterances and tokens.
        limits: Bounds on durations.
    """
    has_unknown_U = needed_U < 0
    least_U = np.where(has_unknown_U, ~needed_U, needed_U)
    frames_U = _encoder_frames(utterances.num_frames, limits)
    slowest_U = utterances.num_frames / min(limits.speeds)
    too_long_U = slowest_U > limits.max_seconds * FRAMES_PER_SECOND
    too_short_U = frames_U < least_U
    untrainable_U = has_unknown_U & (split == "train")
    refused_U = too_short_U | too_long_U | untrainable_U

    def reason(number: int) -> str:
        if too_long_U[number]:
            seconds = slowest_U[number] / FRAMES_PER_SECOND
            return f"too long: {seconds:.2f} s, and `task.max_seconds` is {limits.max_seconds:g}"
        if untrainable_U[number]:
            unknown = [repr(symbol) for symbol in tokens.unknown(utterances[number].text)]
            return f"not among the tokens: {first_few(unknown)}"
        return f"too short for its text: {frames_U[number]} encoder frames for {least_U[number]}"

    hints = []
    if too_long_U.any():
        longest = math.ceil(float(slowest_U.max()) / FRAMES_PER_SECOND)
        hints.append(f"With `task.max_seconds={longest}` none is too long.")
    if too_short_U.any() and tokens.kind == "characters":
        hints.append("Longer tokens need fewer frames: `task.tokens=bpe`.")
    return Usable(
        split,
        utterances.where(~refused_U),
        utterances.where(has_unknown_U & ~refused_U),
        [
            Skipped(utterances[number].id, split, reason(number))
            for number in np.flatnonzero(refused_U).tolist()
        ],
        tuple(hints),
        tokens,
    )


def _encoder_frames(num_frames_U: NDArray[np.int64], limits: Limits) -> NDArray[np.int64]:
    """Return a lower bound on the number of encoder frames at the highest speed: the index counts frames of
    10 ms, rounded.
    """
    shift = limits.input.rate // FRAMES_PER_SECOND
    input_U = (num_frames_U / max(limits.speeds)).astype(np.int64) * shift - shift // 2
    return np.maximum(0, limits.input.convolved(input_U))


def needed_frames(utterances: Utterances, tokens: Tokens, folder: Path, split: Split) -> NDArray[np.int32]:
    """Count the encoder frames that CTC needs for each text, and keep the counts in ``folder``.

    Returns:
        A number ``n`` (U,) for each utterance: the frames needed for the symbols of its text that are tokens;
        its complement ``~n``, which is negative, if the text has other symbols, too.
    """
    model = hashlib.sha256(tokens.model or b"").hexdigest()
    key = [split, tokens.kind, tokens.symbols, model]
    made = folder / f"needed-{digest(key + [utterances.case] * (utterances.case != 'as-is'))}"

    def build(partial: Path) -> None:
        with open(partial / "frames", "wb") as file:
            for utterance in utterances:
                number = min_ctc_frames(tokens.encode_known(utterance.text))
                number = ~number if tokens.unknown(utterance.text) else number
                file.write(np.int32(number).tobytes())

    make_once(made, build)
    return open_numbers(made / "frames", np.int32)


def check_share(
    unusable: Sequence[Skipped], total: int, split: Split, most: float, hints: Sequence[str] = ()
) -> None:
    """Check that enough of a split can be used.

    Args:
        unusable: The utterances that cannot be used.
        total: The number of all utterances of the split.
        split: The split's name.
        most: The share that may be unusable.
        hints: Sentences that say what would help.

    Raises:
        TaskError: If a larger share than ``most``, or everything, cannot be used.
    """
    # Nothing left is too little, whatever share was allowed.
    if len(unusable) <= most * total and len(unusable) < total:
        return
    named = "; ".join(
        f"{shorten(skipped.id)}: {shorten(skipped.reason, 300)}" for skipped in unusable[:_NAMED]
    )
    more = "; …" if len(unusable) > _NAMED else ""
    enough = next(share / 100 for share in range(101) if len(unusable) <= share / 100 * total)
    allowed = f", which `task.max_skipped={enough:g}` allows" if len(unusable) < total else ""
    raise TaskError(
        f"`max_skipped` allows a share of {most:g}, but {len(unusable)} of {total} utterances of the {split} "
        f"split cannot be used ({named}{more}){allowed}. {' '.join((*hints, 'Repair them, or allow more.'))}"
    )
