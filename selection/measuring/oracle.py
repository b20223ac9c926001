"""The losses and error rates of any number of subnets on one sample of utterances.

All subnets of a supernet form a prefix tree: a depth-first walk runs every shared prefix once (see
``Encoder.outputs``). Results are kept in a store by network, sample, head and subnet.
Shapes: N utterances, B utterances of a batch.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from selection.measuring.evidence_store import EvidenceStore, Judged
from supernet.runs.model_file import Model
from supernet.scoring.error_rates import Measure, count_errors, count_words, measure_of
from supernet.system.devices import with_threads
from supernet.system.processes import ONE, Processes
from supernet.system.workers import Spread, Workers
from supernet.task import Batch, ProgressCallback
from supernet.units import Kept

CHUNK = 512
"""Number of subnets scored between saves, and thus the most that an interruption can lose."""


@dataclass(frozen=True)
class Sample:
    """The utterances on which subnets are scored; iterated once per walk."""

    batches: Iterable[Batch]

    @cached_property
    def facts(self) -> Facts:
        facts, digest = Facts(), hashlib.sha256()
        for batch in self.batches:
            facts.num_batches += 1
            facts.frames += batch.stream_lengths
            facts.texts += batch.texts
            for tensor in (batch.features_BTF, batch.targets_BL):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        facts.fingerprint = digest.hexdigest()[:16]
        return facts


@dataclass
class Facts:
    """Properties of a sample that need no network, by utterance in the order of the batches."""

    num_batches: int = 0
    frames: list[int] = field(default_factory=list)
    """Stream frames, the unit of losses."""
    texts: list[str] = field(default_factory=list)
    fingerprint: str = ""

    @property
    def words(self) -> NDArray[np.int64]:
        """Words and characters of each utterance, (N, 2)."""
        return count_words(self.texts)

    @cached_property
    def measure(self) -> Measure:
        """The measure by which the texts are judged."""
        return measure_of(self.texts)


class Oracle:
    """Scores subnets of one trained supernet on one sample."""

    def __init__(
        self,
        model: Model,
        sample: Sample,
        store: EvidenceStore,
        network: str,
        report: ProgressCallback,
        processes: Processes = ONE,
    ) -> None:
        """
        Args:
            model: The supernet, whose weights do not change.
            sample: The utterances.
            store: Keeps what was found.
            network: Identifies the model's weights, see ``model_file.fingerprint``, and how it reads.
            report: Called as the work progresses.
            processes: Each of them scores some of the batches.
        """
        self._model, self.sample, self._store, self._report = model, sample, store, report
        self._network, self._processes = network, processes

    @cached_property
    def context(self) -> str:
        """The key of this network and sample in the store."""
        return f"{self._network}/{self.sample.facts.fingerprint}"

    def judge(self, subnets: Sequence[Kept], *, with_errors: bool = False) -> list[Judged]:
        """Losses, and with ``with_errors`` recognition errors, of each subnet on each utterance."""
        names = {kept: self.name(kept) for kept in dict.fromkeys(subnets)}
        known = self._store.judged(
            self.context, names.values(), len(self.sample.facts.frames), with_errors=with_errors
        )
        # In lexicographic order, the subnets of a chunk share prefixes.
        missing = sorted((kept for kept, name in names.items() if name not in known), reverse=True)
        starts = range(0, len(missing), CHUNK)
        for i, start in enumerate(starts):
            found = self._walk(missing[start : start + CHUNK], with_errors, i, len(starts))
            fresh = {names[kept]: judged for kept, judged in found.items()}
            self._store.add_judged(self.context, fresh)
            known |= fresh
        return [known[names[kept]] for kept in subnets]

    def loss(self, judged: Judged) -> float:
        """CTC loss per frame."""
        return float(judged.losses_N.sum()) / sum(self.sample.facts.frames)

    def name(self, kept: Kept) -> str:
        """The key of a subnet, and of the head that reads it, in the store."""
        units = "".join("1" if keep else "0" for keep in kept)
        return f"{self._model.recognizer.head(sum(kept))}:{units}"

    def _walk(
        self, subnets: Sequence[Kept], with_errors: bool, chunk: int, num_chunks: int
    ) -> dict[Kept, Judged]:
        start, num_batches = time.perf_counter(), self.sample.facts.num_batches
        rows: dict[Kept, list[_Row]] = {kept: [] for kept in subnets}
        with with_threads(self._processes.num_threads):
            spread = Spread(self._workers, self._score)
            for i, batch in enumerate(self.sample.batches):
                spread.ask((batch, subnets, with_errors))
                self._report("scoring subnets", chunk * num_batches + i + 1, num_chunks * num_batches)
            for found in spread.answers():
                for kept, row in found:
                    rows[kept].append(row)
        seconds = (time.perf_counter() - start) / len(subnets)
        return {kept: _joined(parts, seconds) for kept, parts in rows.items()}

    @cached_property
    def _workers(self) -> Workers:
        """Other processes, which stay, as strategies ask for few subnets at a time."""
        return Workers(self._processes, self._score)

    def close(self) -> None:
        """End the other processes; when more is asked, new ones begin."""
        if (workers := vars(self).pop("_workers", None)) is not None:
            workers.close()

    @torch.inference_mode()
    def _score(self, question: tuple[Batch, Sequence[Kept], bool]) -> list[tuple[Kept, _Row]]:
        """Losses and errors of the utterances of a batch by each of some subnets."""
        (batch, subnets, with_errors), recognizer = question, self._model.recognizer
        batch.to(recognizer.device)
        found: list[tuple[Kept, torch.Tensor, NDArray[np.int64] | None]] = []
        for scored in recognizer.score_all(batch, subnets):
            errors_B2 = None
            if with_errors:
                texts = [self._model.tokens.decode(ids) for ids in scored.decode()]
                errors_B2 = count_errors(batch.texts, texts)
            found.append((scored.kept, scored.losses_B, errors_B2))
        losses_KB = torch.stack([losses_B for _, losses_B, _ in found]).double().cpu().numpy()  # one transfer
        return [(kept, (row_B, errors)) for (kept, _, errors), row_B in zip(found, losses_KB, strict=True)]


_Row = tuple[NDArray[np.float64], NDArray[np.int64] | None]
"""Losses, and errors if they were counted, of the utterances of a batch."""


def _joined(parts: list[_Row], seconds: float) -> Judged:
    losses = np.concatenate([losses for losses, _ in parts])
    errors = [errors for _, errors in parts if errors is not None]
    return Judged(losses, np.concatenate(errors) if errors else None, seconds)


def thinned(batches: Iterable[Batch], most: int) -> list[Batch]:
    """At most ``most`` utterances, evenly spread over ``batches``, still in their batches.

    Iterates over ``batches`` twice, so that only the result is held in memory.
    """
    total = sum(len(batch) for batch in batches)
    if total <= most:
        return list(batches)
    wanted, start, result = {i * total // most for i in range(most)}, 0, []
    for batch in batches:
        rows = [row for row in range(len(batch)) if start + row in wanted]
        start += len(batch)
        if rows:
            result.append(_rows_of(batch, rows))
    return result


def _rows_of(batch: Batch, rows: list[int]) -> Batch:
    frames, targets = [batch.num_frames[i] for i in rows], [batch.num_targets[i] for i in rows]
    return Batch(
        batch.features_BTF[rows, : max(frames)],
        frames,
        batch.targets_BL[rows, : max(targets)],
        targets,
        [batch.ids[i] for i in rows],
        [batch.texts[i] for i in rows],
        batch.input,
    )
