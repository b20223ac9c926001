"""Which rows a recognizer can use: its tokens can write them, and they are neither too short nor too long."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from supernet.audio.features import FRAMES_PER_SECOND, LOG_MEL, Input
from supernet.task import Skipped, Split, TaskError
from supernet.text.tokens import Tokens, min_ctc_frames
from tasks.files.cache import digest, make_once
from tasks.files.lines import open_numbers
from tasks.files.problems import short, some
from tasks.store.index import Rows

_NAMED = 3
"""Examples in an error message."""


@dataclass(frozen=True)
class Usable:
    """The rows of one split, and what keeps some of them from being used."""

    split: Split
    rows: Rows
    tokens: Tokens
    needed_R: NDArray[np.int32]
    """Encoder frames that CTC needs for what the tokens can write of each text; its complement ``~n``, which
    is negative, where that is not all.
    """
    speeds: Sequence[float]
    max_seconds: float
    input: Input = LOG_MEL

    @property
    def chosen(self) -> Rows:
        """Those that can be used."""
        return self.rows.where(~self._refused)

    def unwritable(self) -> Rows:
        """Rows with symbols that are no tokens. Those of training are left out; of the others these symbols
        count as errors of recognition.
        """
        return self.chosen.where((self.needed_R < 0)[~self._refused])

    def remark(self) -> str | None:
        """How many texts have symbols that are no tokens, in a sentence; None where none has."""
        if not len(rows := self.unwritable()):
            return None
        first = rows[0]
        return (
            f"{len(rows):,} of {len(self.chosen):,} texts of the {self.split} split "
            f"{'has' if len(rows) == 1 else 'have'} symbols that no training text has: they count as errors. "
            f"The first is {first.id!r} with "
            f"{' '.join(self.tokens.unknown(first.text))}."
        )

    def skipped(self) -> list[Skipped]:
        """Rows that cannot be used, in their order."""
        numbers = np.flatnonzero(self._refused).tolist()
        return [Skipped(self.rows[number].id, self.split, self._reason(number)) for number in numbers]

    def hints(self) -> list[str]:
        """Settings that would keep more rows, each in a sentence."""
        found = []
        if self._too_long.any():
            longest = math.ceil(float(self._slowest.max()) / FRAMES_PER_SECOND)
            found.append(f"With --set task.max_seconds={longest} none is too long.")
        if self._too_short.any() and self.tokens.kind == "characters":
            found.append("Longer tokens need fewer frames: --set task.tokens=bpe.")
        return found

    def _reason(self, number: int) -> str:
        if self._too_long[number]:
            seconds = self._slowest[number] / FRAMES_PER_SECOND
            return f"too long: {seconds:.2f} s, and `task.max_seconds` is {self.max_seconds:g}"
        if self._untrainable[number]:
            unknown = [repr(symbol) for symbol in self.tokens.unknown(self.rows[number].text)]
            return f"not among the tokens: {some(unknown)}"
        return f"too short for its text: {self._frames[number]} encoder frames for {self._needed[number]}"

    @property
    def _refused(self) -> NDArray[np.bool_]:
        return self._too_short | self._too_long | self._untrainable

    @property
    def _untrainable(self) -> NDArray[np.bool_]:
        return (self.needed_R < 0) & (self.split == "train")

    @property
    def _needed(self) -> NDArray[np.int32]:
        return np.where(self.needed_R < 0, ~self.needed_R, self.needed_R)

    @property
    def _too_short(self) -> NDArray[np.bool_]:
        return self._frames < self._needed

    @property
    def _too_long(self) -> NDArray[np.bool_]:
        return self._slowest > self.max_seconds * FRAMES_PER_SECOND

    @property
    def _frames(self) -> NDArray[np.int64]:
        """Frames behind the frontend at the highest speed, at least: rows count frames of 10 ms, rounded."""
        shift = self.input.rate // FRAMES_PER_SECOND
        have_R = (self.rows.num_frames / max(self.speeds)).astype(np.int64) * shift - shift // 2
        for kernel, stride in self.input.convolutions:
            have_R = (have_R - kernel) // stride + 1
        return np.maximum(0, have_R)

    @property
    def _slowest(self) -> NDArray[np.float64]:
        """Feature frames at the lowest speed."""
        slowest_R: NDArray[np.float64] = self.rows.num_frames / min(self.speeds)
        return slowest_R


def needed_frames(rows: Rows, tokens: Tokens, folder: Path, split: Split) -> NDArray[np.int32]:
    """What ``Usable.needed_R`` says, counted once, and kept in ``folder``."""
    model = hashlib.sha256(tokens.model or b"").hexdigest()
    made = folder / f"needed-{digest([split, tokens.kind, tokens.symbols, model])}"

    def build(partial: Path) -> None:
        with open(partial / "frames", "wb") as file:
            for row in rows:
                file.write(np.int32(_needed(row.text, tokens)).tobytes())

    make_once(made, build)
    return open_numbers(made / "frames", np.int32)


def _needed(text: str, tokens: Tokens) -> int:
    number = min_ctc_frames(tokens.encode_known(text))
    return ~number if tokens.unknown(text) else number


def of_split(skipped: Sequence[Skipped], split: Split) -> list[Skipped]:
    return [one for one in skipped if one.split == split]


def check_share(
    unusable: Sequence[Skipped], total: int, split: Split, most: float, hints: Sequence[str] = ()
) -> None:
    """Raise ``TaskError`` where more than a share of ``most``, or everything, cannot be used."""
    # Nothing left is too little, whatever share was allowed.
    if len(unusable) <= most * total and len(unusable) < total:
        return
    named = "; ".join(f"{short(skipped.id)}: {short(skipped.reason, 300)}" for skipped in unusable[:_NAMED])
    more = "; …" if len(unusable) > _NAMED else ""
    enough = next(share / 100 for share in range(101) if len(unusable) <= share / 100 * total)
    allowed = f", which --set task.max_skipped={enough:g} allows" if len(unusable) < total else ""
    raise TaskError(
        f"`max_skipped` allows a share of {most:g}, but {len(unusable)} of {total} utterances of the {split} "
        f"split cannot be used ({named}{more}){allowed}. {' '.join((*hints, 'Repair them, or allow more.'))}"
    )
