"""The Python API of training: one run, from its corpus to scored subnets in a run folder."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supernet.errors import UserError
from supernet.evaluation.averaged import keep_better
from supernet.evaluation.averaged import said as said_of_averages
from supernet.evaluation.score_sizes import ScoringRequest, score_sizes
from supernet.network.adapters import check_adapters, merge_adapters
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.former import updated
from supernet.runs.model_file import Model, save
from supernet.runs.pretrained import begin, said, tokens_of
from supernet.runs.resolve import Resolved
from supernet.runs.run import Run, RunError
from supernet.runs.teacher import check_teacher, open_teacher
from supernet.scoring.error_rates import COLUMN, Measure
from supernet.system.devices import with_threads
from supernet.system.folders import check_closed, held
from supernet.system.processes import Processes, is_main_process, num_processes, peak_memory
from supernet.task import SPLITS, Task
from supernet.text.tokens import Tokens
from supernet.training.compute import unit_steps, unit_weights
from supernet.training.feature_statistics import measure_features
from supernet.training.parallel import processes_of
from supernet.training.schedule import Schedule

if TYPE_CHECKING:
    from supernet.engine import Result


class Stopped(KeyboardInterrupt):
    """An interrupted training, with its state saved; the message says where."""


class FinishedError(RunError):
    """A finished run is asked for more updates than it was trained for."""


class TrainingListener:
    """Follows a training on its first process. Methods that are not overridden do nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Receive the progress of ``what``; ``total`` is 0 if it is unknown."""

    def status(self, text: str) -> None:
        """Receive the state of the current work, such as the loss."""

    def event(self, text: str) -> None:
        """Receive a line of the training's history, such as error rates on the validation split."""

    def note(self, text: str) -> None:
        """Receive something to know about the corpus or the weights."""

    def validated(self, step: int, measure: Measure, rates: Mapping[str, float]) -> None:
        """Receive the result of a validation; an exception that is raised here ends the training.

        Args:
            step: The number of updates so far.
            measure: The measure that texts are judged by.
            rates: The error rates ``wer/BUDGET`` and ``cer/BUDGET``, as fractions.
        """


def train_run(
    resolved: Resolved, folder: Path, listener: TrainingListener | None = None
) -> Mapping[str, Any]:
    """Train one run, continue it, or read the results of a finished one.

    Args:
        resolved: The configuration.
        folder: The run folder.
        listener: Follows the training.

    Returns:
        The results, as in ``results.json``.

    Raises:
        Stopped: The training was interrupted.
        Divergence: The loss stayed non-finite.
        FinishedError: The run is finished, with fewer updates.
        RunError: The folder belongs to another run.
        InUse: Another process trains in the folder.
    """
    listener = listener if listener is not None and is_main_process() else TrainingListener()
    run = Run(folder)
    resolved = resolved.with_precision(run.config_data() if run.config_file.is_file() else None)
    task, config = resolved.task, resolved.config
    processes = processes_of(config)
    if folder.is_dir():
        check_closed(folder)
    if run.is_finished:
        _refuse_more_steps(run, config.train.num_steps)
        run.begin(config, partial(updated, now=config))
        listener.event(f"'{folder}' is finished; these are its results.")
        return run.results()
    check_teacher(config)
    check_adapters(config)
    with contextlib.ExitStack() as stack:
        task.prepare(listener.progress)
        for line in task.notes() if is_main_process() else ():
            listener.note(line)
        tokens = _tokens(run, resolved, listener)
        for line in task.remarks(SPLITS, tokens) if is_main_process() else ():
            listener.note(line)
        if is_main_process():
            stack.enter_context(held(folder))
            if run.is_finished:  # meanwhile
                return run.results()
            run.begin(config, partial(updated, now=config))
            run.keep_tokens(tokens)
            run.save_skipped(task.skipped())
            if config.model.init is not None and not run.is_begun:
                listener.event(said(config.model, tokens))
        resolved = _priced(resolved, run, len(tokens))
        # Only now: it takes seconds to import, for which dry runs, finished runs and errors do not wait.
        from supernet import engine

        start = time.monotonic()
        follower = Follower(run, resolved, listener)
        try:
            # Checkpoints hold all weights.
            start_weights = None if run.is_begun else partial(_begin, task=task, tokens=tokens)
            request = engine.TrainingRequest(
                config, resolved.method, task, tokens, folder, start_weights, open_teacher(config, tokens)
            )
            trained = engine.train(request, follower)
        except KeyboardInterrupt:
            raise Stopped(
                f"Stopped. What was trained is kept in {folder}. The same command continues."
            ) from None
        if not trained.is_main:
            return {"sizes": {}}
        seconds = time.monotonic() - start
        with with_threads(processes.num_threads):
            return _finish(run, resolved, trained, tokens, seconds, listener, processes)


def _begin(net: SupernetCTC, task: Task, tokens: Tokens) -> None:
    """Give a new network what it starts with."""
    begin(net, tokens)
    measure_features(net, task, tokens)


def _tokens(run: Run, resolved: Resolved, listener: TrainingListener) -> Tokens:
    """The tokens of the training: those of its corpus, or of the head that it starts with."""
    task, wanted = resolved.task, resolved.task.tokens()
    try:
        tokens = tokens_of(resolved.config.model, wanted)
    except UserError:
        if not run.is_begun:
            raise
        tokens = run.tokens(wanted.kind)  # its checkpoint is not needed again
    if tokens != wanted:
        task.prepare_for(SPLITS, tokens, listener.progress)
    return tokens


def _priced(resolved: Resolved, run: Run, num_tokens: int) -> Resolved:
    """The run with the costs of its units, which a training that is continued has had from the beginning."""
    quantity = resolved.config.wishes[0].quantity
    if quantity == "latency" and num_processes() > 1:
        raise RunError("`budgets` in latency must be trained by one process, which measures it, but are not.")
    resolved = resolved.priced(num_tokens, run.prices())
    if quantity != "units" and is_main_process():
        run.save_prices(resolved.method.prices[quantity])
    return resolved


def _refuse_more_steps(run: Run, num_steps: int) -> None:
    """Raise ``FinishedError`` if a finished run is asked for more updates: its learning rate has decayed."""
    done = run.results().get("steps")
    if isinstance(done, int) and num_steps > done:
        raise FinishedError(
            f"'{run.folder}' is finished after {done:,} updates. To train further, start a new run from it"
        )


def _finish(
    run: Run,
    resolved: Resolved,
    trained: Result,
    tokens: Tokens,
    seconds: float,
    listener: TrainingListener,
    processes: Processes,
) -> Mapping[str, Any]:
    """Save the weights and subnets, score every size, and write the report."""
    net = trained.model.eval()
    merge_adapters(net)
    model = Model(net, tokens, resolved.task.train_lengths(tokens))
    subnets = {name: net.table.subnet(kept) for name, kept in trained.schedule.subnets().items()}
    chosen: dict[str, Any] = {}
    if trained.averages:
        averages, task = trained.averages, resolved.task
        found = keep_better(run, model, averages, task, subnets, listener.progress, processes)
        chosen["averaging"] = found
        listener.event(said_of_averages(found))
    save(model, run.model_stem)
    run.save_subnets(subnets)
    request = ScoringRequest(subnets, ["test"], processes=processes)
    sizes = score_sizes(run, model, resolved.task, request, listener.progress).sizes
    skipped = resolved.task.skipped()
    results = {
        "sizes": sizes,
        "title": run.name + (f" ({len(skipped)} utterances skipped, see skipped.tsv)" if skipped else ""),
        "steps": resolved.config.train.num_steps,
        "unit_steps": round(unit_steps(trained.schedule, unit_weights(net))),
        "skipped_updates": int(net.skipped_updates),
        "last_session_seconds": round(seconds, 1),
        "peak_memory_mb": round((peak_memory() + trained.other_memory) / 2**20),
        "phases": trained.schedule.boundaries(),
        **chosen,
    }
    run.save_results(results)
    # Only now: it imports matplotlib, which a training that is stopped does not need.
    from supernet.reporting.run_page import write

    write(run, resolved.config, [unit.name for unit in net.table.units])
    return run.results()


class Follower:
    """The engine's observer: it records scores and tells the listener how the training goes."""

    def __init__(self, run: Run, resolved: Resolved, listener: TrainingListener) -> None:
        self._run, self._config, self._listener = run, resolved.config, listener
        self._phases: list[tuple[str, int]] = []
        self._begun, self._loss, self._rates = False, "", ""

    def on_note(self, text: str) -> None:
        self._listener.note(text)

    def on_start(self, schedule: Schedule) -> None:
        self._phases = schedule.boundaries()

    def on_step(self, step: int) -> None:
        if not self._begun:
            self._begun = True
            how = "starts" if step == 1 else f"continues from update {step:,}"
            self._listener.event(f"Training {how}: {self._config.train.num_steps:,} updates in total.")
        self._listener.progress("training", step, self._config.train.num_steps)

    def on_publish(
        self, step: int, scores: list[float], gates: list[float] | None, losses: Mapping[str, float]
    ) -> None:
        phase = self._phase(step)
        self._run.append_scores({"step": step, "phase": phase, "scores": scores, "gates": gates})
        ctc = [loss for name, loss in losses.items() if name.startswith("ctc/")]
        self._loss = f", loss {sum(ctc) / len(ctc):.3f}" if ctc else ""
        self._tell(step)

    def _phase(self, step: int) -> str:
        return [name for name, start in self._phases if start < step][-1]

    def _tell(self, step: int) -> None:
        self._listener.status(f"{self._phase(step)}{self._loss}{self._rates}")

    def on_validated(self, step: int, measure: Measure, values: Mapping[str, object]) -> None:
        rates = {k: float(v) for k, v in values.items() if k.partition("/")[0] in COLUMN}  # type: ignore[arg-type]
        shown = "  ".join(f"{name}: {rates[f'{measure}/{name}']:.1%}" for name in self._config.names)
        self._listener.event(f"step {step:>6}   validation {measure.upper()}   {shown}")
        self._rates = f", validation {measure.upper()} {shown}"
        self._tell(step)
        self._listener.validated(step, measure, rates)
