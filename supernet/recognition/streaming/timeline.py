"""When text was there, on the clock of the audio, and whether it stayed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from supernet.recognition.transcript import Transcript


def changed_words(before: str, after: str) -> int:
    """The number of words of ``before`` that are others in ``after``; the last one may have grown."""
    old, new = before.split(), after.split()
    rest = len(old) - len(new)
    others = sum(a != b for a, b in zip(old[:-1], new, strict=False))
    grown = len(old) > len(new) or not old or new[len(old) - 1].startswith(old[-1])
    return others + max(0, rest) + (not grown)


@dataclass
class Timeline:
    """The times at which text is there if the audio arrives as fast as it is spoken, and each computation
    takes as long as it does here.
    """

    seconds: float = 0.0
    """The duration of the audio, once it has ended."""
    ready: float = 0.0
    """Seconds from the beginning of the audio to the end of the last computation."""
    computing: float = 0.0
    """Seconds of computation."""
    changed: int = 0
    """The number of words that were shown and became others later."""
    _first_shown: float | None = field(default=None, repr=False)
    _first_spoken: float | None = field(default=None, repr=False)
    _shown: str = field(default="", repr=False)

    @contextmanager
    def computation(self, heard: float) -> Iterator[None]:
        """Time a computation that begins once ``heard`` seconds of audio are there."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.computing += seconds
        self.ready = max(self.ready, heard) + seconds

    def show(self, partial: str) -> None:
        """Record the text of the current utterance."""
        self.changed += changed_words(self._shown, partial)
        self._shown = partial
        if partial and self._first_shown is None:
            self._first_shown = self.ready

    def end(self, utterance: Transcript) -> None:
        """Record the end of an utterance."""
        self.show(utterance.text)
        self._shown = ""
        if utterance.words and self._first_spoken is None:
            self._first_spoken = utterance.words[0].start

    @property
    def first_word(self) -> float | None:
        """Seconds from the first frame of the first word to its text. None: there is none."""
        if self._first_shown is None or self._first_spoken is None:
            return None
        return self._first_shown - self._first_spoken

    @property
    def final(self) -> float:
        """Seconds from the end of the audio to the last text."""
        return self.ready - self.seconds

    @property
    def rtf(self) -> float:
        """Seconds of computation per second of audio."""
        return self.computing / max(self.seconds, 1e-9)
