"""Score the sizes of a trained supernet on splits of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from supernet.evaluation.alignment import page, trn
from supernet.network.cutting import cut
from supernet.network.model_costs import macs, real_time_factor
from supernet.network.supernet_ctc import SupernetCTC, num_parameters
from supernet.recognition.decoding import GREEDY, Decoder, texts
from supernet.runs.model_file import Model
from supernet.runs.run import Run
from supernet.scoring.error_rates import UNKNOWN, Score, TranscriptRows, length_group, score, score_groups
from supernet.system.devices import with_threads
from supernet.system.processes import ONE, Processes
from supernet.system.workers import Spread, Workers
from supernet.task import Batch, ProgressCallback, Task
from supernet.units import Kept, Subnet


@dataclass(frozen=True)
class SplitTranscripts:
    """The transcripts of a split by each subnet, and facts about its utterances."""

    rows: dict[str, TranscriptRows]
    """By label of the subnet."""
    seconds: dict[str, float]
    """Durations by utterance id."""
    speakers: Mapping[str, str]
    """By utterance id; unknown speakers are missing."""

    def by_speaker(self) -> dict[str, dict[str, Score]]:
        """The score of each speaker and label, worst first by the first label.

        Unknown speakers are scored together.
        """
        found = self._by(lambda id: self.speakers.get(id, UNKNOWN))
        return dict(sorted(found.items(), key=lambda item: -next(iter(item[1].values())).rate))

    def by_length(self) -> dict[str, dict[str, Score]]:
        """The score of each duration group and label, shortest first."""
        return self._by(lambda id: length_group(self.seconds[id]))

    def _by(self, group: Callable[[str], str]) -> dict[str, dict[str, Score]]:
        found: dict[str, dict[str, Score]] = {}
        for label, rows in self.rows.items():
            ids, references, hypotheses = zip(*sorted(rows, key=lambda r: self.seconds[r[0]]), strict=True)
            for name, result in score_groups([group(id) for id in ids], references, hypotheses).items():
                found.setdefault(name, {})[label] = result
        return found


@dataclass(frozen=True)
class ScoringRequest:
    """The subnets to score, by label, and the utterances to score them on."""

    subnets: Mapping[str, Subnet]
    splits: Sequence[str]
    """Splits, or parts of splits."""
    marks: Sequence[str] = ()
    """Added to the names of transcripts, such as the condition or the strategy of a selection."""
    decoder: Decoder = GREEDY
    """Finds the hypotheses; named in transcripts unless greedy."""
    processes: Processes = ONE
    """The processes among which the batches are divided."""

    def transcripts_name(self, split: str, label: str) -> str:
        """The name of the transcripts of a split by a subnet."""
        suffix = [] if self.decoder == GREEDY else [self.decoder.name]
        return "-".join([split, *self.marks, label, *suffix])


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation."""

    sizes: dict[str, Any]
    """As under this name in ``results.json``."""
    transcripts: dict[str, SplitTranscripts]
    """By split."""


def recognize(
    model: Model,
    batches: Iterable[Batch],
    subnets: Mapping[str, Subnet],
    report: ProgressCallback,
    decoder: Decoder = GREEDY,
    processes: Processes = ONE,
) -> dict[str, TranscriptRows]:
    """Transcribe every utterance by each subnet, all in one walk through the supernet.

    Each of ``processes`` transcribes some of the batches.
    """
    recognizer = model.recognizer
    if decoder != GREEDY:
        recognizer.require_framewise("A beam search")
    kept = {label: recognizer.table.kept(subnet) for label, subnet in subnets.items()}
    rows: dict[Kept, TranscriptRows] = {k: [] for k in kept.values()}

    @torch.inference_mode()
    def transcribe(batch: Batch) -> dict[Kept, list[str]]:
        batch.to(recognizer.device)
        return {
            scored.kept: [model.tokens.decode(ids) for ids in scored.decode()]
            if decoder == GREEDY
            else texts(decoder, scored.emissions_BSE, scored.lengths, model.tokens)
            for scored in recognizer.score_all(batch, rows)
        }

    names: list[tuple[list[str], list[str]]] = []
    with with_threads(processes.num_threads), Workers(processes, transcribe) as workers:
        spread = Spread(workers, transcribe)
        for i, batch in enumerate(batches):
            names.append((batch.ids, batch.texts))
            spread.ask(batch)
            report("recognizing", i + 1, 0)
        for (ids, references), found in zip(names, spread.answers(), strict=True):
            for k, hypotheses in found.items():
                rows[k] += zip(ids, references, hypotheses, strict=True)
    return {label: rows[k] for label, k in kept.items()}


def score_sizes(
    run: Run, model: Model, task: Task, request: ScoringRequest, report: ProgressCallback
) -> Evaluation:
    """Measure costs and error rates of subnets, and save their transcripts in the run folder.

    Args:
        run: The run, whose folder gets the transcripts.
        model: Its network.
        task: The corpus.
        request: What is scored.
        report: Called as the work progresses.
    """
    name = request.transcripts_name
    run.prepare_transcripts(name(split, label) for split in request.splits for label in request.subnets)
    found = Evaluation(costs(model, task, request.subnets, request.splits[0]), {})
    for split in request.splits:
        transcripts = found.transcripts[split] = transcribe_split(model, task, request, split, report)
        for label, rows in transcripts.rows.items():
            _, references, hypotheses = zip(*rows, strict=True)
            result = score(references, hypotheses)
            found.sizes[label][split] = result.as_json()
            errors_page = page(f"{run.name}, {name(split, label)}", rows, result, transcripts.speakers)
            run.save_transcripts(name(split, label), rows, trn(rows, transcripts.speakers), errors_page)
    return found


def transcribe_split(
    model: Model, task: Task, request: ScoringRequest, split: str, report: ProgressCallback
) -> SplitTranscripts:
    """Transcribe ``split`` by each subnet."""
    seconds: dict[str, float] = {}

    def measured() -> Iterator[Batch]:
        for batch in task.eval_batches(split, model.tokens):
            seconds.update(zip(batch.ids, batch.seconds, strict=True))
            yield batch

    rows = recognize(model, measured(), request.subnets, report, request.decoder, request.processes)
    return SplitTranscripts(rows, seconds, task.speakers(split))


def costs(model: Model, task: Task, subnets: Mapping[str, Subnet], split: str = "test") -> dict[str, Any]:
    """Parameters, MACs and real-time factor (on utterances of ``split``) of each subnet, cut out.

    On a CPU all of it is measured in one thread, as threads would wait for each other at every operation
    where another program needs a core.
    """
    sample = list(islice(task.eval_batches(split, model.tokens), 1))
    with with_threads(1):
        return {
            label: {"kept": list(subnet.kept), **_costs(cut(model.recognizer, subnet), sample)}
            for label, subnet in subnets.items()
        }


def _costs(small: SupernetCTC, sample: Sequence[Batch]) -> dict[str, Any]:
    for batch in sample:
        batch.to(small.device)
    rtf, busy = real_time_factor(small, sample)
    return {"params": num_parameters(small), "macs": macs(small), "rtf": rtf, "rtf_busy": busy}
