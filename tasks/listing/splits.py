"""Deterministic assignment of utterances to splits that the corpus lacks."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np

from supernet.task import SPLITS, ProgressCallback, Split, TaskError
from tasks.files.problems import Problem, shorten
from tasks.listing.entries import Entry, Source

_REPORTED = 1000
"""Entries between two progress reports."""

FEWEST_SPEAKERS = 10
"""With at least this many speakers, and all of them known, no speaker is in two splits."""


class SplitAssigner:
    """Assigns utterances to splits, the same on every machine.

    Splits that the corpus has stay as they are. Those it lacks are taken from the rest by a hash: of the
    speaker if all are known and there are at least 10, or if the corpus asks for it; otherwise of the
    utterance's name. The lowest hashes are for testing and the next for validation; each split gets a share
    of ``held_out`` of the speakers (or utterances), at least one.

    Making it reads the listing once; memory grows by 8 bytes per utterance.

    Args:
        source: The corpus.
        report: Called with the progress.

    Raises:
        TaskError: If there are too few utterances or speakers to divide.
    """

    def __init__(self, source: Source, report: ProgressCallback = lambda what, done, total: None) -> None:
        self.total = 0
        found: set[Split] = set()
        ids, speakers, unknown = array("Q"), set[int](), False
        first: Problem | None = None
        for item in source.read():
            self.total += 1
            if self.total % _REPORTED == 0:
                report("reading the listing", self.total, 0)
            if item.split in ("valid", "test"):
                found.add(item.split)
            first = first or (item if isinstance(item, Problem) else None)
            if item.split in ("valid", "test") or not isinstance(item, Entry):
                continue
            ids.append(_hash(item.id))
            unknown |= item.speaker is None
            if item.speaker is not None or source.by_speaker:
                speakers.add(_hash(item.speaker or ""))
        self.by_speaker = source.by_speaker or (not unknown and len(speakers) >= FEWEST_SPEAKERS)
        keys = np.unique(np.fromiter(speakers, np.uint64) if self.by_speaker else np.array(ids, np.uint64))
        missing = [split for split in reversed(SPLITS[1:]) if split not in found]
        what = "speakers" if source.by_speaker else "utterances"
        self._bounds = [] if source.held_out is None else _bounds(keys, missing, source.held_out, what, first)

    def split(self, entry: Entry) -> Split:
        """The split of an utterance."""
        if entry.split in ("valid", "test"):
            return entry.split
        key = _hash(entry.speaker or "") if self.by_speaker else _hash(entry.id)
        return next((split for split, bound in self._bounds if key < bound), "train")


def _bounds(
    keys: np.ndarray[tuple[int], np.dtype[np.uint64]],
    missing: list[Split],
    share: float,
    what: str,
    problem: Problem | None,
) -> list[tuple[Split, int]]:
    """The hash below which an utterance is in each of ``missing``, in this order. ``what`` is the word for
    what is divided, and ``problem`` the first of the listing, which may explain why it is too little.
    """
    if not missing:
        return []
    number = max(1, round(share * len(keys)))
    if len(keys) <= number * len(missing):
        first = f"{shorten(problem.where, 300)}: {shorten(problem.what, 300)}" if problem else ""
        why = f" Its first problem: {first}." if first else ""
        raise TaskError(
            f"`path` must list at least {number * len(missing) + 1} training {what}, "
            f"but lists {len(keys)} instead. Add more, or add the missing splits.{why}"
        )
    return [(split, int(keys[number * (i + 1)])) for i, split in enumerate(missing)]


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest(), "big")
